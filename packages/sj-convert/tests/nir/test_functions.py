"""Sums, differences and scalings written as functions: the graph computes them by its own rules."""

import operator

import numpy as np
import pytest
import torch
from torch import nn

# Not `nir` alone: without it this folder would be taken for a package of that name.
pytest.importorskip("nir.ir", reason="needs the extra sj-convert[nir]")
import nir

from sj_convert.nir import from_nir, to_nir


class Apply(nn.Module):
    """A function of two linear maps of the input."""

    def __init__(self, function):
        super().__init__()
        self.a, self.b, self.function = nn.Linear(4, 3), nn.Linear(4, 3, bias=False), function

    def forward(self, x):
        return self.function(self.a(x), self.b(x), x)


def evaluate(graph, x):
    """A graph without neurons in NumPy: each node reads the sum of what its edges bring."""
    values = {"input": x}
    while "output" not in values:
        for name, node in graph.nodes.items():
            sources = [a for a, b in graph.edges if b == name]
            if name in values or not all(s in values for s in sources):
                continue
            total = sum(values[s] for s in sources)
            kind = type(node).__name__
            if kind == "Scale":
                total = total * node.scale
            elif kind in ("Linear", "Affine"):
                total = total @ node.weight.T + getattr(node, "bias", 0.0)
            values[name] = total
    return values["output"]


def subtracted_in_place(a, b, x):
    a -= b
    return a


SUMS = {
    "a + b": lambda a, b, x: a + b,
    "a - b": lambda a, b, x: a - b,
    "a -= b": subtracted_in_place,
    "operator.sub": lambda a, b, x: operator.sub(a, b),
    "torch.sub": lambda a, b, x: torch.sub(a, b),
    "torch.sub alpha": lambda a, b, x: torch.sub(a, b, alpha=0.75),
    "torch.add alpha": lambda a, b, x: torch.add(a, b, alpha=-3),
    "torch.add names": lambda a, b, x: torch.add(input=a, other=b),
    "torch.subtract": lambda a, b, x: torch.subtract(a, other=b),
    "a.sub(b)": lambda a, b, x: a.sub(b),
    "a.sub_(b)": lambda a, b, x: a.sub_(b),
    "a - a": lambda a, b, x: a - a + b,
    "a - (a - b)": lambda a, b, x: a - (a - b) - b - b,
    "(a + b) - (b + a)": lambda a, b, x: (a + b) - (b + a) + b,
    "a + (a + b)": lambda a, b, x: a + (a + b),
    "-a": lambda a, b, x: -a,
    "torch.neg": lambda a, b, x: torch.neg(a - b).neg(),
}

GAIN, ROW = torch.tensor([0.5, -2.0, 3.0]), torch.tensor([[2.0, 4.0, -0.5]])


def scaled_in_place(a, b, x):
    a *= 0.5
    a /= GAIN
    return a + b


PRODUCTS = {
    "a / 2": lambda a, b, x: a / 2,
    "torch.div": lambda a, b, x: torch.div(a, GAIN) + b.div(-0.5),
    "in place": scaled_in_place,
    "3 * a": lambda a, b, x: 3 * a + torch.multiply(GAIN, b),
    "other=": lambda a, b, x: torch.mul(a, other=0.25) - torch.mul(input=b, other=2),
    "a row": lambda a, b, x: a * ROW + b / ROW,
    "a mean": lambda a, b, x: (a + b) / 2 - a * True,
}


@pytest.mark.parametrize("name", [*SUMS, *PRODUCTS])
def test_values_of_functions(name, tmp_path):
    torch.manual_seed(0)
    net, x = Apply({**SUMS, **PRODUCTS}[name]), torch.randn(5, 4)
    with torch.no_grad():
        expected = net(x)
    graph = to_nir(net, x[:1])
    np.testing.assert_allclose(evaluate(graph, x.double().numpy()), expected, atol=1e-6)
    nir.write(tmp_path / "graph.nir", graph)
    for source in (graph, nir.read(tmp_path / "graph.nir"), tmp_path / "graph.nir"):
        with torch.no_grad():
            torch.testing.assert_close(from_nir(source)(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b, x: a - 1.0,
        lambda a, b, x: 1.0 - a,
        lambda a, b, x: a - b[:, :1],
        lambda a, b, x: 1.0 / a,
        lambda a, b, x: a / b,
        lambda a, b, x: a * b,
        lambda a, b, x: torch.div(a, 2, rounding_mode="floor"),
        lambda a, b, x: a * x.shape[0],
    ],
    ids=["- 1", "1 -", "broadcast", "1 /", "a / b", "a * b", "floor", "a size"],
)
def test_what_nir_cannot_compute_is_refused(function):
    with pytest.raises(ValueError, match=r"`net` has `.*test_functions.*does not express"):
        to_nir(Apply(function), torch.randn(1, 4))
