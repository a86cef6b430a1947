"""Graphs with cycles over time, and imported networks written out again."""

import numpy as np
import pytest
import torch
from torch import nn

from sj_core import functional

# Not `nir` alone: without it this folder would be taken for a package of that name.
pytest.importorskip("nir.ir", reason="needs the extra sj-convert[nir]")
import nir

from sj_convert.nir import from_nir, to_nir

DT = 1e-4
T = 200


def imported(graph, dt=DT):
    torch.set_default_dtype(torch.float64)
    try:
        return from_nir(graph, dt)
    finally:
        torch.set_default_dtype(torch.float32)


def run(net, *x_seqs):
    functional.reset_net(net)
    with torch.no_grad():
        steps = [net(*step) for step in zip(*x_seqs, strict=True)]
    functional.reset_net(net)
    return steps


def numbers(*shape, low=-0.5, high=0.5, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def ends(n):
    return {
        "input": nir.Input({"input": np.array([n])}),
        "output": nir.Output({"output": np.array([n])}),
    }


def loop(n=4):
    """A leaky neuron whose spikes come back through weights and a bias."""
    lif = nir.LIF(*(np.full(n, v) for v in (5e-4, 5.0, 0.0, 1.0, 0.0)))
    w_rec = nir.Affine(numbers(n, n, seed=3), numbers(n, low=-0.2, seed=4))
    edges = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
    return nir.NIRGraph({**ends(n), "lif": lif, "w_rec": w_rec}, edges)


def test_the_bias_in_a_cycle_acts_from_the_first_step():
    graph = loop()
    w_rec, x = graph.nodes["w_rec"], numbers(T, 3, 4, low=0, high=1, seed=8)
    v, s, expected = np.zeros((3, 4)), np.zeros((3, 4)), []
    for drive in x:
        current = drive + s @ w_rec.weight.T + w_rec.bias
        v = v + DT / 5e-4 * (-v + 5.0 * current)
        s = (v > 1).astype(float)
        v = np.where(s > 0, 0.0, v)
        expected.append(s)
    assert 0.1 < np.mean(expected) < 0.9
    net = imported(graph)
    found = torch.stack(run(net, torch.from_numpy(x)))
    assert np.array_equal(found.numpy(), np.stack(expected))
    functional.set_step_mode(net, "m")
    with torch.no_grad():
        assert torch.equal(net(torch.from_numpy(x)), found)


def recurrent(n=4):
    """What snnTorch writes for a recurrent leaky neuron: a subgraph with a cycle."""
    w = numbers(n, n, low=-0.6, high=0.6, seed=3)
    full = {
        k: np.full(n, v)
        for k, v in {"tau": 5e-4, "r": 5.0, "v_leak": 0.0, "v_threshold": 1.0}.items()
    }
    inner = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([n])}),
            "lif": nir.LIF(**full),
            "w_rec": nir.Linear(w),
            "output": nir.Output({"output": np.array([n])}),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    return inner, w, full


@pytest.mark.parametrize("nested", [False, True])
def test_cycles_and_nested_graphs(nested, tmp_path):
    inner, w, full = recurrent()
    graph = inner
    if nested:
        graph = nir.NIRGraph(
            {
                "input": nir.Input({"input": np.array([4])}),
                "net": inner,
                "output": nir.Output({"output": np.array([4])}),
            },
            [("input", "net"), ("net", "output")],
        )
    x = numbers(T, 2, 4, low=0, high=1, seed=8)
    v, s, expected = np.zeros((2, 4)), np.zeros((2, 4)), []
    for drive in x:
        v = v + DT / full["tau"] * (-v + full["r"] * (drive + s @ w.T))
        s = (v >= 1).astype(float)
        v = np.where(s > 0, 0, v)
        expected.append(s)
    nir.write(tmp_path / "net.nir", graph)
    for source in (graph, tmp_path / "net.nir"):
        net = from_nir(source).double()
        with torch.no_grad():
            found = torch.stack([net(step) for step in torch.from_numpy(x)])
        assert (found.numpy() != np.stack(expected)).mean() < 5e-3
        functional.reset_net(net)
        functional.set_step_mode(net, "m")
        assert torch.equal(net(torch.from_numpy(x)), found)


def test_sums_several_inputs_and_outputs():
    one = np.array([3])
    graph = nir.NIRGraph(
        {
            "a": nir.Input({"input": one}),
            "b": nir.Input({"input": one}),
            "s": nir.Scale(np.array([1.0, 2.0, 3.0])),
            "t": nir.Threshold(np.full(3, 1.0)),
            "x": nir.Output({"output": one}),
            "y": nir.Output({"output": one}),
        },
        [("a", "s"), ("b", "s"), ("s", "x"), ("s", "t"), ("t", "y"), ("b", "x")],
    )
    net = from_nir(graph)
    a, b = torch.rand(2, 3), torch.rand(2, 3)
    x, y = net(a, b)
    total = (a + b) * torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(x, total + b)
    assert torch.equal(y, (total >= 1).float())
    with pytest.raises(TypeError, match="must be 2"):
        net(a)


def every_node(n=4):
    """All neurons with a value per neuron, one after another, between a split and a sum."""
    tau, syn = numbers(n, low=2e-4, high=2e-3, seed=1), numbers(n, low=2e-4, high=1e-3, seed=2)
    r, leak = numbers(n, low=2.0, high=4.0, seed=3), numbers(n, low=-0.2, high=0.2, seed=4)
    theta, reset = numbers(n, low=0.2, high=0.6, seed=5), numbers(n, low=-0.3, high=0.0, seed=6)
    nodes = {
        **ends(n),
        "linear": nir.Linear(numbers(n, n, low=0, high=1, seed=7)),
        "lif": nir.LIF(tau, r, leak, theta, reset),
        "scale": nir.Scale(r),
        "cuba": nir.CubaLIF(syn, tau, r, leak, theta, reset, r),
        "delay": nir.Delay(np.arange(n) * DT),
        "if": nir.IF(r / DT, theta + 3, reset),
        "li": nir.LI(tau, r, leak),
        "cubali": nir.CubaLI(syn, tau, r, leak, r),
        "net": loop(n),
        "threshold": nir.Threshold(theta),
        "i": nir.I(r / DT),
    }
    row = [name for name in nodes if name not in ("input", "output")]
    pairs = zip(["input", *row], [*row, "output"], strict=True)
    return nir.NIRGraph(nodes, [*pairs, ("lif", "if"), ("cuba", "output")])


@pytest.mark.parametrize("dt", [DT, 3.7e-5])
def test_an_imported_network_is_written_as_it_was(dt, tmp_path):
    graph = every_node()
    x = torch.from_numpy(numbers(T, 3, 4, low=0, high=1))
    net = imported(graph, dt)
    expected = torch.stack(run(net, x))
    assert len(expected.unique()) > 100
    again = to_nir(net, x[0], dt)
    assert {k: type(v) for k, v in again.nodes.items()} == {
        k: type(v) for k, v in graph.nodes.items()
    }
    assert set(again.edges) == set(graph.edges)
    assert again.nodes["net"].edges == graph.nodes["net"].edges
    np.testing.assert_allclose(again.nodes["lif"].tau, graph.nodes["lif"].tau, rtol=1e-12)
    nir.write(tmp_path / "again.nir", again)
    for source in (again, tmp_path / "again.nir"):
        found = torch.stack(run(imported(source, dt), x))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_an_imported_network_within_another():
    net = nn.Sequential(nn.Linear(5, 4).double(), imported(loop()))
    x = torch.from_numpy(numbers(T, 3, 5, low=0, high=2))
    graph = to_nir(net, x[0])
    assert type(graph.nodes["1"]).__name__ == "NIRGraph"
    expected = torch.stack(run(net, x))
    assert 0 < expected.mean() < 1
    assert torch.equal(torch.stack(run(imported(graph), x)), expected)


def test_several_inputs_and_outputs_both_ways():
    one = np.array([3])
    graph = nir.NIRGraph(
        {
            "a": nir.Input({"input": one}),
            "b": nir.Input({"input": one}),
            "s": nir.Scale(np.array([1.0, 2.0, 3.0])),
            "x": nir.Output({"output": one}),
            "y": nir.Output({"output": one}),
        },
        [("a", "s"), ("b", "s"), ("s", "x"), ("b", "y")],
    )
    net = imported(graph)
    a, b = torch.rand(2, 2, 3, dtype=torch.float64)
    again = to_nir(net, (a, b))
    assert set(again.edges) == set(graph.edges)
    for found, expected in zip(imported(again)(a, b), net(a, b), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", ["LIF", "IF"])
def test_a_soft_reset_with_a_value_per_neuron_as_a_subgraph(kind):
    soft = {"metadata": {"reset": "soft"}}
    tau, theta = numbers(4, low=3e-4, high=2e-3, seed=1), numbers(4, low=0.4, high=1.0, seed=5)
    if kind == "LIF":
        r, leak = numbers(4, low=2, high=4), numbers(4, low=-0.1, high=0.1)
        node = nir.LIF(tau, r, leak, theta, **soft)
    else:
        node = nir.IF(numbers(4, low=0.2, high=1.0) / DT, theta, **soft)
    net = imported(nir.NIRGraph.from_list(node))
    x = torch.from_numpy(numbers(T, 3, 4, low=0, high=1.5))
    expected = torch.stack(run(net, x))
    assert 0.05 < expected.mean() < 0.95
    with pytest.raises(ValueError, match="soft reset"):
        to_nir(net, x[0])
    name = kind.lower()
    marked = to_nir(net, x[0], soft_reset="metadata")
    assert marked.nodes[name].metadata["reset"] == "soft"
    split = to_nir(net, x[0], soft_reset="subgraph")
    assert "threshold" in split.nodes[name].nodes
    for graph in (marked, split):
        found = torch.stack(run(imported(graph), x))
        assert (found - expected).abs().mean() < 2e-3  # a rounding at the threshold
