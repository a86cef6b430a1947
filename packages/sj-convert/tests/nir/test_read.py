"""Graphs that others write, against an Euler simulation in NumPy (float64)."""

import builtins
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from sj_core import functional, neuron

# Not `nir` alone: without it this folder would be taken for a package of that name.
pytest.importorskip("nir.ir", reason="needs the extra sj-convert[nir]")
import nir
from euler_reference import DT, simulate

from sj_convert.nir import from_nir, to_nir
from sj_convert.nir.euler import EulerNode, NeuronDelay

T = 200


def numbers(shape, low, high, seed):
    return np.random.default_rng(seed).uniform(low, high, shape)


def many(shape):
    """A node of each kind with a value per neuron."""
    tau, syn = numbers(shape, 2e-4, 2e-3, 0), numbers(shape, 2e-4, 1e-3, 1)
    r, leak = numbers(shape, 0.5, 4.0, 2), numbers(shape, -0.3, 0.3, 3)
    theta, reset = numbers(shape, 0.6, 1.2, 4), numbers(shape, -0.3, 0.3, 5)
    w_in = numbers(shape, 0.5, 3.0, 6)
    return {
        "LIF": nir.LIF(tau, r, leak, theta, reset),
        "LI": nir.LI(tau, r, leak),
        "IF": nir.IF(r / DT / 3, theta, reset),
        "I": nir.I(r),
        "CubaLIF": nir.CubaLIF(syn, tau, r, leak, theta, reset, w_in),
        "CubaLI": nir.CubaLI(syn, tau, r, leak, w_in),
    }


KINDS = ["LIF", "LI", "IF", "I", "CubaLIF", "CubaLI"]


@pytest.mark.parametrize("shape", [(6,), (3, 4, 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_per_neuron_parameters(kind, shape):
    node = many(shape)[kind]
    x = numbers((T, 2, *shape), -0.5, 3.0, 9)
    expected = simulate(node, x)
    assert expected.std() > 0
    torch.set_default_dtype(torch.float64)
    try:
        net = from_nir(nir.NIRGraph.from_list(node), DT)
    finally:
        torch.set_default_dtype(torch.float32)
    x = torch.from_numpy(x)
    found = torch.stack([net(step) for step in x])
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)
    functional.reset_net(net)
    functional.set_step_mode(net, "m")
    assert torch.equal(net(x), found)


UNIFORM = {
    "LIF r=1": (lambda f: nir.LIF(f(3e-4), f(1.0), f(0.0), f(0.7)), neuron.LIFNode),
    "LIF r=tau": (lambda f: nir.LIF(f(3e-4), f(3.0), f(0.0), f(0.7)), neuron.LIFNode),
    "LIF any r": (lambda f: nir.LIF(f(3e-4), f(1.7), f(0.0), f(0.7)), EulerNode),
    "LIF rest": (lambda f: nir.LIF(f(3e-4), f(1.0), f(0.2), f(0.7), f(-0.1)), neuron.LIFNode),
    "LIF fast": (lambda f: nir.LIF(f(1e-4), f(1.0), f(0.0), f(0.7)), EulerNode),
    "IF": (lambda f: nir.IF(f(1 / DT), f(0.7)), neuron.IFNode),
    "IF other r": (lambda f: nir.IF(f(0.3 / DT), f(0.7)), EulerNode),
    "Cuba": (
        lambda f: nir.CubaLIF(f(2e-4), f(4e-4), f(4.0), f(0.0), f(0.7), w_in=2.0),
        neuron.CUBALIFNode,
    ),
    "Cuba r=1": (lambda f: nir.CubaLIF(f(2e-4), f(4e-4), f(1.0), f(0.0), f(0.7)), EulerNode),
    "LI": (lambda f: nir.LI(f(3e-4), f(1.0), f(0.2)), neuron.NonSpikingLIFNode),
}


@pytest.mark.parametrize("shape", [(4,), ()], ids=["vector", "scalar"])
@pytest.mark.parametrize("case", list(UNIFORM))
def test_uniform_parameters_become_core_neurons(case, shape):
    build, expected_type = UNIFORM[case]
    node = build(lambda value: np.full(shape, value))
    weight = numbers((4, 5), -0.5, 1.0, 0)
    graph = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([5])}),
            "w": nir.Linear(weight),
            "n": node,
            "output": nir.Output({"output": np.array([4])}),
        },
        [("input", "w"), ("w", "n"), ("n", "output")],
        type_check=False,
    )
    net = from_nir(graph, DT).double()
    assert type(net.part("n")) is expected_type
    x = numbers((T, 3, 5), 0, 2, 1)
    expected = simulate(node, x @ weight.astype(np.float32).astype(float).T)
    found = torch.stack([net(step) for step in torch.from_numpy(x)])
    wrong = (found - torch.from_numpy(expected)).abs() > 1e-5
    assert wrong.double().mean() < 2e-3  # float32 parameters: a spike in a thousand may differ
    assert expected.std() > 0


def test_torch_tensors_and_scalars_in_the_graph(tmp_path):
    graph = nir.NIRGraph(
        {
            "fc": nir.Affine(torch.eye(3) * 2, torch.full((3,), 0.1)),
            "lif": nir.LIF(
                tau=torch.tensor(3e-4),
                r=torch.tensor(1.0),
                v_leak=torch.tensor(0.0),
                v_threshold=torch.tensor(1.0),
                v_reset=torch.tensor(0.0),
            ),
        },
        [("fc", "lif")],
        type_check=False,
    )
    net = from_nir(graph)
    x = torch.rand(50, 2, 3)
    expected = simulate(graph.nodes["lif"], 2 * x.double().numpy() + 0.1)
    with torch.no_grad():
        found = torch.stack([net(step) for step in x])
    assert (found.double().numpy() != expected).mean() < 0.01


def test_flatten_pools_convolutions_delays_scales_thresholds():
    x = numbers((2, 2, 6, 6), -1, 1, 0)
    torch_x = torch.from_numpy(x).float()
    weight, bias = numbers((4, 1, 3, 3), -1, 1, 1), numbers(4, -1, 1, 2)
    pair = np.array([2, 2])
    nodes = {
        "Conv2d": (
            nir.Conv2d((6, 6), weight, 2, 1, 1, 2, bias),
            nn.functional.conv2d(
                *(torch.from_numpy(v).float() for v in (x, weight, bias)), 2, 1, 1, 2
            ),
        ),
        "AvgPool2d": (nir.AvgPool2d(pair, pair, np.array([1, 1])), nn.AvgPool2d(2, 2, 1)(torch_x)),
        "SumPool2d": (nir.SumPool2d(pair, pair, 0 * pair), 4 * nn.AvgPool2d(2)(torch_x)),
        "Flatten": (nir.Flatten({"input": np.array([2, 6, 6])}, 0, -1), torch_x.flatten(1)),
        "Flatten tail": (nir.Flatten({"input": np.array([2, 6, 6])}, 1, 2), torch_x.flatten(2)),
        "Scale": (nir.Scale(weight[:2, 0, :1, :1] * np.ones((2, 6, 6))), None),
        "Threshold": (nir.Threshold(np.full((2, 6, 6), 0.2)), (torch_x >= 0.2).float()),
    }
    for name, (node, expected) in nodes.items():
        graph = nir.NIRGraph(
            {"i": nir.Input({"input": np.array([2, 6, 6])}), "n": node, "o": nir.Output(None)},
            [("i", "n"), ("n", "o")],
            type_check=False,
        )
        net = from_nir(graph)
        if name == "Scale":
            expected = torch_x * torch.from_numpy(node.scale).float()
        torch.testing.assert_close(net(torch_x), expected, msg=name)
        functional.reset_net(net)
        functional.set_step_mode(net, "m")
        torch.testing.assert_close(net(torch_x.expand(3, *x.shape))[1], expected, msg=name)


@pytest.mark.parametrize("steps", [[3, 3, 3], [0, 2, 5], [0, 0, 0]])
def test_delays(steps):
    graph = nir.NIRGraph.from_list(nir.Delay(np.array(steps) * DT))
    net = from_nir(graph, DT)
    x = torch.rand(9, 2, 3)
    found = torch.stack([net(step) for step in x])
    for i, d in enumerate(steps):
        assert torch.equal(found[d:, :, i], x[: 9 - d, :, i])
        assert not found[:d, :, i].any()
    assert any(isinstance(m, NeuronDelay) for m in net.modules()) == (len(set(steps)) > 1)


def test_bad_graphs(tmp_path):
    with pytest.raises(TypeError, match="`graph_or_path`"):
        from_nir(3)
    with pytest.raises(ValueError, match="`dt`"):
        from_nir(nir.NIRGraph.from_list(nir.Linear(np.eye(2))), dt=0)
    broken = nir.NIRGraph({"a": nir.Linear(np.eye(2))}, [("a", "b")], type_check=False)
    with pytest.raises(ValueError, match="no node 'b'"):
        from_nir(broken)
    strange = nir.NIRGraph({"a": nir.Linear(np.eye(2))}, [], type_check=False)
    strange.nodes["a"] = object()
    with pytest.raises(ValueError, match="kind object, which is not known"):
        from_nir(strange)
    with pytest.raises((FileNotFoundError, OSError)):
        from_nir(tmp_path / "missing.nir")


@pytest.mark.parametrize("bad", [0.0, -1e-3, np.nan])
def test_time_constants_are_positive(bad):
    good, one = np.array([1e-3, 1e-3]), np.ones(2)
    tau = np.array([1e-3, bad])
    for node, name in (
        (nir.LIF(tau, one, one, one, one), "tau"),
        (nir.LI(tau, one, one), "tau"),
        (nir.CubaLIF(tau, good, one, one, one, one), "tau_syn"),
        (nir.CubaLI(good, tau, one, one), "tau_mem"),
    ):
        kind = type(node).__name__
        with pytest.raises(ValueError, match=rf"`{name}` \(=.*\) of a {kind} node must be greater"):
            from_nir(nir.NIRGraph.from_list(node))


def test_missing_extra_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "nir":
            raise ImportError("No module named 'nir'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (lambda: from_nir("x"), lambda: to_nir(nn.Linear(1, 1), torch.rand(1, 1))):
        with pytest.raises(ImportError, match=r"pip install 'sj-convert\[nir\]'") as caught:
            call()
        assert caught.value.__cause__ is not None


def test_a_step_longer_than_a_time_constant_warns():
    one = np.ones(2)
    tau = np.array([2e-3, 1e-5])
    with pytest.warns(UserWarning, match=r"`dt` \(=0.001\) exceeds `tau` \(=1e-05\) of a LI node"):
        net = from_nir(nir.NIRGraph.from_list(nir.LI(tau, one, one)), dt=1e-3)
    # One step takes v from v_leak to v_leak + dt / tau r I, a hundred times where it should go.
    v = net(torch.ones(1, 2))[0]
    torch.testing.assert_close(v, torch.tensor([1.5, 101.0]))
    with pytest.warns(UserWarning, match=r"exceeds `tau_syn` \(=1e-05\) of a CubaLI node"):
        from_nir(nir.NIRGraph.from_list(nir.CubaLI(tau, one * 1e-3, one, one, one)), dt=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_as_long_as_a_time_constant_does_not_warn(dtype):
    one = np.ones(2, dtype)
    lif = nir.LIF(one * dtype(1e-4), one, one, one)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_nir(nir.NIRGraph.from_list(lif), dt=1e-4)
