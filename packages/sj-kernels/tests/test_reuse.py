"""Backward that writes over its gradient: only where nobody else has it, and with the same bits."""

import gc
import sys

import pytest
import torch
from kernels_reference import NEURON_PARAMS, SURROGATE_PARAMS
from reuse_cases import (
    KEPT,
    LIF,
    OTHERS,
    Made,
    Shared,
    backward,
    by_hand_within_a_hook_of_its_own,
    run,
    twice_from_what_was_saved,
    weighted,
)
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sj_kernels import ops, reuse, simple


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 300_001), (3, 100_003), (4, 1 << 19), (9, 64, 1021)])
@pytest.mark.parametrize("neuron", ["if", "lif", "plif", "qif", "eif"])
def test_same_bits(monkeypatch, neuron, shape, dtype):
    settings = {"neuron": neuron, "params": NEURON_PARAMS[neuron]}
    found, fresh = run(backward, monkeypatch, shape, dtype, True, settings)
    expected, others = run(backward, monkeypatch, shape, dtype, False, settings)
    assert (fresh, others) == (0, 1)
    for a, b in zip(found, expected, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("surrogate", SURROGATE_PARAMS)
@pytest.mark.parametrize("detach_reset", [True, False])
def test_same_bits_for_every_surrogate(monkeypatch, surrogate, detach_reset):
    settings = {
        **LIF,
        "surrogate": surrogate,
        "surrogate_params": SURROGATE_PARAMS[surrogate],
        "detach_reset": detach_reset,
        "v_reset": None,
    }
    (found, _), fresh = run(backward, monkeypatch, (6, 50_000), settings=settings)
    (expected, _), _ = run(backward, monkeypatch, (6, 50_000), reuse_it=False, settings=settings)
    assert fresh == 0
    assert torch.equal(found, expected)


def test_channels_last(monkeypatch):
    images = torch.randn(32, 16, 32, 32).to(memory_format=torch.channels_last)
    conv = torch.nn.Conv2d(16, 8, 3).to(memory_format=torch.channels_last)
    grads = []
    ops.neuron(torch.ones(4, 1 << 17, requires_grad=True), **LIF)[0].sum().backward()  # counts
    for reuse_it in (True, False):
        x = images.clone(memory_format=torch.preserve_format).requires_grad_()
        fresh = []
        with monkeypatch.context() as patch:
            s = ops.neuron(x.unflatten(0, (4, 8)), multi_step=True, **LIF)[0]
            patch.setattr(simple, "_empty_like", lambda t, f=fresh: f.append(t) or t.clone())
            if not reuse_it:
                patch.setattr(simple, "is_last", lambda *_: False)
            conv(s.flatten(0, 1)).square().sum().backward()
        assert len(fresh) == (0 if reuse_it else 1)
        grads.append(x.grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize("use", OTHERS, ids=lambda f: f.__name__)
def test_a_gradient_that_others_have_is_left_alone(monkeypatch, use):
    KEPT.clear()
    backward_first, _ = run(backward, monkeypatch)  # references are counted by now
    (found, _), fresh = run(use, monkeypatch)
    assert fresh == 1
    assert len(KEPT) == 1
    assert torch.equal(found, backward_first[0])
    weights = torch.linspace(-1, 2, found.numel())
    assert torch.equal(KEPT[0].flatten(), weights)


def test_a_saved_gradient_serves_a_second_backward(monkeypatch):
    KEPT.clear()
    (expected, _), _ = run(backward, monkeypatch)
    (found, _), _ = run(twice_from_what_was_saved, monkeypatch)
    assert torch.equal(found, expected)
    assert torch.equal(*KEPT)


def test_backward_by_hand_within_a_hook_of_the_node(monkeypatch):
    KEPT.clear()
    (expected, _), _ = run(backward, monkeypatch)
    (found, _), _ = run(by_hand_within_a_hook_of_its_own, monkeypatch)
    assert torch.equal(found, expected)
    assert torch.equal(KEPT[0].flatten(), torch.linspace(-1, 2, KEPT[0].numel()))


def test_a_result_has_no_history_of_the_gradient(monkeypatch):
    """A Function that records its backward gives a gradient that requires grad."""

    def make(g):
        with torch.enable_grad():
            return torch.ones_like(g).requires_grad_() * 2

    def use(s):
        x = s.grad_fn.next_functions[0][0].variable
        (x.grad,) = torch.autograd.grad(Made.apply(s, make).sum(), x)
        assert not x.grad.requires_grad

    run(use, monkeypatch)


def test_a_result_is_no_view(monkeypatch):
    """Leaves would share the memory of a gradient and of a view of it, and add to it twice."""
    a, b = (torch.zeros(4, 1 << 16, requires_grad=True) for _ in range(2))
    s = ops.neuron(Shared.apply(b, a), neuron="if")[0]
    for _ in range(2):
        (s.flatten() * 1).sum().backward(retain_graph=True)  # the gradient comes as a view
        assert a.grad.data_ptr() != b.grad.data_ptr()
    c = torch.zeros(4, 1 << 16, requires_grad=True)
    ops.neuron(c, neuron="if")[0].sum().backward()
    for leaf in (a, b):
        assert torch.equal(leaf.grad, 2 * c.grad)


def test_a_result_keeps_no_larger_memory_alive(monkeypatch):
    def use(s):
        wide = torch.cat([s, torch.zeros(20, *s.shape[1:])])
        (wide * torch.rand_like(wide)).sum().backward()

    (found, _), _ = run(use, monkeypatch)
    assert found.untyped_storage().nbytes() == found.nbytes


def test_references_are_not_counted_while_a_tracer_adds_some(monkeypatch):
    def trace(frame, *_):
        _ = frame.f_locals  # a second reference to each local
        return trace

    def traced(s):
        loss = weighted(s).sum()
        sys.settrace(trace)
        try:
            loss.backward()
        finally:
            sys.settrace(before)

    before = sys.gettrace()
    monkeypatch.setattr(reuse, "_fresh", None)
    assert run(traced, monkeypatch)[1] == 1
    assert reuse._fresh is None
    assert run(backward, monkeypatch)[1] == 0


def test_a_retained_gradient_is_a_copy(monkeypatch):
    def use(s):
        s.retain_grad()
        backward(s)
        KEPT.append(s.grad)

    KEPT.clear()
    run(use, monkeypatch)
    assert torch.equal(KEPT[0].flatten(), torch.linspace(-1, 2, KEPT[0].numel()))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(monkeypatch, reentrant):
    (expected, _), _ = run(backward, monkeypatch)
    use = lambda s: checkpoint(weighted, s, use_reentrant=reentrant).sum().backward()  # noqa: E731
    (found, _), _ = run(use, monkeypatch)
    assert torch.equal(found, expected)


def test_branches_share_a_gradient(monkeypatch):
    def use(s):
        branch = s * 1.0
        KEPT.append(branch)
        branch.register_hook(lambda g: KEPT.append(g.clone()))
        weighted(s + branch).sum().backward()

    KEPT.clear()
    (found, _), _ = run(use, monkeypatch)
    (expected, _), _ = run(use, monkeypatch, reuse_it=False)
    assert torch.equal(found, expected)
    assert torch.equal(KEPT[1], KEPT[3])


def test_small_gradients_are_not_asked_about(monkeypatch):
    monkeypatch.setattr(simple, "is_last", lambda *_: pytest.fail("asked"))
    run(backward, monkeypatch, (4, 100))


def test_references_are_counted_in_the_first_backward_only(monkeypatch):
    counted = []
    count = reuse._count
    monkeypatch.setattr(reuse, "_fresh", None)
    monkeypatch.setattr(reuse, "_count", lambda: counted.append(1) or count())
    for _ in range(2):
        assert run(backward, monkeypatch)[1] == 0
    assert len(counted) == 1


def test_where_references_cannot_be_told_apart_none_is_taken(monkeypatch):
    monkeypatch.setattr(reuse, "_fresh", None)
    monkeypatch.setattr(reuse, "_references", lambda _: (2,))
    assert run(backward, monkeypatch)[1] == 1
    assert reuse._fresh == reuse._NEVER


def test_nothing_is_kept_alive(monkeypatch):
    run(backward, monkeypatch)
    before = len([o for o in gc.get_objects() if type(o) is Tensor])
    for _ in range(3):
        run(backward, monkeypatch)
    gc.collect()
    assert len([o for o in gc.get_objects() if type(o) is Tensor]) <= before
