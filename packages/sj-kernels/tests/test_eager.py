"""The thin eager path against the full one: the same bits, the same errors."""

import pytest
import torch
from kernels_reference import NEURON_PARAMS

from sj_kernels import _plan, ops

NEURONS = ["if", "lif", "plif", "qif", "eif"]


def both(monkeypatch, call):
    """What the thin path gives, which must have been taken, and then the full one."""
    taken = []
    thin = _plan.simple

    def watched(*args):
        taken.append(thin(*args))
        return taken[-1]

    monkeypatch.setattr(_plan, "simple", watched)
    found = call()
    assert all(outputs is not None for outputs in taken)
    assert taken
    monkeypatch.setattr(_plan, "simple", lambda *_: None)
    return found, call()


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            assert a.stride() == b.stride()
            assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("multi_step", [True, False])
@pytest.mark.parametrize("state", ["number", "tensor", "with gradient"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_same_as_full_path(monkeypatch, neuron, state, multi_step, dtype):
    real = torch.float64 if dtype == torch.float64 else torch.float32
    generator = torch.Generator().manual_seed(1)
    x = (torch.randn(5, 3, 41, generator=generator) + 0.4).to(dtype)
    shape = x.shape[1:] if multi_step else x.shape
    v = 0.3 * torch.randn(shape, generator=generator).to(real)

    def call():
        leaf = x.clone().requires_grad_()
        start = v.clone().requires_grad_(state == "with gradient") if state != "number" else 0.2
        decay = torch.tensor(0.4, dtype=real, requires_grad=True) if neuron == "plif" else None
        s, v_next, _, _ = ops.neuron(
            leaf, start, neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay,
            multi_step=multi_step,
        )  # fmt: skip
        (s.float() * torch.linspace(-1, 2, x.numel()).view_as(x)).sum().backward(retain_graph=True)
        (v_next * 0.3).sum().backward()
        gradients = [getattr(t, "grad", None) for t in (leaf, start, decay)]
        return [s.detach(), v_next.detach(), *gradients]

    found, expected = both(monkeypatch, call)
    same(found, expected)
    assert found[2].count_nonzero() > 0
    assert neuron != "plif" or found[4].shape == ()


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
def test_which_gradients(monkeypatch, wanted):
    """Of the input alone, of 1/tau alone, of none."""

    def call():
        x = torch.linspace(-1, 3, 60).view(4, 15).requires_grad_(wanted[0])
        decay = torch.tensor([0.4], requires_grad=wanted[1])
        s = ops.neuron(x, neuron="plif", params=NEURON_PARAMS["plif"], decay=decay)[0]
        assert s.requires_grad == any(wanted)
        if s.requires_grad:
            s.sum().backward()
        return [s.detach(), x.grad, decay.grad]

    found, expected = both(monkeypatch, call)
    same(found, expected)
    assert [g is not None for g in found[1:]] == list(wanted)


def test_decay_of_another_precision():
    """Float64 for float32 potentials is rounded once; its gradient has its own precision."""
    x = torch.linspace(-1, 3, 60).view(4, 15)
    grads = []
    for dtype in (torch.float32, torch.float64):
        decay = torch.tensor([0.5], dtype=dtype, requires_grad=True)
        ops.neuron(x, neuron="plif", params=NEURON_PARAMS["plif"], decay=decay)[0].sum().backward()
        assert decay.grad.dtype == dtype
        grads.append(decay.grad.double())
    torch.testing.assert_close(*grads, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("neuron", "decay", "rule"),
    [
        ("plif", None, "must be a tensor of one element"),
        ("plif", torch.ones(2), r"shape \[2\]\) must hold one element"),
        ("lif", torch.ones(1), "None for any other neuron"),
        ("plif", torch.ones(1, device="meta"), "on the device of `x`"),
    ],
)
def test_wrong_decay(neuron, decay, rule):
    with pytest.raises(ValueError, match=f"`decay`.*{rule}"):
        ops.neuron(torch.zeros(3, 4), neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of vmap, once per process
@pytest.mark.parametrize("store_v_seq", [False, True], ids=["thin", "full"])
@pytest.mark.parametrize("neuron", NEURONS)
def test_batched_gradients(neuron, store_v_seq):
    """`is_grads_batched`, as `jacobian(vectorize=True)` uses it, against one gradient at a time.

    And `torch.vmap` over `torch.autograd.grad`, as its documentation has it.
    """
    generator = torch.Generator().manual_seed(3)
    x = (torch.randn(4, 7, generator=generator) + 0.4).requires_grad_()
    v = torch.zeros(7, requires_grad=True)
    decay = torch.tensor([0.4], requires_grad=True) if neuron == "plif" else None
    outputs = ops.neuron(
        x, v, neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay, store_v_seq=store_v_seq
    )[:2]
    leaves = [t for t in (x, v, decay) if t is not None]
    batch = [torch.randn(3, *o.shape, generator=generator) for o in outputs]
    found = torch.autograd.grad(outputs, leaves, batch, is_grads_batched=True, retain_graph=True)
    grad = lambda *g: torch.autograd.grad(outputs, leaves, g, retain_graph=True)  # noqa: E731
    mapped = torch.vmap(grad)(*batch)
    assert all(torch.equal(a, b) for a, b in zip(found, mapped, strict=True))
    for i in range(3):
        one = torch.autograd.grad(outputs, leaves, [b[i] for b in batch], retain_graph=True)
        assert all(torch.equal(a[i], b) for a, b in zip(found, one, strict=True))
