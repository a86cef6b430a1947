"""The gated LIF neuron against its equation in Python floats."""

import math

import pytest
import torch

from sj_core import functional, neuron

T = 5


def sigma(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("inplane", [None, 3])
def test_gated_lif_follows_its_equation(inplane):
    node = neuron.GatedLIFNode(T, inplane, init_tau=0.3, init_v_threshold=0.6).double()
    with torch.no_grad():
        for parameter in node.parameters():
            parameter += 0.4 * torch.randn_like(parameter)
    x = torch.rand(T, 2, 3, 2, dtype=torch.float64) * 2
    out = node(x)
    for c in range(3):
        i = 0 if inplane is None else c
        p = {
            name: sigma(getattr(node, name)[i].item())
            for name in (
                "alpha",
                "beta",
                "gamma",
                "tau",
                "linear_decay",
                "v_subreset",
                "v_threshold",
            )
        }
        al, be, ga = p["alpha"], p["beta"], p["gamma"]
        for n in range(2):
            for w in range(2):
                v = s = 0.0
                for t in range(T):
                    g = sigma(node.conduct[t, i].item())
                    current = float(x[t, n, c, w]) * (1 - be * (1 - g))
                    keep = 1 - al * (1 - p["tau"])
                    h = keep * v - (1 - al) * p["linear_decay"] + current
                    h -= keep * v * ga * s + (1 - ga) * p["v_subreset"] * s
                    s = float(h >= p["v_threshold"])
                    v = h
                    assert out[t, n, c, w].item() == s
                assert node.v[n, c, w].item() == pytest.approx(v)
    assert 0 < out.mean() < 1


def test_parameters_start_at_the_values_given():
    node = neuron.GatedLIFNode(T, 4, init_v_threshold=0.5)
    starts = {"tau": 0.25, "v_threshold": 0.5, "linear_decay": 0.05, "v_subreset": 0.5}
    for name, value in starts.items():
        torch.testing.assert_close(getattr(node, name).sigmoid(), torch.full((4,), value))
    torch.testing.assert_close(node.conduct.sigmoid(), torch.full((T, 4), 0.5))


def test_the_gradient_reaches_every_parameter_and_is_a_finite_difference():
    node = neuron.GatedLIFNode(3).double()
    node.surrogate_function.spiking = False
    x = torch.rand(3, 2, dtype=torch.float64)
    names = [name for name, _ in node.named_parameters()]

    def run(*parameters):
        node.reset()
        return torch.func.functional_call(node, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(run, tuple(node.parameters()))


def test_the_position_and_the_state_carry_over_chunks():
    node = neuron.GatedLIFNode(6)
    with torch.no_grad():
        node.conduct.copy_(torch.randn(6, 1) * 3)
    x = torch.rand(6, 2, 3) * 2
    whole = node(x)
    node.reset()
    assert torch.equal(whole, functional.chunk_multi_step_forward(2, x, node))
    node.reset()
    first, state = functional.functional_forward(node, None, x[:4])
    second, _ = functional.functional_forward(node, state, x[4:])
    assert torch.equal(whole, torch.cat([first, second]))


def test_wrong_channels_and_too_many_steps_are_named():
    with pytest.raises(ValueError, match=r"`inplane` \(=3\) channels"):
        neuron.GatedLIFNode(T, 3)(torch.zeros(T, 2, 4))
    with pytest.raises(ValueError, match=r"at most `T` \(=5\) steps"):
        neuron.GatedLIFNode(T)(torch.zeros(T + 1, 2))
    with pytest.raises(ValueError, match=r"`step_mode` \(='s'\) of GatedLIFNode must be 'm'"):
        neuron.GatedLIFNode(T, step_mode="s")
