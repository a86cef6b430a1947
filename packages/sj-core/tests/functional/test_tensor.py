"""Functions on spikes and labels against tables computed by hand."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from sj_core import functional, neuron


def test_redundant_one_hot_table():
    y = functional.redundant_one_hot(torch.tensor([2, 0, 2]), num_classes=3, n=2)
    assert y.tolist() == [[0, 0, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1]]
    assert y.dtype == torch.get_default_dtype()


@given(
    labels=st.lists(st.integers(0, 6), max_size=5),
    n=st.integers(1, 4),
    dtype=st.sampled_from([torch.int64, torch.int32, torch.uint8]),
)
@settings(max_examples=30, deadline=None)
def test_class_c_owns_its_n_columns(labels, n, dtype):
    y = functional.redundant_one_hot(torch.tensor(labels, dtype=dtype), 7, n)
    assert y.shape == (len(labels), 7 * n)
    for row, label in zip(y, labels, strict=True):
        assert row.nonzero().flatten().tolist() == list(range(label * n, label * n + n))


def test_redundant_one_hot_refuses():
    with pytest.raises(TypeError, match="`labels`"):
        functional.redundant_one_hot(torch.tensor([1.0]), 2, 1)
    with pytest.raises(ValueError, match=r"`labels` \(from 0 to 2\) must be in \[0, 1\]"):
        functional.redundant_one_hot(torch.tensor([0, 2]), 2, 1)
    with pytest.raises(ValueError, match="`labels` has shape"):
        functional.redundant_one_hot(torch.tensor([[0]]), 2, 1)
    with pytest.raises(ValueError, match=r"`n` \(=0\)"):
        functional.redundant_one_hot(torch.tensor([0]), 2, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bool, torch.int8])
def test_first_spike_index_table(dtype):
    spikes = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]])
    first = functional.first_spike_index(spikes.to(dtype))
    assert first.dtype == torch.bool
    assert first.long().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_first_spike_index_takes_graded_and_negative_spikes():
    spikes = torch.tensor([[[0.0, 0.5, 0.5, -1.0], [0.0, -2.0, 3.0, 0.0]]])
    assert functional.first_spike_index(spikes).long().tolist() == [[[0, 1, 0, 0], [0, 1, 0, 0]]]
    with pytest.raises(ValueError, match="`spikes`"):
        functional.first_spike_index(torch.tensor(1.0))
    assert functional.first_spike_index(torch.zeros(2, 0)).shape == (2, 0)


@pytest.mark.parametrize(
    "steps, expected",
    [(0, [1, 2, 3]), (1, [0, 1, 2]), (2, [0, 0, 1]), (3, [0, 0, 0]), (9, [0, 0, 0])],
)
def test_delay_table(steps, expected):
    x = torch.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
    y = functional.delay(x, steps)
    assert y.flatten().tolist() == expected
    y.sum().backward()
    assert x.grad.flatten().tolist() == [float(t + steps < 3) for t in range(3)]


def test_delay_refuses():
    with pytest.raises(ValueError, match=r"`delay_steps` \(=-1\)"):
        functional.delay(torch.zeros(3, 1), -1)
    with pytest.raises(TypeError, match="`delay_steps`"):
        functional.delay(torch.zeros(3, 1), 1.0)
    assert functional.delay(torch.zeros(0, 2), 3).shape == (0, 2)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32, torch.float64])
def test_threshold_margin_by_the_labels(dtype):
    node = neuron.IFNode(step_mode="m")
    label = torch.tensor([[0, 1, 0], [1, 0, 0]], dtype=dtype)
    functional.set_threshold_margin(node, label)
    expected = torch.tensor([[0.9, 1.1, 0.9], [1.1, 0.9, 0.9]], dtype=node.v_threshold.dtype)
    assert torch.equal(node.v_threshold, expected)
    functional.set_threshold_margin(node, label, threshold0=0.5, threshold1=2.0)
    assert node.v_threshold.unique().tolist() == [0.5, 2.0]
    node.eval()
    functional.set_threshold_margin(node, label, eval_threshold=1.5)
    assert node.v_threshold == 1.5


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_node_with_a_margin_fires_by_its_own_threshold(step_mode):
    node = neuron.IFNode(step_mode=step_mode)
    functional.set_threshold_margin(node, torch.tensor([[0, 1]]))
    x = torch.full((3, 1, 2), 1.0)
    y = node(x) if step_mode == "m" else torch.stack([node(step) for step in x])
    # the voltage 1.0 reaches 0.9 at every step, and 1.1 only as 2.0 at every second
    assert y.squeeze(1).tolist() == [[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]


def test_threshold_margin_refuses_what_is_no_neuron():
    with pytest.raises(TypeError, match="`output_layer`"):
        functional.set_threshold_margin(nn.Linear(2, 2), torch.tensor([[0, 1]]))
