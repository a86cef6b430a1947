"""The step API against plain torch loops and the chain rule in float64."""

import copy
import pickle

import pytest
import torch
from kernels_reference import run, surrogate_gradient

from sj_kernels import neuron

ONE = list(neuron.surrogate_function_dict)
ALPHA = {"QPseudoSpike": 2.0, "LogTailedReLU": 0.1, "FakeNumericalGradient": 0.3}
TAU = 3.0


def name_of(kind, reset, family):
    return getattr(neuron, f"{kind}_{reset}_reset_{family}")


def tail(kind, detach_input):
    return (1 / TAU, detach_input) if kind == "LIF" else ()


def inputs(shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) * 2 + 0.6
    v = torch.randn(*shape[1:], generator=generator, dtype=torch.float64) * 0.3
    return x.to(dtype), v.to(dtype)


def reference(kind, x, v, v_reset, surrogate, alpha, detach_reset, detach_input):
    v_rest = v_reset if v_reset is not None else 0.0
    params = (1 / TAU, v_rest, float(not detach_input)) if kind == "LIF" else ()
    return run(
        x, v, neuron=kind.lower(), params=params, v_threshold=0.9, v_reset=v_reset,
        surrogate=surrogate, surrogate_params=(alpha,), detach_reset=detach_reset,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("detach_input", [False, True])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("kind", ["IF", "LIF"])
def test_forward_and_fptt(kind, reset, detach_input, dtype):
    x, v = inputs((5, 3, 7), dtype)
    v_reset = -0.2 if reset == "hard" else None
    args = (0.9, *([v_reset] if reset == "hard" else []), *tail(kind, detach_input))
    s_seq, v_last = name_of(kind, reset, "fptt")(x, v, *args)
    expected = reference(kind, x, v, v_reset, "ATan", 2.0, False, detach_input)
    assert torch.equal(s_seq, expected[0])
    assert torch.equal(v_last, expected[1])
    for t in range(5):
        s, v = name_of(kind, reset, "forward")(x[t], v, *args)
        assert torch.equal(s, s_seq[t])
    assert torch.equal(v, v_last)


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("surrogate", ONE)
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("kind", ["IF", "LIF"])
def test_with_grad_and_bptt(kind, reset, surrogate, detach_reset):
    alpha = ALPHA.get(surrogate, 1.7)
    index = neuron.surrogate_function_dict[surrogate]
    v_reset = -0.2 if reset == "hard" else None
    settings = (0.9, *([v_reset] if reset == "hard" else []), alpha, detach_reset, index)
    for detach_input in (False, True):
        x, v = inputs((4, 2, 5), seed=1)
        x.requires_grad_()
        v.requires_grad_()
        last = tail(kind, detach_input)
        with_grad = name_of(kind, reset, "fptt_with_grad")
        s, v_next, s_to_h, v_to_h = with_grad(x.detach(), v.detach(), *settings, *last)
        expected = reference(kind, x, v, v_reset, surrogate, alpha, detach_reset, detach_input)
        assert torch.equal(s, expected[0])
        assert torch.equal(v_next, expected[1])
        grad_s, grad_v = torch.randn_like(s), torch.randn_like(v_next)
        got = getattr(neuron, f"{kind}_bptt")(grad_s, grad_v, s_to_h, v_to_h, *last)
        want = torch.autograd.grad(expected[:2], (x, v), (grad_s, grad_v))
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)

        step = name_of(kind, reset, "forward_with_grad")
        one = step(x[0].detach(), v.detach(), *settings, *last)
        for a, b in zip(one, (s[0], None, s_to_h[0], v_to_h[0]), strict=True):
            assert b is None or torch.equal(a, b)
        one_step = getattr(neuron, f"{kind}_backward")(grad_s[0], grad_v, *one[2:], *last)
        first = reference(kind, x[:1], v, v_reset, surrogate, alpha, detach_reset, detach_input)
        want = torch.autograd.grad(first[:2], (x, v), (grad_s[:1], grad_v))
        torch.testing.assert_close(one_step, (want[0][0], want[1]), rtol=1e-10, atol=1e-12)


def test_derivatives_by_hand():
    x = torch.tensor([0.5, 1.5], dtype=torch.float64)
    v = torch.zeros(2, dtype=torch.float64)
    _, _, s_to_h, v_to_h = neuron.IF_hard_reset_forward_with_grad(x, v, 1.0, -0.5, 2.0, False, 0)
    gs = surrogate_gradient("ATan", (2.0,), x - 1)
    torch.testing.assert_close(s_to_h, gs)
    spiked = torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(v_to_h, 1 - spiked + (-0.5 - x) * gs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half(dtype):
    x, v = inputs((4, 3), torch.float32)
    x = x.to(dtype)
    s, v_next, s_to_h, v_to_h = neuron.LIF_hard_reset_fptt_with_grad(
        x, v, 0.9, 0.0, 2.0, False, 1, 0.5, False
    )
    assert s.dtype == dtype
    assert v_next.dtype == s_to_h.dtype == v_to_h.dtype == torch.float32
    grad_x, grad_v = neuron.LIF_bptt(s, v_next, s_to_h, v_to_h, 0.5, False)
    assert grad_x.dtype == dtype
    assert grad_v.dtype == torch.float32


@pytest.mark.parametrize("v_reset", [-0.2, None])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("kind", ["IF", "LIF"])
def test_autograd_functions(kind, detach_reset, v_reset):
    x, v = inputs((4, 2, 5), seed=2)
    x.requires_grad_()
    v.requires_grad_()
    settings = (0.9, v_reset, 1.7, detach_reset, 1, *tail(kind, False))
    expected = reference(kind, x, v, v_reset, "Sigmoid", 1.7, detach_reset, False)
    grad_s, grad_v = torch.randn_like(x), torch.randn_like(v)
    want = torch.autograd.grad(expected[:2], (x, v), (grad_s, grad_v))
    s, v_next = getattr(neuron, f"{kind}MultiStep").apply(x, v, *settings)
    got = torch.autograd.grad((s, v_next), (x, v), (grad_s, grad_v))
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)

    spikes, state = [], v
    for step in x:
        spike, state = getattr(neuron, f"{kind}Step").apply(step, state, *settings)
        spikes.append(spike)
    assert torch.equal(torch.stack(spikes), s)
    got = torch.autograd.grad((torch.stack(spikes), state), (x, v), (grad_s, grad_v))
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("v_reset", [0.0, None])
@pytest.mark.parametrize("kind", ["IF", "LIF"])
def test_modules(kind, v_reset):
    x, _ = inputs((6, 3, 4), torch.float32)
    extra = {"tau": TAU} if kind == "LIF" else {}
    multi = getattr(neuron, f"MultiStep{kind}Node")(v_reset=v_reset, **extra)
    single = getattr(neuron, f"{kind}Node")(v_reset=v_reset, **extra)
    x.requires_grad_()
    s = multi(x)
    assert torch.equal(s, torch.stack([single(step) for step in x]))
    assert torch.equal(multi.v, single.v)
    s.sum().backward()
    assert x.grad.abs().sum() > 0
    assert multi.state_dict() == {}
    for twin in (copy.deepcopy(multi), pickle.loads(pickle.dumps(multi))):
        assert torch.equal(twin.v, multi.v)
        assert not twin.v.requires_grad
    multi.reset()
    assert multi.v == 0.0
    multi.eval()
    again = multi(x)
    assert torch.equal(again, s)
    assert not again.requires_grad


def test_module_defaults():
    node = neuron.LIFNode()
    assert (node.tau, node.detach_input, node.v_threshold, node.v_reset) == (100.0, False, 1.0, 0.0)
    assert (node.surrogate_function, node.alpha, node.detach_reset) == ("ATan", 2.0, False)
    assert "tau=100.0" in repr(node)


def test_surrogate_function_dict():
    assert len(neuron.surrogate_function_dict) == 12
    assert neuron.surrogate_function_dict["ATan"] == 0
    assert neuron.surrogate_function_dict["Sigmoid"] == 1
    assert sorted(neuron.surrogate_function_dict.values()) == list(range(12))


def test_errors():
    x, v = inputs((4, 3), torch.float32)
    with pytest.raises(ValueError, match=r"'ReLU'.*'ATan', 'Sigmoid'"):
        neuron.IFNode(surrogate_function="ReLU")
    with pytest.raises(ValueError, match="two parameters"):
        neuron.IFNode(surrogate_function="S2NN")
    with pytest.raises(ValueError, match=r"`grad_surrogate_function_index` \(=12\)"):
        neuron.IFStep.apply(x[0], v, 1.0, 0.0, 2.0, False, 12)
    with pytest.raises(ValueError, match=r"`tau` \(=1.0\) must be greater than 1."):
        neuron.LIFNode(tau=1.0)
    with pytest.raises(ValueError, match=r"`v` \(shape \[4\]\)"):
        neuron.IF_soft_reset_fptt(x, torch.zeros(4), 1.0)
    with pytest.raises(TypeError, match="`v`"):
        neuron.IF_soft_reset_fptt(x, v.double(), 1.0)
    with pytest.raises(TypeError, match="float16, bfloat16, float32 or float64"):
        neuron.IF_soft_reset_fptt(x.int(), v, 1.0)
    with pytest.raises(ValueError, match="`grad_spike`"):
        neuron.IF_backward(x, v, x[0], x[0])
    with pytest.raises(ValueError, match="`grad_v_next`"):
        neuron.IF_bptt(x, x, x, x)
    with pytest.raises(ValueError, match="`grad_v_to_h`"):
        neuron.IF_bptt(x, v, x, x[:3])
    with pytest.raises(ValueError, match=r"`grad_s_to_h` \(shape \[\]\)"):
        neuron.IF_bptt(*[torch.tensor(1.0)] * 4)
    with pytest.raises(TypeError, match=r"`v` \(=0.0\) must be a tensor"):
        neuron.IF_soft_reset_fptt(x, 0.0, 1.0)
    with pytest.raises(TypeError, match=r"takes 9 arguments, got 7: x, v, .*reciprocal_tau"):
        neuron.LIFMultiStep.apply(x, v, 1.0, 0.0, 2.0, False, 0)
    with pytest.raises(TypeError, match="takes 7 arguments, got 9"):
        neuron.IFMultiStep.apply(x, v, 1.0, 0.0, 2.0, False, 0, 0.5, True)
    with pytest.raises(NotImplementedError, match="use IFNode, LIFNode"):
        neuron.BaseNode()(x)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0, 0)])
def test_no_steps_or_no_neurons(shape):
    x, v = inputs(shape, torch.float32)
    outputs = neuron.LIF_hard_reset_fptt_with_grad(
        x, v, 1.0, 0.0, 2.0, False, 0, *tail("LIF", False)
    )
    s, v_next, grad_s_to_h, grad_v_to_h = outputs
    assert s.shape == grad_s_to_h.shape == grad_v_to_h.shape == shape
    assert torch.equal(v_next, v)
    assert torch.equal(neuron.LIF_bptt(s, v, grad_s_to_h, grad_v_to_h, *tail("LIF", False))[1], v)


# Dynamo warns of what it does itself: it makes an autograd function, and reads the state's `.grad`.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("node", ["IFNode", "LIFNode", "MultiStepIFNode", "MultiStepLIFNode"])
def test_compiled_node(node, training):
    """One graph, and its V goes on from call to call."""
    torch._dynamo.reset()
    x, _ = inputs((4, 3, 5), torch.float32)
    eager = getattr(neuron, node)().train(training)
    compiled = getattr(neuron, node)().train(training)
    function = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    for _ in range(2):
        s, other = eager(leaves[0]), function(leaves[1])
        assert torch.equal(s, other)
        assert torch.equal(eager.v, compiled.v)
    if training:
        s.sum().backward()
        other.sum().backward()
        assert torch.equal(leaves[0].grad, leaves[1].grad)
