"""The neurons as plain torch loops over the published equations: the oracle of these tests."""

import math

import pytest
import torch
from torch import Tensor

# torch.library.opcheck looks at the gradients of its own copies, of which torch warns.
opcheck = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)

SURROGATE_PARAMS = {
    "ATan": (2.0,),
    "Sigmoid": (4.0,),
    "PiecewiseQuadratic": (1.0,),
    "PiecewiseExp": (1.0,),
    "SoftSign": (2.0,),
    "SuperSpike": (1.0,),
    "NonzeroSignLogAbs": (1.0,),
    "Erf": (2.0,),
    "QPseudoSpike": (2.0,),
    "FakeNumericalGradient": (0.3,),
    "LogTailedReLU": (0.1,),
    "Rect": (1.0,),
    "PiecewiseLeakyReLU": (1.0, 0.01),
    "SquarewaveFourierSeries": (2.0, 8.0),
    "S2NN": (4.0, 1.0),
    "LeakyKReLU": (0.1, 0.9),
}

# neuron -> params; two rest potentials and both forms of decay for the LIF
NEURON_PARAMS = {
    "if": (),
    "lif": (0.5, 0.0, 1.0),
    "plif": (0.1, 1.0),
    "qif": (0.5, 0.8, 1.0, 0.0),
    "eif": (0.5, 1.0, 0.8, 0.0),
    "izhikevich": (0.5, 0.8, 1.0, -0.1, 0.5, 0.3, 0.2),
}


def surrogate_gradient(name: str, params: tuple[float, ...], x: Tensor) -> Tensor:
    """g'(x) as the table of the surrogates gives it."""
    a = params[0]
    b = params[1] if len(params) > 1 else 0.0
    if name == "ATan":
        return a / 2 / (1 + (math.pi / 2 * a * x) ** 2)
    if name == "Sigmoid":
        s = torch.sigmoid(a * x)
        return a * s * (1 - s)
    if name == "PiecewiseQuadratic":
        return (a - a * a * x.abs()).clamp(min=0)
    if name == "PiecewiseExp":
        return a / 2 * torch.exp(-a * x.abs())
    if name == "SoftSign":
        return 1 / (2 * a * (1 / a + x.abs()) ** 2)
    if name == "SuperSpike":
        return a / (1 + x.abs()) ** 2
    if name == "NonzeroSignLogAbs":
        return 1 / (1 / a + x.abs())
    if name == "Erf":
        return a / math.sqrt(math.pi) * torch.exp(-a * a * x * x)
    if name == "QPseudoSpike":
        return (1 + 2 * x.abs() / (a - 1)) ** -a
    if name == "FakeNumericalGradient":
        return (1 / x.abs()).clamp(max=a)
    if name == "LogTailedReLU":
        return torch.where(x <= 0, a, torch.where(x <= 1, torch.ones_like(x), 1 / x))
    if name == "Rect":
        return torch.where(x.abs() < 1 / (2 * a), a, torch.zeros_like(x))
    if name == "PiecewiseLeakyReLU":
        return torch.where(x.abs() < a, 1 / (2 * a), b * torch.ones_like(x))
    if name == "SquarewaveFourierSeries":
        terms = [torch.cos((2 * i + 1) * 2 * math.pi / b * x) for i in range(int(a))]
        return 4 / b * sum(terms)
    if name == "S2NN":
        s = torch.sigmoid(a * x)
        return torch.where(x < 0, a * s * (1 - s), b / (x.clamp(min=0) + 1))
    if name == "LeakyKReLU":
        return torch.where(x < 0, a * torch.ones_like(x), b)
    raise KeyError(name)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, name, params):
        ctx.save_for_backward(x)
        ctx.surrogate = (name, params)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * surrogate_gradient(*ctx.surrogate, x), None, None


def charge(neuron, params, x, v, w, decay):
    """H, in the order of operations that the kernels promise."""
    if neuron == "if":
        return v + x
    if neuron in ("lif", "plif"):
        if neuron == "lif":
            rt, v_rest, decay_input = params
        else:
            rt, (v_rest, decay_input) = decay, params
        if decay_input:
            return v + (x - (v - v_rest)) * rt
        return v - (v - v_rest) * rt + x
    if neuron == "qif":
        rt, v_c, a0, v_rest = params
        return v + (x + a0 * (v - v_rest) * (v - v_c)) * rt
    if neuron == "eif":
        rt, delta_t, theta_rh, v_rest = params
        return v + (x + v_rest - v + delta_t * torch.exp((v - theta_rh) * (1 / delta_t))) * rt
    rt, v_c, a0, v_rest, *_ = params
    return v + (x + a0 * (v - v_rest) * (v - v_c) - w) * rt


def run(
    x, v, w=None, *, neuron, params, v_threshold, v_reset, surrogate, surrogate_params,
    detach_reset, decay=None, output_scale=None,
):  # fmt: skip
    """All steps of x [T, *]: spikes, v_next, w_next, v_seq. Any dtype; differentiable."""
    spikes, voltages = [], []
    v = torch.full_like(x[0], v) if isinstance(v, float) else v
    w = torch.full_like(x[0], w) if isinstance(w, float) else w
    if isinstance(v_threshold, Tensor):
        v_threshold = v_threshold.view(-1, *[1] * (x.dim() - 3))
    if isinstance(output_scale, Tensor):
        output_scale = output_scale.view(-1, *[1] * (x.dim() - 3))
    for step in x:
        h = charge(neuron, params, step, v, w, decay)
        s = _Spike.apply(h - v_threshold, surrogate, surrogate_params)
        in_reset = s.detach() if detach_reset else s
        if v_reset is None:
            v = h - in_reset * v_threshold
        else:
            v = in_reset * v_reset + (1 - in_reset) * h
        if neuron == "izhikevich":
            *_, v_rest, rtw, a, b = params
            w = w + (a * (h - v_rest) - w) * rtw
            w = w + b * s
        spikes.append(s if output_scale is None else s * output_scale)
        voltages.append(v)
    return torch.stack(spikes), v, w, torch.stack(voltages)
