"""Gradients of the neurons by finite differences, and of LIF by the chain rule written out."""

import math

import pytest
import torch
from neuron_settings import LEAKY, build

from sj_core import neuron, surrogate

QUADRATIC = [
    {"tau": 2.0, "v_c": 0.8, "a0": 1.0, "v_rest": 0.0},
    {"tau": 1.5, "v_c": 0.5, "a0": 0.7, "v_rest": -0.3},
]
EXPONENTIAL = [
    {"tau": 2.0, "delta_T": 1.0, "theta_rh": 0.8, "v_rest": 0.0},
    {"tau": 3.5, "delta_T": 0.3, "theta_rh": 0.6, "v_rest": 0.1},
]
IZHIKEVICH = [
    {"tau": 2.0, "v_c": 0.8, "a0": 1.0, "v_rest": -0.1}
    | {"w_rest": 0.0, "tau_w": 2.0, "a": 0.0, "b": 0.0},
    {"tau": 1.5, "v_c": 0.5, "a0": 0.6, "v_rest": -0.2}
    | {"w_rest": 0.1, "tau_w": 7.0, "a": 0.4, "b": 0.3},
]
ADAPTIVE = [
    *[{**q, "tau_a": 20.0, "beta": 1.0} for q in LEAKY[:2]],
    {**LEAKY[2], "tau_a": 3.0, "beta": 0.2},
]
KLIF = [{**q, "scale_reset": scale, "k": 1.4} for q in LEAKY[:3] for scale in (False, True)]
SETTINGS = [
    (neuron.IFNode, [{}]),
    (neuron.LIFNode, LEAKY),
    (neuron.QIFNode, QUADRATIC),
    (neuron.EIFNode, EXPONENTIAL),
    (neuron.IzhikevichNode, IZHIKEVICH),
    (neuron.AdaptiveLIFNode, ADAPTIVE),
    (neuron.KLIFNode, KLIF),
    (neuron.CUBALIFNode, [{"c_decay": 0.5, "v_decay": 0.75}, {"c_decay": 0.0, "v_decay": 1}]),
]
NODES_WITH_GRADIENT = [
    pytest.param(cls, q, v_reset, detach, id=f"{cls.__name__}-{i}-{v_reset}-{detach}")
    for cls, qs in SETTINGS
    for i, q in enumerate(qs)
    for v_reset in (0.1, None)
    for detach in (False, True)
]


def leak(v, x, tau, v0, decay_input):
    return v + (x - (v - v0)) / tau if decay_input else v - (v - v0) / tau + x


def reset(h, s, v_th, v_reset):
    return s * v_reset + (1 - s) * h if v_reset is not None else h - s * v_th


@pytest.mark.parametrize(("cls", "setting", "v_reset", "detach_reset"), NODES_WITH_GRADIENT)
def test_gradient_with_the_smooth_surrogate_is_a_finite_difference(
    cls, setting, v_reset, detach_reset
):
    node = build(
        cls,
        setting,
        v_threshold=0.9,
        v_reset=v_reset,
        surrogate_function=surrogate.ATan(spiking=False),
        detach_reset=False,
        step_mode="m",
    ).double()
    torch.manual_seed(1)
    x_seq = (torch.rand(5, 2, dtype=torch.float64) * 1.5 + 0.1).requires_grad_()

    def run(x):
        node.reset()
        return node(x)

    assert torch.autograd.gradcheck(run, (x_seq,))
    if not detach_reset:
        return
    node.detach_reset = True
    node.reset()
    (grad,) = torch.autograd.grad(node(x_seq).sum(), x_seq)
    node.detach_reset = False
    node.reset()
    (full,) = torch.autograd.grad(node(x_seq).sum(), x_seq)
    assert not torch.allclose(grad, full)


@pytest.mark.parametrize("v_reset", [0.0, 0.2, None])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("decay_input", [False, True])
def test_spiking_gradient_of_lif_by_the_recurrence_of_the_chain_rule(
    v_reset, detach_reset, decay_input
):
    torch.manual_seed(2)
    T, tau, v_th, alpha = 9, 1.7, 0.8, 3.0
    x = torch.rand(T, dtype=torch.float64) * 2.5
    v0 = 0.0 if v_reset is None else v_reset
    hs, v = [], v0
    for value in x.tolist():
        h = leak(v, value, tau, v0, decay_input)
        hs.append(h)
        v = reset(h, float(h >= v_th), v_th, v_reset)
    g_out = torch.randn(T, dtype=torch.float64)
    g_v, expected = 0.0, [0.0] * T
    for t in reversed(range(T)):
        u = hs[t] - v_th
        gs = (alpha / 2) / (1 + (math.pi / 2 * alpha * u) ** 2)
        s = float(u >= 0)
        through = (1 - s) if v_reset is not None else 1.0
        if not detach_reset:
            through += gs * ((v_reset - hs[t]) if v_reset is not None else -v_th)
        g_h = float(g_out[t]) * gs + g_v * through
        expected[t] = g_h * (1 / tau if decay_input else 1.0)
        g_v = g_h * (1 - 1 / tau)
    node = neuron.LIFNode(
        tau, decay_input, v_th, v_reset, surrogate.ATan(alpha), detach_reset, step_mode="m"
    )
    x_seq = x.unsqueeze(1).requires_grad_()
    node(x_seq).flatten().backward(g_out)
    torch.testing.assert_close(
        x_seq.grad.flatten(), torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-12
    )
