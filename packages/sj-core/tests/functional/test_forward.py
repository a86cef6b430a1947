"""Forward functions against tables computed by hand and loops written out."""

import copy

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from sj_core import functional, layer, neuron

MULTI = functional.multi_step_forward
FOLD = functional.seq_to_ann_forward


class Accumulate:
    """A stateful callable: the running sum of its inputs."""

    def __init__(self):
        self.total = 0.0

    def __call__(self, x):
        self.total = self.total + x
        return self.total


def test_multi_step_forward_table():
    x = torch.tensor([[1.0], [2.0], [4.0]])
    assert MULTI(x, Accumulate()).tolist() == [[1.0], [3.0], [7.0]]
    assert MULTI(x, [Accumulate(), torch.neg]).tolist() == [[-1.0], [-3.0], [-7.0]]
    assert MULTI(x, (torch.neg, Accumulate())).tolist() == [[-1.0], [-3.0], [-7.0]]
    assert MULTI(x, nn.Sequential(nn.Identity(), nn.Threshold(1.5, 9.0))).tolist() == [
        [9.0],
        [2.0],
        [4.0],
    ]


def test_time_last_table():
    x = torch.tensor([[1.0, 2.0, 4.0], [0.0, 1.0, 0.0]])  # [N, T]
    y = functional.t_last_multi_step_forward(x, Accumulate())
    assert y.tolist() == [[1.0, 3.0, 7.0], [0.0, 1.0, 1.0]]
    image = torch.randn(2, 3, 6, 6, 4)
    conv = nn.Conv2d(3, 5, 3)
    expected = torch.stack([conv(image[..., t]) for t in range(4)], -1)
    torch.testing.assert_close(functional.t_last_multi_step_forward(image, conv), expected)
    torch.testing.assert_close(functional.t_last_seq_to_ann_forward(image, conv), expected)
    block = [conv, nn.ReLU()]
    torch.testing.assert_close(functional.t_last_seq_to_ann_forward(image, block), expected.relu())


@pytest.mark.parametrize("form", ["module", "list", "tuple", "sequential", "callable"])
def test_every_form_of_module(form):
    linear, node = nn.Linear(3, 4), neuron.LIFNode(tau=1.5)
    x = 3 * torch.randn(6, 2, 3)
    expected = torch.stack([copy.deepcopy(node)(linear(step)) for step in x[:1]])
    module = {
        "module": nn.Sequential(linear, node),
        "list": [linear, node],
        "tuple": (linear, node),
        "sequential": nn.Sequential(linear, node),
        "callable": lambda step: node(linear(step)),
    }[form]
    y = MULTI(x, module)
    assert y.shape == (6, 2, 4)
    assert torch.equal(y[:1], expected)


@given(t=st.integers(1, 9), split=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_chunks_carry_the_state_and_keep_the_length(t, split):
    x = torch.randn(t, 2, 3) + 0.5
    node = neuron.LIFNode(step_mode="m")
    expected = node(x)
    v = node.v
    node.reset()
    y = functional.chunk_multi_step_forward(split, x, node)
    assert torch.equal(y, expected)
    assert torch.equal(node.v, v)


def test_chunks_of_lists_and_tuples():
    x = torch.arange(10.0).view(5, 2)
    pair = functional.chunk_multi_step_forward(2, (x, 10 * x), lambda a, b: (a + b, a - b))
    assert isinstance(pair, tuple)
    assert torch.equal(pair[0], 11 * x)
    assert torch.equal(pair[1], -9 * x)
    assert torch.equal(functional.chunk_multi_step_forward(3, x, [torch.neg, torch.neg]), x)


@pytest.mark.parametrize(
    "split_size, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_bad_chunks(split_size, error):
    with pytest.raises(error, match="`split_size`"):
        functional.chunk_multi_step_forward(split_size, torch.zeros(3, 2), torch.neg)


def test_seq_to_ann_is_one_call_on_the_folded_batch():
    calls = []

    def record(x):
        calls.append(tuple(x.shape))
        return x.sum(-1)

    x = torch.randn(4, 2, 3, 5)
    torch.testing.assert_close(FOLD(x, record), x.sum(-1))
    assert calls == [(8, 3, 5)]


@given(
    t=st.integers(1, 4),
    n=st.integers(1, 3),
    rest=st.lists(st.integers(1, 4), max_size=3),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
@settings(max_examples=40, deadline=None)
def test_the_three_forms_agree_for_a_stateless_function(t, n, rest, dtype):
    x = torch.randn(t, n, *rest).to(dtype)
    expected = x * 2 + 1
    for got in (
        MULTI(x, lambda s: s * 2 + 1),
        FOLD(x, lambda s: s * 2 + 1),
        functional.chunk_multi_step_forward(2, x, lambda s: s * 2 + 1),
        functional.t_last_seq_to_ann_forward(x.movedim(0, -1), lambda s: s * 2 + 1).movedim(-1, 0),
        functional.t_last_multi_step_forward(x.movedim(0, -1), lambda s: s * 2 + 1).movedim(-1, 0),
    ):
        assert torch.equal(got, expected)
        assert got.dtype == dtype


@pytest.mark.parametrize("run", [MULTI, FOLD])
def test_tuples_in_and_out(run):
    a, b = torch.randn(4, 2, 3), torch.randn(4, 2, 5)
    y = run((a, b), lambda p, q: (p.sum(-1), q * 2))
    assert isinstance(y, tuple)
    torch.testing.assert_close(y[0], a.sum(-1))
    assert torch.equal(y[1], b * 2)
    y = run((a, b), nn.Sequential(nn.Bilinear(3, 5, 2), nn.ReLU()))
    assert y.shape == (4, 2, 2)
    y = run(a, lambda p: (p, (p + 1, p + 2)))
    assert torch.equal(y[1][1], a + 2)


def test_tuples_with_time_last():
    a, b = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    for run in (functional.t_last_multi_step_forward, functional.t_last_seq_to_ann_forward):
        y = run((a, b), lambda p, q: (p.sum(1), q + 1))
        torch.testing.assert_close(y[0], a.sum(1))
        assert torch.equal(y[1], b + 1)


ALL = [
    MULTI,
    FOLD,
    functional.t_last_multi_step_forward,
    functional.t_last_seq_to_ann_forward,
    lambda x, m: functional.chunk_multi_step_forward(2, x, m),
]


@pytest.mark.parametrize("run", ALL)
def test_no_time_step_is_refused(run):
    for shape in [(0, 0, 0), (0, 2, 0)]:
        with pytest.raises(ValueError, match=r"`x_seq` has shape \[0.*T = 0"):
            run(torch.zeros(shape), torch.neg)


@pytest.mark.parametrize("run", ALL)
def test_errors_of_the_module_come_out_unchanged(run):
    class OddError(Exception):
        pass

    error = OddError("mine")

    def fail(x):
        raise error

    with pytest.raises(OddError) as info:
        run(torch.zeros(3, 3, 3), fail)
    assert info.value is error


@pytest.mark.parametrize("run", ALL)
def test_what_is_no_sequence(run):
    with pytest.raises(TypeError, match="`x_seq`"):
        run([1.0, 2.0], torch.neg)
    with pytest.raises(TypeError, match="`x_seq`"):
        run((), torch.neg)
    with pytest.raises(ValueError, match=r"`x_seq` has the shapes \[3, 2, 4\], \[2, 3, 5\]"):
        run((torch.zeros(3, 2, 4), torch.zeros(2, 3, 5)), torch.add)


def test_gradients_flow_through_the_loop():
    x = torch.tensor([[1.0], [2.0], [4.0]], requires_grad=True)
    (MULTI(x, Accumulate()) * torch.tensor([[1.0], [10.0], [100.0]])).sum().backward()
    assert x.grad.tolist() == [[111.0], [110.0], [100.0]]


def test_random_layers_draw_anew_for_each_step_with_time_last():
    torch.manual_seed(0)
    y = functional.t_last_seq_to_ann_forward(torch.ones(50, 4), nn.Dropout(0.5))
    assert not torch.equal(y[:, 0], y[:, 1])


def test_a_multi_step_layer_in_the_loop():
    net = [layer.Conv2d(1, 2, 3, step_mode="m"), layer.Flatten(step_mode="m")]
    x = torch.randn(5, 2, 1, 4, 4)
    whole = net[1](net[0](x))
    torch.testing.assert_close(functional.chunk_multi_step_forward(2, x, net), whole)
