"""What is refused before a pointer is touched, and the edges that are served."""

import pytest
import torch

from sj_kernels import ops, plan

LIF = {"neuron": "lif", "params": (0.5, 0.0, 1.0)}


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool, torch.complex64])
def test_dtype(dtype):
    with pytest.raises(TypeError, match=r"`x` \(dtype .*float16, bfloat16, float32 or float64"):
        ops.neuron(torch.zeros(3, 4).to(dtype), **LIF)


@pytest.mark.parametrize("multi_step", [True, False])
@pytest.mark.parametrize(
    "x_dtype, v_dtype",
    [
        (torch.float32, torch.float64),
        (torch.float64, torch.float32),
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.float64),
    ],
)
def test_state_dtype(x_dtype, v_dtype, multi_step):
    x = torch.zeros(3, 4, dtype=x_dtype)
    v = torch.zeros(x[0].shape if multi_step else x.shape, dtype=v_dtype)
    with pytest.raises(TypeError, match=r"`v` \(dtype"):
        ops.neuron(x, v, multi_step=multi_step, **LIF)


@pytest.mark.parametrize("shape", [(5,), (1, 4), (4, 1), ()])
def test_state_shape(shape):
    x = torch.zeros(3, 4, requires_grad=True)
    with pytest.raises(ValueError, match=r"`v` \(shape .*one step of `x`"):
        ops.neuron(x, torch.zeros(shape), **LIF)


def test_scalar_sequence():
    with pytest.raises(ValueError, match=r"`x` \(shape \[\]\)"):
        ops.neuron(torch.tensor(1.0), **LIF)
    s, v, _, _ = ops.neuron(torch.tensor(3.0), multi_step=False, **LIF)
    assert s == 1
    assert v.shape == ()


def test_one_state():
    with pytest.raises(ValueError, match="`w` must be None"):
        ops.neuron(torch.zeros(3, 4), 0.0, torch.zeros(4), **LIF)


def test_decay():
    x = torch.zeros(3, 4)
    with pytest.raises(ValueError, match="`decay`"):
        ops.neuron(x, decay=torch.tensor([0.5]), **LIF)
    with pytest.raises(ValueError, match="`decay`"):
        ops.neuron(x, neuron="plif", params=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"`decay` \(shape \[2\]\)"):
        ops.neuron(x, neuron="plif", params=(0.0, 1.0), decay=torch.ones(2))


def test_channels():
    x = torch.zeros(3, 2, 4)
    with pytest.raises(ValueError, match=r"`v_threshold` \(shape \[3\]\).*axis 1"):
        ops.neuron(x, v_threshold=torch.ones(3), **LIF)
    with pytest.raises(ValueError, match="`v_threshold`"):
        ops.neuron(x, v_threshold=torch.ones(2, 4), **LIF)
    with pytest.raises(ValueError, match="`output_scale`"):
        ops.neuron(x, output_scale=torch.ones(5), **LIF)
    with pytest.raises(ValueError, match="`v_threshold`"):
        ops.neuron(x[:, 0], v_threshold=torch.ones(4), **LIF)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"neuron": "hh"}, ValueError, r"`neuron` \(='hh'\) must be one of 'if', 'lif'"),
        ({"surrogate": "Relu"}, ValueError, r"`surrogate` \(='Relu'\) must be one of 'ATan'"),
        ({"params": (0.5,)}, ValueError, r"`params` \(=\(0.5,\)\) must hold 3 numbers"),
        ({"surrogate_params": (1.0, 2.0)}, ValueError, "`surrogate_params`"),
        ({"params": (0.5, "0", 1.0)}, TypeError, "`params`"),
        ({"v_threshold": float("nan")}, ValueError, "`v_threshold`"),
        ({"v_threshold": "high"}, TypeError, r"`v_threshold` \(='high'\) must be a number"),
        ({"v_reset": []}, TypeError, r"`v_reset` \(=\[\]\) must be a number"),
        ({"output_scale": "x"}, TypeError, r"`output_scale` \(='x'\) must be a number"),
        ({"params": 0.5}, TypeError, r"`params` \(=0.5\) must be a tuple of numbers"),
        ({"surrogate_params": 2.0}, TypeError, r"`surrogate_params` \(=2.0\) must be a tuple"),
        ({"params": (float("nan"), 0.0, 1.0)}, ValueError, "`params`.*reciprocal_tau is NaN"),
        ({"surrogate_params": (float("nan"),)}, ValueError, "`surrogate_params`.*alpha is NaN"),
        (
            {"surrogate": "SquarewaveFourierSeries", "surrogate_params": (2.5, 8.0)},
            ValueError,
            r"`surrogate_params` \(=\(2.5, 8.0\)\).*whole number",
        ),
    ],
)
def test_settings(change, error, message):
    with pytest.raises(error, match=message):
        plan(**{**LIF, **change})


@pytest.mark.parametrize("multi_step", [True, False])
@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (([1.0, 2.0],), TypeError, r"`x` \(=\[1.0, 2.0\]\) must be a tensor"),
        ((torch.zeros(3, 4), "0x"), TypeError, r"`v` \(='0x'\) must be a number or a tensor"),
        ((torch.zeros(3, 4), None), TypeError, r"`v` \(=None\) must be a number or a tensor"),
        ((torch.zeros(3, 4), 0.0, 0.5), ValueError, "`w` must be None: 'lif' has one state"),
        ((torch.zeros(3, 4), 0.0, torch.zeros(4)), ValueError, "`w` must be None"),
    ],
)
def test_arguments(arguments, error, message, multi_step):
    with pytest.raises(error, match=message):
        ops.neuron(*arguments, multi_step=multi_step, **LIF)


def test_decay_that_is_no_tensor():
    with pytest.raises(TypeError, match=r"`decay` \(=0.5\) must be a tensor of one element"):
        ops.neuron(torch.zeros(3, 4), neuron="plif", params=(0.0, 1.0), decay=0.5)


def test_lists_of_parameters():
    x = torch.randn(3, 4) + 0.6
    expected = ops.neuron(x, surrogate="ATan", surrogate_params=(2.0,), **LIF)
    found = ops.neuron(
        x, neuron="lif", params=list(LIF["params"]), surrogate="ATan", surrogate_params=[2]
    )
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("state", [0.3, None])
@pytest.mark.parametrize("shape", [(0, 4), (0, 2, 3), (3, 0), (3, 0, 4)])
def test_empty(shape, state):
    x = torch.zeros(shape, requires_grad=True)
    v = torch.full(shape[1:], 0.3).requires_grad_() if state is None else state
    s, v_next, _, v_seq = ops.neuron(x, v, store_v_seq=True, **LIF)
    assert s.shape == v_seq.shape == shape
    assert torch.equal(v_next, torch.full(shape[1:], 0.3))
    (s.sum() + v_next.sum()).backward()
    assert x.grad.shape == shape
    if state is None and shape[0] == 0:
        assert torch.equal(v.grad, torch.ones_like(v))


@pytest.mark.parametrize("state", [0.3, None])
def test_no_steps_of_an_expanded_view(state):
    """Views without elements may have any strides; the states have memory for each neuron."""
    x = torch.zeros(1, 1, 4).expand(3, 2, 4)[:0]
    v = torch.full((2, 4), 0.3, requires_grad=True) if state is None else state
    _, v_next, _, _ = ops.neuron(x, v, **LIF)
    assert v_next.stride() == (4, 1)
    assert torch.equal(v_next, torch.full((2, 4), 0.3))
    if state is None:
        v_next.sum().backward()
        assert torch.equal(v.grad, torch.ones(2, 4))


def test_outputs_do_not_alias():
    v = torch.zeros(4)
    _, v_next, _, _ = ops.neuron(torch.zeros(0, 4), v, **LIF)
    v_next += 1
    assert torch.equal(v, torch.zeros(4))


def test_input_changed_in_place_is_noticed():
    x = torch.randn(3, 4, requires_grad=True) * 1
    s = ops.neuron(x, **LIF)[0]
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        s.sum().backward()


@pytest.mark.parametrize("argument", ["v_threshold", "output_scale"])
def test_channels_changed_in_place_are_noticed(argument):
    x, values = torch.randn(3, 2, 4, requires_grad=True), torch.ones(4)
    s = ops.neuron(x, **{argument: values}, **LIF)[0]
    values.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        s.sum().backward()


def test_negative_views():
    """The imaginary part of a conjugate stands for the negative of what its memory holds."""
    x = torch.tensor([[0.5 - 2.0j]]).conj().imag
    assert x.is_neg()
    assert x.is_contiguous()
    s, v, _, _ = ops.neuron(x, neuron="if")
    assert (s.item(), v.item()) == (1.0, 0.0)
    _, v, _, _ = ops.neuron(torch.zeros(1, 1), 0.25 * x[0], neuron="if")
    assert v.item() == 0.5
    leaf = torch.zeros(1, 1, requires_grad=True)
    ops.neuron(leaf, neuron="if")[1].backward(x[0])
    assert leaf.grad.item() == 2.0


def test_zeros_without_memory():
    with pytest.raises(ValueError, match="`x` has no memory"):
        ops.neuron(torch._efficientzerotensor((3, 4)), **LIF)


def test_unused_outputs_and_gradients():
    x = torch.randn(3, 4, requires_grad=True)
    _, v_next, _, _ = ops.neuron(x, **LIF)
    v_next.sum().backward()
    assert x.grad.isfinite().all()
    v = torch.zeros(4, requires_grad=True)
    ops.neuron(x.detach(), v, **LIF)[0].sum().backward()
    assert v.grad.isfinite().all()


def test_nan_does_not_spike_and_stays():
    s, v, _, _ = ops.neuron(torch.tensor([[float("nan"), 3.0]]), **LIF)
    assert torch.equal(s, torch.tensor([[0.0, 1.0]]))
    assert v[0].isnan()


@pytest.mark.parametrize("v", [0.3, torch.zeros(0, 3)], ids=["number", "tensor"])
def test_empty_batch_of_a_single_step(v):
    x = torch.zeros(0, 3, requires_grad=True)
    s, v_next, _, v_seq = ops.neuron(x, v, multi_step=False, store_v_seq=True, **LIF)
    assert s.shape == v_next.shape == v_seq.shape == (0, 3)
    (s.sum() + v_next.sum()).backward()
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("argument", ["v_threshold", "output_scale"])
def test_learnable_threshold(argument):
    """Refused where its gradient would be missing without a word."""
    value, x = torch.ones(4, requires_grad=True), torch.randn(3, 2, 4)
    with pytest.raises(ValueError, match=f"`{argument}` requires grad, .*`{argument}.detach"):
        ops.neuron(x, **{argument: value}, **LIF)
    with torch.no_grad():
        s = ops.neuron(x, **{argument: value}, **LIF)[0]
    assert torch.equal(s, ops.neuron(x, **{argument: value.detach()}, **LIF)[0])
