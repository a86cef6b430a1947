"""The registered ops: schema, fake, autograd, torch.compile, torch.func; equal to eager mode."""

import pytest
import torch
from kernels_reference import NEURON_PARAMS, opcheck

import sj_kernels
from sj_kernels import ops

SETTINGS = {
    "v_threshold": 1.0,
    "v_reset": 0.0,
    "surrogate": "Sigmoid",
    "surrogate_params": (4.0,),
    "detach_reset": False,
}


def arguments(neuron, multi_step=True, tensors=True, channel=False, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 4, 5, 2) if multi_step else (4, 5, 2)
    draw = lambda *s: torch.randn(*s, generator=generator)  # noqa: E731
    state = torch.float64 if dtype == torch.float64 else torch.float32
    x = (draw(*shape) + 0.6).to(dtype).requires_grad_()
    step = shape[1:] if multi_step else shape
    two = neuron == "izhikevich"
    v = (0.3 * draw(*step)).to(state).requires_grad_() if tensors else None
    w = (0.1 * draw(*step)).to(state).requires_grad_() if tensors and two else None
    decay = torch.tensor([0.4], dtype=state, requires_grad=True) if neuron == "plif" else None
    threshold = torch.linspace(0.5, 1.5, 5, dtype=state) if channel else None
    scale = torch.linspace(1, 2, 5, dtype=state) if channel else None
    return (
        x, v, 0.1, w, 0.2, decay, threshold, scale, neuron, list(NEURON_PARAMS[neuron]), 1.0, None,
        "Sigmoid", [4.0], False, multi_step, True, 1.0,
    )  # fmt: skip


@opcheck
@pytest.mark.parametrize("channel", [False, True])
@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("multi_step", [False, True])
@pytest.mark.parametrize("neuron", list(NEURON_PARAMS))
def test_opcheck_forward(neuron, multi_step, tensors, channel):
    torch.library.opcheck(
        torch.ops.sj.neuron_forward.default,
        arguments(neuron, multi_step, tensors, channel),
    )


@opcheck
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_opcheck_forward_dtype(dtype):
    torch.library.opcheck(torch.ops.sj.neuron_forward.default, arguments("lif", dtype=dtype))


@opcheck
@pytest.mark.parametrize("neuron", list(NEURON_PARAMS))
def test_opcheck_backward(neuron):
    args = [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments(neuron)]
    outputs = torch.ops.sj.neuron_forward(*args)
    incoming = [torch.randn_like(o) if o.numel() else None for o in outputs]
    need_decay = neuron == "plif"
    torch.library.opcheck(torch.ops.sj.neuron_backward.default, (*incoming, *args, need_decay))


def call(neuron, x, v, w, decay):
    return ops.neuron(
        x, v, w, neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay, store_v_seq=True,
        **SETTINGS,
    )  # fmt: skip


@pytest.mark.parametrize("neuron", list(NEURON_PARAMS))
def test_compiled_equals_eager(neuron):
    x, v, _, w, _, decay, *_ = arguments(neuron)
    results = []
    for function in (call, torch.compile(call, fullgraph=True, backend="aot_eager")):
        leaves = [
            None if t is None else t.detach().clone().requires_grad_() for t in (x, v, w, decay)
        ]
        outputs = [o for o in function(neuron, *leaves) if o is not None]
        sum((o * (i + 1)).square().sum() for i, o in enumerate(outputs)).backward()
        results.append([*outputs, *(t.grad for t in leaves if t is not None)])
    for eager, compiled in zip(*results, strict=True):
        assert torch.equal(eager, compiled)


def test_export():
    class Net(torch.nn.Module):
        def forward(self, x):
            return call("lif", x, 0.0, None, None)[0]

    x = torch.randn(3, 4, 5)
    exported = torch.export.export(Net(), (x,))
    assert torch.equal(exported.module()(x), Net()(x))


def test_fake_and_meta():
    for x in (torch.empty(3, 4, 5, device="meta"),):
        s, v, _, v_seq = call("lif", x, 0.0, None, None)
        assert s.shape == v_seq.shape == (3, 4, 5)
        assert v.shape == (4, 5)
        assert s.is_meta


def test_plan_is_neuron():
    plan = sj_kernels.plan(neuron="lif", params=NEURON_PARAMS["lif"], store_v_seq=True, **SETTINGS)
    x = torch.randn(3, 4, 5) + 0.6
    for a, b in zip(plan(x, 0.1), call("lif", x, 0.1, None, None), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


def test_combinations():
    served = sj_kernels.combinations()
    assert served["neuron"] == set(NEURON_PARAMS)
    assert len(served["surrogate"]) == 16
    assert served["reset"] == {"hard", "soft"}
    assert served["dtype"] == {"float16", "bfloat16", "float32", "float64"}
    assert "cpu" in served["device"]


def test_build_info():
    info = sj_kernels.build_info()
    assert info["version"] == sj_kernels.__version__
    assert info["isa"] in info["isa_available"]
    assert info["isa_available"][-1] == "baseline"
    assert info["threads"] == torch.get_num_threads()
