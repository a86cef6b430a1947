"""The start and bias of each channel against a search in plain float64, spike by spike."""

import pytest
import torch
from convert_zoo import ZOO, mean_output, randomised

from sj_convert import Converter, ScaledIFNode
from sj_convert.late_start import CAUTION, STARTS, fit
from sj_convert.neuron import SignedIFNode
from sj_convert.start import LateIFNode
from sj_core import functional

T = 8


def mean_of_spikes(current, theta, start, bias):
    """Mean output of one channel's neurons over the steps, by the equation."""
    v = torch.full_like(current[0], start)
    total = torch.zeros_like(v)
    for x in current:
        v = v + x + bias
        spike = (v >= theta).double() * theta
        v, total = v - spike, total + spike
    return total / len(current)


@pytest.fixture
def uneven():
    """Currents (T, N, C) whose mean is the activation's input, and the activation (N, C)."""
    generator = torch.Generator().manual_seed(3)
    mean = torch.randn(400, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(T, 400, 5, generator=generator, dtype=torch.float64)
    noise *= torch.tensor([0.0, 0.1, 0.5, 1.0, 3.0], dtype=torch.float64)
    return mean + noise - noise.mean(0), mean.relu()


def test_each_channel_gets_the_start_with_the_least_error(uneven):
    current, a = uneven
    theta = torch.linspace(0.8, 2.0, 5, dtype=torch.float64)
    node = ScaledIFNode(theta, v_init=0.5, step_mode="m")
    halves = [(current[:, :150], a[:150]), (current[:, 150:], a[150:])]
    bias, shift = fit([node], lambda: halves, T)
    assert node.v_shift is None
    for c in range(5):
        height = theta[c].item()
        found = []
        for late in STARTS:
            b = late * height / T
            for _ in range(3):
                e = a[:, c] - mean_of_spikes(current[:, :, c], height, (0.5 - late) * height, b)
                used, b = b, b + e.mean().item()
            found.append(((1 + CAUTION * late) * e.square().mean().item(), b, -late * height, used))
        best = min(found)
        assert shift[c].item() == pytest.approx(best[2], abs=1e-12)
        assert bias[c].item() == pytest.approx(best[1], abs=1e-9)
    assert (shift[3:] < 0).all()  # the two least even ones


def test_a_late_start_does_not_change_the_count_of_an_even_input():
    theta = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    a = torch.linspace(0.01, 0.7, 40, dtype=torch.float64).unsqueeze(1) * theta
    plain = ScaledIFNode(theta, v_init=0.5, step_mode="m")
    late = ScaledIFNode(theta, v_init=0.5, step_mode="m")
    late.v_shift = -theta
    expected = (T * a / theta + 0.5).floor() * theta
    torch.testing.assert_close(plain(a.expand(T, -1, -1)).sum(0), expected)
    raised = a + theta / T
    torch.testing.assert_close(late(raised.expand(T, -1, -1)).sum(0), expected)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (3, 4, 2, 2), (3, 4, 2, 2, 2)])
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_shift_is_where_the_voltage_starts(shape, backend):
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(0))
    theta = torch.tensor([0.5, 1.0, 1.5, 2.0])
    node = ScaledIFNode(theta, v_init=0.25, step_mode="m", backend=backend)
    node.v_shift = torch.tensor([0.0, -1.0, 0.3, -2.0])
    start = 0.25 * theta + node.v_shift
    view = start.view(4, *[1] * (len(shape) - 2))
    given = ScaledIFNode(theta, step_mode="m", backend=backend)
    given.v = view.expand(shape).clone()
    y = node(x)
    assert torch.equal(y, given(x))
    assert torch.equal(node.v, given.v)
    functional.reset_net(node)
    functional.set_step_mode(node, "s")
    assert torch.equal(torch.stack([node(step) for step in x]), y)


def test_signed_neurons_do_not_start_late(uneven):
    current, a = uneven
    signed = SignedIFNode(torch.ones(5), v_init=0.5, step_mode="m")
    bias, shift = fit([signed], lambda: [(current, a)], T)
    assert shift is None
    assert bias.shape == (5,)


@pytest.mark.parametrize("mode", ["mse", "max"])
@pytest.mark.parametrize("name", ["mobilenet", "densenet"])
def test_both_forms_of_a_neuron_start_alike(name, mode):
    torch.manual_seed(0)
    ann = randomised(ZOO[name]()).double()
    x = torch.rand(20, 1, 8, 8, dtype=torch.float64)
    settings = {"momentum": None, "channel_wise": mode == "mse", "v_init": 0.5, "T": T}
    twins = [
        Converter([x], mode=mode, fused=fused, bias_correction=True, **settings)(ann)
        for fused in (True, False)
    ]
    fused, scaled = [[m for m in snn.modules() if hasattr(m, "v_shift")] for snn in twins]
    assert len(fused) == len(scaled) > 0
    assert all(isinstance(node, LateIFNode) for node in scaled)
    for one, other in zip(fused, scaled, strict=True):
        torch.testing.assert_close(one.v_shift / one.v_threshold, other.v_shift)
    assert any(bool((node.v_shift < 0).any()) for node in scaled)
    a, b = (mean_output(snn, x, T) for snn in twins)
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_late_neuron_between_scalers_by_hand(backend):
    # V = 1/2 - 1/4, + 0.4 a step: 0.65, 1.05 -> 0.05, 0.45; and V = 1/2: 0.9, 1.3 -> 0.3, 0.7.
    node = LateIFNode(v_init=0.5, step_mode="m")
    node.backend = backend
    node.v_shift = torch.tensor([-0.25, 0.0])
    y = node(torch.full((3, 1, 2), 0.4))
    assert y[:, 0].tolist() == [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    torch.testing.assert_close(node.v, torch.tensor([[0.45, 0.7]]))


@pytest.mark.parametrize("shift", [None, torch.tensor([0.0, -0.25, -1.5])])
def test_late_node_runs_in_the_kernels(shift):
    """A start of its own is no other dynamics: the same steps on both backends."""
    pytest.importorskip("sj_kernels")
    x = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0))
    spikes = []
    for backend in ("native", "torch"):
        node = LateIFNode(v_init=0.5, step_mode="m")
        node.v_shift, node.backend = shift, backend
        assert node.resolve_backend(x) == backend
        spikes.append(node(x))
    assert spikes[0].count_nonzero() > 0
    assert torch.equal(*spikes)
