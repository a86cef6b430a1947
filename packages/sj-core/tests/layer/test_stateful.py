"""Rules that every layer with a state keeps, held against each of them."""

import copy
import pickle

import pytest
import torch
from state_cases import SUMS, N, T, assert_equal, build, inputs, kinds
from torch.utils.checkpoint import checkpoint

from sj_core import functional


def states_of(module):
    return {k: v.clone() for k, v in functional.get_state(module).items()}


@kinds
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_step_by_step_and_as_a_sequence_give_the_same(kind, dtype):
    x = inputs(kind, dtype=dtype)
    single, multi = build(kind, "s", dtype), build(kind, "m", dtype)
    torch.manual_seed(2)
    steps = torch.stack([single(step) for step in x])
    torch.manual_seed(2)
    y = multi(x)
    assert y.dtype == steps.dtype == dtype
    compare = torch.testing.assert_close if kind in SUMS else lambda a, b: assert_equal(a, b)
    compare(y, steps)
    after, expected = functional.get_state(multi), functional.get_state(single)
    assert after.keys() == expected.keys()
    for name in after:
        compare(after[name], expected[name])


@kinds
def test_gradients_agree_between_the_modes(kind):
    x = inputs(kind, dtype=torch.float64)
    results = []
    for step_mode in ("s", "m"):
        module, leaf = build(kind, step_mode, torch.float64), x.clone().requires_grad_()
        torch.manual_seed(2)
        y = module(leaf) if step_mode == "m" else torch.stack([module(step) for step in leaf])
        torch.manual_seed(3)
        (y * torch.randn(y.shape, dtype=y.dtype)).sum().backward()
        results.append([leaf.grad, *[p.grad for p in module.parameters()]])
    assert results[0][0].abs().sum() > 0
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@kinds
def test_the_state_is_in_no_state_dict_and_a_reset_forgets_it(kind):
    module = build(kind)
    before = list(module.state_dict())
    y = module(inputs(kind))
    state = functional.get_state(module)
    assert state
    assert list(module.state_dict()) == before
    assert not {name.split(".")[-1] for name in state} & {k.split(".")[-1] for k in before}
    functional.reset_net(module)
    assert functional.get_state(module) == {}
    if not kind.startswith(("Drop", "Attention")):
        assert torch.equal(module(inputs(kind)), y)


@kinds
def test_a_copy_made_after_a_training_forward_goes_on_alike(kind):
    module = build(kind)
    x = inputs(kind, 2 * T)
    module(x[:T]).sum()
    twins = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    for value in functional.get_state(twins[0]).values():
        assert not value.requires_grad
    y = module(x[T:])
    for twin in twins:
        assert torch.equal(twin(x[T:]), y)


@kinds
def test_a_changed_batch_names_the_cure_and_keeps_the_state(kind):
    module = build(kind)
    module(inputs(kind))
    state = states_of(module)
    for batch in (1, N - 1, N + 1):
        x = inputs(kind, batch=batch)
        with pytest.raises(RuntimeError, match=r"functional\.reset_net\(net\)") as refused:
            module(x)
        if kind not in ("StepMode", "Attention"):  # of which a neuron inside refuses
            assert f"`x` of one step has shape {tuple(x.shape[1:])}" in str(refused.value)
    for name, value in functional.get_state(module).items():
        if "." not in name:
            assert torch.equal(value, state[name])
    functional.reset_net(module)
    assert module(inputs(kind, batch=N - 1)).shape[:2] == (T, N - 1)


@kinds
def test_to_moves_the_state_in_mid_sequence(kind):
    module = build(kind)
    x = inputs(kind, 2 * T)
    torch.manual_seed(2)
    module(x[:T])
    kept = states_of(module)
    module.double()
    for name, value in functional.get_state(module).items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, kept[name].double())
    assert module(x[T:].double()).dtype == torch.float64
    moved = copy.deepcopy(module).to("meta")
    assert all(v.device.type == "meta" for v in functional.get_state(moved).values())


@kinds
def test_no_time_step_changes_nothing(kind):
    module = build(kind)
    y = module(inputs(kind))
    state = functional.get_state(module)
    empty = module(inputs(kind)[:0])
    assert empty.shape == (0, *y.shape[1:])
    assert empty.dtype == y.dtype
    after = functional.get_state(module)
    assert all(after[k] is state[k] for k in state)
    fresh = build(kind)
    fresh(inputs(kind)[:0])
    assert functional.get_state(fresh) == {}


@kinds
def test_a_net_as_a_function_goes_on_where_its_state_says(kind):
    module = build(kind)
    x = inputs(kind, 2 * T)
    module(x[:T])
    state = functional.get_state(module)
    y, new = functional.functional_forward(module, state, x[T:])
    assert functional.get_state(module).keys() == state.keys()
    assert torch.equal(module(x[T:]), y)
    for name, value in functional.get_state(module).items():
        assert torch.equal(value, new[name])


@kinds
def test_a_recomputed_forward_does_not_advance_the_state(kind):
    module, x = build(kind, dtype=torch.float64), inputs(kind, 2 * T, torch.float64)
    module(x[:T])
    start = {k: v.detach() for k, v in functional.get_state(module).items()}
    names = list(start)

    def chunk(x, *values):
        state = dict(zip(names, values, strict=True))
        y, new = functional.functional_forward(module, state, x)
        return y, *(new[name] for name in names)

    grads = []
    for run in (chunk, lambda *a: checkpoint(chunk, *a, use_reentrant=False)):
        leaf = x.clone().requires_grad_()
        y, *values = run(leaf[:T], *start.values())
        y2, *_ = run(leaf[T:], *values)
        grads.append(torch.autograd.grad((y.sum() + y2.square().sum()), leaf)[0])
    torch.testing.assert_close(grads[1], grads[0])


@kinds
def test_vmap_over_a_stack_of_states(kind):
    module, x = build(kind, dtype=torch.float64), inputs(kind, dtype=torch.float64)
    states = []
    for factor in (0.5, 2.0):
        module(factor * x)
        states.append({k: v.detach() for k, v in functional.get_state(module).items()})
        functional.reset_net(module)
    stack = {k: torch.stack([s[k] for s in states]) for k in states[0]}
    y, _ = torch.vmap(lambda s: functional.functional_forward(module, s, x))(stack)
    for i, state in enumerate(states):
        torch.testing.assert_close(y[i], functional.functional_forward(module, state, x)[0])


@kinds
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_gives_the_same_in_both_modes(kind, dtype):
    x = inputs(kind)
    results = []
    for step_mode in ("s", "m"):
        module = build(kind, step_mode)
        torch.manual_seed(2)
        with torch.autocast("cpu", dtype=dtype):
            results.append(
                module(x) if step_mode == "m" else torch.stack([module(step) for step in x])
            )
    assert results[0].dtype == results[1].dtype
    torch.testing.assert_close(*results)


@pytest.mark.slow
@kinds
def test_compile_without_a_graph_break(kind):
    torch._dynamo.reset()
    module = build(kind)
    functional.set_backend(module, "torch")
    x = inputs(kind)
    module(x)  # a mask is drawn outside: compiled code has a random stream of its own
    if not kind.startswith("Drop"):
        functional.reset_net(module)
    twin = copy.deepcopy(module)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    y, expected = compiled(x), twin(x)
    torch.testing.assert_close(y, expected)
    if y.requires_grad:
        y.sum().backward(), expected.sum().backward()
        for p, q in zip(module.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)
    for name, value in functional.get_state(module).items():
        torch.testing.assert_close(value, functional.get_state(twin)[name])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@kinds
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_on_a_gpu_moved_in_mid_sequence(kind, dtype):
    x = inputs(kind, 2 * T)
    module = build(kind)
    module(x[:T])
    twin = copy.deepcopy(module).cuda()
    torch.testing.assert_close(twin(x[T:].cuda()).cpu(), module(x[T:]))
    with pytest.raises(RuntimeError):
        twin(x[T:])
    if not kind.startswith("Drop"):
        x = x.cuda().to(dtype)
        single, multi = build(kind, "s", dtype).cuda(), build(kind, "m", dtype).cuda()
        compare = torch.testing.assert_close if kind in SUMS else assert_equal
        compare(multi(x), torch.stack([single(step) for step in x]))
