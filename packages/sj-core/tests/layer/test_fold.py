"""Every folded layer against torch's own, called once per time step."""

import copy
import inspect
import pickle

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from sj_core import functional, layer

# name, constructor arguments, shape of one step, keyword arguments
CASES = [
    ("Conv1d", (3, 4, 3), (2, 3, 9), {"padding": 1}),
    ("Conv2d", (3, 4, 3), (2, 3, 7, 6), {"stride": 2, "bias": False}),
    ("Conv2d", (4, 4, 3), (2, 4, 7, 6), {"groups": 2, "padding": 1, "padding_mode": "circular"}),
    ("Conv3d", (2, 3, 2), (2, 2, 4, 5, 3), {}),
    ("ConvTranspose1d", (3, 4, 3), (2, 3, 9), {"stride": 2}),
    ("ConvTranspose2d", (3, 4, 3), (2, 3, 5, 4), {"stride": 2, "output_padding": 1}),
    ("ConvTranspose3d", (2, 3, 2), (2, 2, 3, 3, 2), {}),
    ("Linear", (6, 5), (2, 6), {}),
    ("Linear", (6, 5), (2, 3, 6), {"bias": False}),
    ("BatchNorm1d", (3,), (5, 3), {}),
    ("BatchNorm1d", (3,), (5, 3, 4), {}),
    ("BatchNorm2d", (3,), (2, 3, 4, 5), {"affine": False}),
    ("BatchNorm3d", (3,), (2, 3, 4, 5, 2), {}),
    ("GroupNorm", (2, 4), (2, 4, 5, 3), {}),
    ("LayerNorm", ([5, 3],), (2, 4, 5, 3), {}),
    ("MaxPool1d", (2,), (2, 3, 9), {}),
    ("MaxPool2d", (2,), (2, 3, 7, 6), {"ceil_mode": True}),
    ("MaxPool3d", (2,), (2, 3, 4, 4, 6), {}),
    ("AvgPool1d", (2,), (2, 3, 9), {}),
    ("AvgPool2d", (3,), (2, 3, 7, 6), {"stride": 2, "padding": 1, "count_include_pad": False}),
    ("AvgPool3d", (2,), (2, 3, 4, 4, 6), {}),
    ("AdaptiveAvgPool1d", (3,), (2, 3, 9), {}),
    ("AdaptiveAvgPool2d", ((2, None),), (2, 3, 7, 6), {}),
    ("AdaptiveAvgPool3d", (2,), (2, 3, 4, 4, 6), {}),
    ("Upsample", (), (2, 3, 5), {"scale_factor": 2}),
    ("Upsample", (), (2, 3, 5, 4), {"scale_factor": 2, "mode": "bilinear"}),
    ("Upsample", (), (2, 3, 3, 2, 2), {"size": (4, 4, 4)}),
    ("Flatten", (), (2, 3, 5, 4), {}),
    ("Flatten", (0, 1), (2, 3, 5, 4), {}),
    ("Flatten", (-2,), (2, 3, 5, 4), {}),
]
IDS = [f"{name}-{len(shape)}d-{i}" for i, (name, _, shape, _) in enumerate(CASES)]
cases = pytest.mark.parametrize("name, args, shape, kwargs", CASES, ids=IDS)


def build(name, args, kwargs, step_mode="m", dtype=torch.float64):
    torch.manual_seed(0)
    ours = getattr(layer, name)(*args, step_mode=step_mode, **kwargs).to(dtype)
    theirs = getattr(nn, name)(*args, **kwargs).to(dtype)
    for p in ours.parameters():
        nn.init.normal_(p)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def loop(module, x_seq):
    return torch.stack([module(x) for x in x_seq])


@cases
@pytest.mark.parametrize("time_steps", [1, 3])
def test_a_sequence_equals_torch_step_by_step_with_gradients(name, args, shape, kwargs, time_steps):
    ours, theirs = build(name, args, kwargs)
    if name.startswith("BatchNorm"):  # statistics over T * N are tested in test_norm
        ours.eval(), theirs.eval()
    x = torch.randn(time_steps, *shape, dtype=torch.float64)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = ours(a), loop(theirs, b)
    torch.testing.assert_close(y, expected)
    weight = torch.randn_like(y)
    (y * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


@cases
def test_single_step_is_torch_bit_for_bit(name, args, shape, kwargs):
    ours, theirs = build(name, args, kwargs, step_mode="s", dtype=torch.float32)
    x = torch.randn(shape)
    assert torch.equal(ours(x), theirs(x))


@cases
def test_it_is_torchs_class_with_its_signature_and_state_dict(name, args, shape, kwargs):
    ours, theirs = build(name, args, kwargs)
    assert isinstance(ours, getattr(nn, name))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    parameters = dict(inspect.signature(type(ours)).parameters)
    step_mode = parameters.pop("step_mode")
    assert step_mode.default == "s"
    assert list(parameters) == list(inspect.signature(type(theirs)).parameters)
    assert "step_mode='m'" in repr(ours)
    assert repr(ours).startswith(repr(theirs)[:-1])


@cases
def test_deepcopy_and_pickle_keep_mode_and_values(name, args, shape, kwargs):
    ours, _ = build(name, args, kwargs)
    ours.eval()
    x = torch.randn(3, *shape, dtype=torch.float64)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(twin) is type(ours)
        assert twin.step_mode == "m"
        assert torch.equal(twin(x), ours(x))


@cases
def test_a_wrong_rank_names_what_it_got_and_what_it_takes(name, args, shape, kwargs):
    ours, _ = build(name, args, kwargs)
    wrong = {"Upsample": (2, 3), "Flatten": (3,), "LayerNorm": (3, 5)}.get(name, shape)
    if name == "Linear":
        wrong = (2, 6)
    if name == "GroupNorm":
        wrong = (2, 4)
    if name == "BatchNorm1d":
        wrong = (5, 3)
    with pytest.raises(ValueError, match=rf"`input` has shape \{list(wrong)}.*\[T, N, ") as info:
        ours(torch.zeros(wrong, dtype=torch.float64))
    assert "set_step_mode" in str(info.value)


def test_a_sequence_in_single_step_mode_is_refused():
    with pytest.raises(ValueError, match=r"\[4, 2, 3, 8, 8\].*'s' takes \[N, C, H, W\] or \[C, H"):
        layer.Conv2d(3, 4, 3)(torch.zeros(4, 2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"takes \[N, C, H, W\]:"):
        layer.BatchNorm2d(3)(torch.zeros(4, 2, 3, 8, 8))


def test_unbatched_single_steps_pass_as_in_torch():
    conv = layer.Conv2d(3, 4, 3)
    x = torch.randn(3, 8, 8)
    assert torch.equal(conv(x), nn.Conv2d.forward(conv, x))
    functional.set_step_mode(conv, "m")
    with pytest.raises(ValueError, match="takes"):
        conv(torch.zeros(4, 3, 8, 8))


@cases
def test_no_time_step_gives_an_empty_output_and_changes_nothing(name, args, shape, kwargs):
    ours, theirs = build(name, args, kwargs)
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    y = ours(torch.zeros(0, *shape, dtype=torch.float64))
    assert y.shape == (0, *theirs(torch.zeros(shape, dtype=torch.float64)).shape)
    assert y.dtype == torch.float64
    for key, value in ours.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("step_mode", ["x", 1, None])
def test_a_bad_step_mode_is_refused_by_the_constructor(step_mode):
    with pytest.raises(ValueError, match="`step_mode`"):
        layer.Conv2d(1, 1, 1, step_mode=step_mode)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_are_torchs(dtype):
    conv = layer.Conv2d(2, 3, 3, step_mode="m").to(dtype)
    assert conv(torch.zeros(2, 1, 2, 5, 5, dtype=dtype)).dtype == dtype


@given(
    t=st.integers(1, 5),
    n=st.integers(1, 4),
    c=st.integers(1, 5),
    hw=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    layout=st.sampled_from(["contiguous", "channels_last", "batch_first", "sliced", "expanded"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=40, deadline=None)
def test_any_shape_and_layout(t, n, c, hw, layout, dtype):
    x = torch.randn(t, n, c, *hw, dtype=dtype)
    if layout == "channels_last":
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (t, n))
    elif layout == "batch_first":
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    elif layout == "sliced":
        x = torch.randn(t, 2 * n, c, *hw, dtype=dtype)[:, ::2]
    elif layout == "expanded":
        x = x[:1].expand(t, -1, -1, -1, -1)
    conv = layer.Conv2d(c, 3, 3, step_mode="m").to(dtype)
    torch.testing.assert_close(conv(x), loop(lambda s: nn.Conv2d.forward(conv, s), x))
    pool = layer.MaxPool2d(2, step_mode="m")
    assert torch.equal(pool(x), loop(lambda s: nn.MaxPool2d.forward(pool, s), x))


@cases
def test_in_place_changes_of_an_output_are_safe(name, args, shape, kwargs):
    ours, theirs = build(name, args, kwargs)
    ours.eval(), theirs.eval()
    grads = []
    for module in (ours, lambda x: loop(theirs, x)):
        x = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        leaf = x.requires_grad_()
        h = leaf * 1.0
        y = module(h)
        y += 1
        y *= 2
        grads.append(torch.autograd.grad(y.square().sum(), leaf)[0])
        if name != "Flatten":  # a view of its input in torch as well
            assert torch.equal(h, leaf)
    torch.testing.assert_close(*grads)


def test_tuple_outputs_are_unfolded():
    pool = layer.MaxPool2d(2, return_indices=True, step_mode="m")
    x = torch.randn(3, 2, 4, 6, 6)
    y, indices = pool(x)
    for t in range(3):
        expected, where = nn.MaxPool2d(2, return_indices=True)(x[t])
        assert torch.equal(y[t], expected)
        assert torch.equal(indices[t], where)


def test_the_step_mode_is_set_by_the_net():
    net = nn.Sequential(layer.Conv2d(1, 2, 3), layer.Flatten())
    functional.set_step_mode(net, "m")
    assert net(torch.zeros(4, 2, 1, 5, 5)).shape == (4, 2, 18)
    functional.set_step_mode(net, "s")
    assert net(torch.zeros(2, 1, 5, 5)).shape == (2, 18)
