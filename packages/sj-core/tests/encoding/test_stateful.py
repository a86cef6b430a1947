"""What all encoders with a state do: replay, reset, copy, both step modes."""

import copy

import pytest
import torch

from sj_core import encoding

MAKERS = [
    lambda: encoding.LatencyEncoder(4),
    lambda: encoding.WeightedPhaseEncoder(5),
    lambda: encoding.PopulationEncoder(4, 3),
    lambda: encoding.PeriodicEncoder(torch.eye(3)[:, :, None].expand(3, 3, 2)),
    lambda: encoding.DeltaEncoder(0.2, off_spike=True),
]


def test_latency_train_repeats_after_its_last_step_and_starts_anew_after_reset():
    encoder = encoding.LatencyEncoder(3)
    x = torch.tensor([[0.0, 1.0]])
    train = encoder.encode(x)
    assert encoder.spike is None
    steps = torch.stack([encoder(x) for _ in range(7)])
    assert torch.equal(steps, train[[0, 1, 2, 0, 1, 2, 0]])
    encoder.reset()
    assert torch.equal(encoder(1 - x), encoder.encode(1 - x)[0])


@pytest.mark.parametrize("make", MAKERS)
def test_both_step_modes_give_the_same_and_survive_copying(make):
    torch.manual_seed(0)
    x_seq = torch.rand(6, 3, 2) * 0.9
    single, multi = make(), make()
    multi.step_mode = "m"
    by_step = torch.stack([single(x) for x in x_seq[:4]])
    twin = copy.deepcopy(single)
    by_step = torch.cat([by_step, torch.stack([twin(x) for x in x_seq[4:]])])
    assert torch.equal(by_step, multi(x_seq))
    assert multi(x_seq[:0]).shape == (0, *by_step.shape[1:])
    assert not multi.state_dict()


def test_first_call_without_input_says_so():
    with pytest.raises(RuntimeError, match="first call after a reset"):
        encoding.LatencyEncoder(4)()


@pytest.mark.parametrize("make", MAKERS)
def test_another_shape_without_a_reset_is_refused(make):
    encoder = make()
    first = encoder(torch.full((3, 2), 0.5))
    with pytest.raises(RuntimeError, match=r"\(2, 2\).*\(3, 2.*functional\.reset_net\(net\)"):
        encoder(torch.full((2, 2), 0.5))
    encoder.reset()
    assert encoder(torch.full((3, 2), 0.5)).shape == first.shape
