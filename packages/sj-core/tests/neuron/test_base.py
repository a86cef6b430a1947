"""What every neuron keeps to: step modes, dtypes, state, copies, errors."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sj_core import functional, neuron

T = 6
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def inputs(*shape, dtype=torch.float32):
    return (torch.rand(T, *shape) * 3.3 - 0.3).to(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_single_steps_are_bit_for_bit_the_multi_step_run(both_modes, dtype, backend):
    single = both_modes(backend=backend, step_mode="s")
    multi = copy.deepcopy(single)
    multi.step_mode = "m"
    x = inputs(3, 4, dtype=dtype).requires_grad_()
    x2 = x.detach().clone().requires_grad_()
    steps = torch.stack([single(step) for step in x])
    sequence = multi(x2)
    assert steps.dtype == sequence.dtype == dtype
    assert torch.equal(steps, sequence)
    assert steps.count_nonzero() > 0
    state, state2 = dict(single.named_memories()), dict(multi.named_memories())
    for name in state:
        assert torch.equal(torch.as_tensor(state[name]), torch.as_tensor(state2[name])), name
    weight = torch.randn(steps.shape).to(dtype)
    for node, out in ((single, steps), (multi, sequence)):
        out.backward(weight)
        del node
    tolerance = 1e-10 if dtype == torch.float64 else 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(x.grad, x2.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_float32(both_modes, dtype):
    node = both_modes(step_mode="m")
    x = inputs(2, 5, dtype=dtype)
    out = node(x)
    if "v" in dict(node.named_memories()):
        assert node.v.dtype == torch.float32
    functional.reset_net(node)
    torch.testing.assert_close(out, node(x.float()).to(dtype), rtol=0, atol=0)


def test_an_empty_sequence_is_empty_and_leaves_the_state(any_node):
    node = any_node(step_mode="m")
    x = inputs(2, 3)
    node(x)
    before = {name: copy.copy(value) for name, value in node.named_memories()}
    out = node(x[:0])
    assert out.shape == (0, 2, 3)
    for name, value in node.named_memories():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, before[name])
        else:
            assert value == before[name]


def test_copies_after_a_training_forward_go_on_alike(any_node):
    node = any_node(step_mode="m")
    x = inputs(2, 3).requires_grad_()
    node(x)
    twins = [copy.deepcopy(node)]
    if type(node).__module__.startswith("sj_core"):
        twins.append(pickle.loads(pickle.dumps(node)))
    expected = node(x)
    for twin in twins:
        for _, value in twin.named_memories():
            assert not (isinstance(value, torch.Tensor) and value.requires_grad)
        assert torch.equal(twin(x), expected)


def test_state_is_in_no_state_dict_and_moves_with_the_module(any_node):
    node = any_node(step_mode="m")
    kept = {name for name, _ in node.named_parameters()}
    if isinstance(node, neuron.MaskedPSN):
        kept.add("_lambda_")  # what training has made of a setting
    node(inputs(2, 3))
    assert set(node.state_dict()) == kept
    node.double()
    for name, value in node.named_memories():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            assert value.dtype == torch.float64, name
    assert node(inputs(2, 3, dtype=torch.float64)).dtype == torch.float64
    node.reset()
    assert node(inputs(2, 3)).dtype == torch.float32


def test_another_shape_is_refused_with_both_shapes_and_the_cure(both_modes):
    node = both_modes(step_mode="s")
    node(torch.ones(2, 3))
    kept = {name: torch.as_tensor(value).clone() for name, value in node.named_memories()}
    with pytest.raises(RuntimeError, match=r"\(4, 3\).*\(2, 3\).*functional\.reset_net\(net\)"):
        node(torch.ones(4, 3))
    for name, value in node.named_memories():
        assert torch.equal(torch.as_tensor(value), kept[name])
    functional.reset_net(node)
    node(torch.ones(4, 3))


def test_integers_are_refused(both_modes):
    with pytest.raises(TypeError, match=r"`x` has dtype torch\.int64.*x\.float\(\)"):
        both_modes(step_mode="m", backend="torch")(torch.ones(T, 2, dtype=torch.int64))


def test_autocast_does_not_change_the_arithmetic(any_node):
    node = any_node(step_mode="m")
    x = inputs(2, 4, dtype=torch.bfloat16)
    expected = node(x)
    node.reset()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = node(x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, expected)


def test_channels_last_and_other_layouts_give_the_same(both_modes):
    x = inputs(2, 3, 4, 5)
    node = both_modes(step_mode="m")
    expected = node(x)
    for order in ((0, 1, 3, 4, 2), (0, 4, 1, 3, 2)):
        moved = x.permute(order).contiguous().permute([order.index(i) for i in range(5)])
        node.reset()
        assert torch.equal(node(moved), expected)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    steps=st.integers(1, 7),
    dtype=st.sampled_from(FLOATS),
    v_reset=st.sampled_from([0.0, -0.3, None]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_both_backends_and_modes_agree_for_any_shape(shape, steps, dtype, v_reset, seed):
    g = torch.Generator().manual_seed(seed)
    x = (torch.rand(steps, *shape, generator=g) * 3).to(dtype)
    runs = []
    for backend in ("torch", "auto"):
        node = neuron.LIFNode(1.7, v_reset=v_reset, backend=backend)
        runs.append(torch.stack([node(step) for step in x]))
        node = neuron.LIFNode(1.7, v_reset=v_reset, backend=backend, step_mode="m")
        runs.append(node(x))
    assert all(torch.equal(run, runs[0]) for run in runs)


def test_store_v_seq_is_the_voltage_after_each_reset(both_modes):
    try:
        node = both_modes(step_mode="m", store_v_seq=True)
    except TypeError:
        return  # the parallel neurons have no voltage
    x = inputs(2, 3)
    node(x)
    single = both_modes(step_mode="s")
    voltages = []
    for step in x:
        single(step)
        voltages.append(single.v)
    assert torch.equal(node.v_seq, torch.stack(voltages))
    node.reset()
    assert node.v_seq is None


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_store_v_seq_switched_off_forgets_the_voltages(backend):
    node = neuron.LIFNode(step_mode="m", backend=backend, store_v_seq=True)
    node(inputs(2, 3))
    node.store_v_seq = False
    assert node.v_seq is None
    node(inputs(2, 3))
    assert node.v_seq is None
    node.store_v_seq = 1
    assert node.store_v_seq is True
    node(inputs(2, 3)[:4])
    assert node.v_seq.shape == (4, 2, 3)
    assert torch.equal(node.v_seq[-1], node.v)


def test_threshold_per_channel_is_each_channels_own():
    x = inputs(2, 3, 4)
    thresholds = torch.tensor([0.5, 1.0, 2.0])
    for backend in ("torch", "auto"):
        node = neuron.LIFNode(v_threshold=thresholds, v_reset=None, step_mode="m", backend=backend)
        out = node(x)
        for c, threshold in enumerate(thresholds.tolist()):
            alone = neuron.LIFNode(v_threshold=threshold, v_reset=None, step_mode="m")
            assert torch.equal(out[:, :, c], alone(x[:, :, c]))


def test_threshold_of_a_shape_the_kernels_do_not_take_runs_on_torch():
    node = neuron.IFNode(step_mode="s")
    node.v_threshold = torch.tensor([[0.5, 1.0], [2.0, 0.5]])
    x = torch.full((2, 2), 0.75)
    assert node.resolve_backend(x) == "torch"
    assert node(x).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_every_setting_is_printed():
    text = repr(neuron.LIFNode(tau=3, v_rest=0.1, v_reset=None, store_v_seq=True))
    for part in (
        "tau=3.0",
        "decay_input=True",
        "v_rest=0.1",
        "v_threshold=1.0",
        "v_reset=None",
        "detach_reset=False",
        "step_mode='s'",
        "backend='auto'",
        "store_v_seq=True",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda: neuron.LIFNode(tau=1.0),
            ValueError,
            r"^`tau` \(=1\.0\) must be greater than 1\.$",
        ),
        (lambda: neuron.ParametricLIFNode(0.5), ValueError, r"`init_tau` \(=0\.5\)"),
        (lambda: neuron.LIFNode(tau="2"), TypeError, r"`tau` \(='2'\) must be a number\."),
        (lambda: neuron.IFNode(v_threshold=None), TypeError, r"`v_threshold` \(=None\)"),
        (lambda: neuron.IFNode(v_reset=float("nan")), ValueError, r"`v_reset` \(=nan\)"),
        (lambda: neuron.IFNode(step_mode="x"), ValueError, r"`step_mode` \(='x'\) of IFNode"),
        (lambda: neuron.IFNode(backend="cupy"), ValueError, r"`backend` \(='cupy'\) of IFNode"),
        (lambda: neuron.IFNode(surrogate_function=torch.relu), TypeError, r"`surrogate_function`"),
        (lambda: neuron.EIFNode(delta_T=0), ValueError, r"`delta_T` \(=0\)"),
        (lambda: neuron.CUBALIFNode(c_decay=1.5), ValueError, r"`c_decay` \(=1\.5\)"),
        (lambda: neuron.LIAFNode(3, True), TypeError, r"`act` \(=3\)"),
        (lambda: neuron.GatedLIFNode(4, init_tau=1.0), ValueError, r"`init_tau` \(=1\.0\)"),
        (lambda: neuron.PSN(0), ValueError, r"`T` \(=0\)"),
        (lambda: neuron.MaskedPSN(5, 4), ValueError, r"`k` \(=5\) must be at most `T` \(=4\)"),
        (lambda: neuron.NonSpikingIFNode(decode="sum"), ValueError, r"`decode` \(='sum'\)"),
    ],
)
def test_bad_settings_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()
