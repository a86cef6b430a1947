"""On a GPU: the native backend against the torch backend there, and against float64 on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sj_core import functional, layer, neuron, surrogate

sj_kernels = pytest.importorskip("sj_kernels", reason="the native backend is sj-kernels")

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available() or "cuda" not in sj_kernels.combinations()["device"],
        reason="needs a CUDA device and sj-kernels built with CUDA",
    ),
]

NODES = {
    "IF": lambda **k: neuron.IFNode(**k),
    "LIF": lambda **k: neuron.LIFNode(tau=1.7, **k),
    "LIF, input not decayed": lambda **k: neuron.LIFNode(tau=3.0, decay_input=False, **k),
    "ParametricLIF": lambda **k: neuron.ParametricLIFNode(init_tau=3.0, **k),
    "QIF": lambda **k: neuron.QIFNode(**k),
    "EIF": lambda **k: neuron.EIFNode(**k),
    "Izhikevich": lambda **k: neuron.IzhikevichNode(**k),
}
LAYOUTS = {
    "contiguous": lambda x: x,
    "channels-last": lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2),
    "time inside": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
}


def run(node: neuron.BaseNode, x: Tensor, backend: str) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Spikes, the last V, and the gradients of the input and of every parameter."""
    node = copy.deepcopy(node).to(x.device, x.dtype if x.dtype == torch.float64 else None)
    node.backend = backend
    x = x.detach().requires_grad_()
    s = node(x)
    weight = torch.linspace(-1, 1, s.numel(), dtype=torch.float64).view(s.shape)
    gradients = torch.autograd.grad(
        (s * weight.to(s.device, s.dtype)).sum() + node.v.sum(), [x, *node.parameters()]
    )
    return s.detach().cpu(), node.v.detach().cpu(), [g.cpu() for g in gradients]


def close(ours: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = expected.double().abs().max().item()
    torch.testing.assert_close(
        ours.double(), expected.double(), rtol=tolerance, atol=tolerance * scale
    )


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
@pytest.mark.parametrize("v_reset", [0.0, None])
@pytest.mark.parametrize("name", list(NODES))
def test_neurons(name, v_reset, dtype, layout):
    if v_reset is None and name in ("QIF", "EIF", "Izhikevich"):
        pytest.skip("their V escapes to infinity with a soft reset")
    torch.manual_seed(0)
    node = NODES[name](
        step_mode="m", surrogate_function=surrogate.ATan(), v_reset=v_reset, detach_reset=True
    )
    drive = {"QIF": 3.0, "EIF": 2.0, "Izhikevich": 3.0}.get(name, 1.0)
    x = LAYOUTS[layout]((torch.randn(6, 2, 3, 8, 8) + drive).to("cuda", dtype))
    s, v, gradients = run(node, x, "native")
    same_s, same_v, same_gradients = run(node, x, "torch")
    assert s.any()
    if name != "EIF":  # up to torch's own exp
        assert torch.equal(s, same_s)
    tolerance = {torch.float64: 1e-10, torch.float32: 2e-4}.get(dtype, 2e-2)
    if torch.equal(s, same_s):
        close(v, same_v, tolerance)
        for ours, expected in zip(gradients, same_gradients, strict=True):
            close(ours, expected, tolerance)
    exact_s, exact_v, exact = run(node, x.cpu().double(), "torch")
    # A potential at the threshold may round to either side: nothing may differ but by that.
    differ = (s.double() != exact_s).double().mean()
    assert differ <= (0 if dtype == torch.float64 else 0.01)
    if torch.equal(s.double(), exact_s):
        close(v, exact_v, tolerance)
        for ours, expected in zip(gradients, exact, strict=True):
            close(ours, expected, tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_training_step_under_autocast(dtype, channels_last):
    torch.manual_seed(1)
    net = nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1, bias=False),
        layer.BatchNorm2d(8),
        neuron.LIFNode(v_threshold=0.5, surrogate_function=surrogate.ATan(), detach_reset=True),
        layer.Flatten(),
        layer.Linear(8 * 144, 10),
        neuron.ParametricLIFNode(v_threshold=0.05),
    ).cuda()
    functional.set_step_mode(net, "m")
    x = 2 * torch.randn(5, 3, 2, 12, 12, device="cuda")
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
        x = LAYOUTS["channels-last"](x)
    results = []
    for backend in ("native", "torch"):
        twin = copy.deepcopy(net)
        functional.set_backend(twin, backend)
        with torch.autocast("cuda", dtype):
            y = twin(x)
        assert y.dtype == dtype
        y.float().square().sum().backward()
        results.append((y, [p.grad for p in twin.parameters()]))
    (y, gradients), (same_y, same_gradients) = results
    assert y.any()
    assert (y != same_y).float().mean() <= 0.01
    for ours, expected in zip(gradients, same_gradients, strict=True):
        assert ours is not None
        close(ours, expected, 0.1)
