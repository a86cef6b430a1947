"""Lengths as masks, and what autocast asks for."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sj_rnn import SpikingGRU, SpikingGRUCell, SpikingLSTM, SpikingLSTMCell
from sj_rnn.check import autocast_dtype, cast, lengths_mask, wide


def test_lengths_mask_by_hand():
    mask = lengths_mask([2, 0, 3], torch.zeros(3, 3, 5))
    assert mask.squeeze(-1).t().tolist() == [
        [True, True, False],
        [False, False, False],
        [True, True, True],
    ]
    assert mask.shape == (3, 3, 1)
    assert lengths_mask(None, torch.zeros(3, 3, 5)) is None


def test_lengths_out_of_range_or_of_another_kind():
    x = torch.zeros(3, 2, 5)
    with pytest.raises(ValueError, match=r"`lengths` \(=\[1, 4\]\) must lie between 0 and the 3"):
        lengths_mask([1, 4], x)
    with pytest.raises(TypeError, match="expected integers"):
        lengths_mask(torch.tensor([True, False]), x)
    with pytest.raises(ValueError, match=r"expected \[2\]"):
        lengths_mask(torch.ones(2, 1, dtype=torch.long), x)


def test_lengths_are_looked_at_under_any_default_device():
    x = torch.zeros(3, 2, 5)
    wanted = lengths_mask([1, 3], x)
    with torch.device("meta"):
        assert torch.equal(lengths_mask([1, 3], x), wanted)
        with pytest.raises(ValueError, match="must lie between"):
            lengths_mask([1, 4], x)


def test_autocast_leaves_float64():
    x = torch.zeros(1)
    assert autocast_dtype(x) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert autocast_dtype(x) == torch.bfloat16
        assert autocast_dtype(x.double()) is None
    assert cast(x, torch.bfloat16).dtype == torch.bfloat16
    assert cast(x.double(), torch.bfloat16).dtype == torch.float64
    assert cast(None, torch.bfloat16) is None


def test_halves_are_widened():
    for dtype, want in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert wide(torch.zeros(1, dtype=dtype)).dtype == want


def test_a_packed_sequence_is_refused_with_a_cure_that_works():
    net, x = SpikingGRU(3, 4, 2), torch.randn(5, 2, 3)
    packed = pack_padded_sequence(x, [5, 3])
    with pytest.raises(TypeError, match=r"got PackedSequence: .*`pad_packed_sequence`.*`lengths`"):
        net(packed)
    padded, lengths = pad_packed_sequence(packed)
    assert torch.equal(net(padded, lengths=lengths)[0][:3], net(x)[0][:3])


def test_one_sequence_without_a_batch_is_refused_with_a_cure_that_works():
    x = torch.randn(5, 3)
    for batch_first, axis in ((False, 1), (True, 0)):
        net = SpikingLSTM(3, 4, 1, batch_first=batch_first)
        with pytest.raises(ValueError, match=rf"`x\.unsqueeze\({axis}\)`"):
            net(x)
        assert net(x.unsqueeze(axis))[0].shape[axis] == 1
    with pytest.raises(ValueError, match=r"`x\.unsqueeze\(0\)`"):
        SpikingLSTMCell(3, 4)(x[0])


def test_another_dtype_than_the_weights_is_named():
    message = r"`x` has dtype torch\.float64, but the weights have torch\.float32"
    x = torch.randn(5, 2, 3)
    with pytest.raises(TypeError, match=message):
        SpikingGRU(3, 4, 1)(x.double())
    with pytest.raises(TypeError, match=message):
        SpikingGRUCell(3, 4)(x[0].double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert SpikingGRU(3, 4, 1)(x.half())[0].dtype == torch.bfloat16


def test_a_hook_may_convert_the_weights():
    net, x = SpikingGRU(3, 4, 2), torch.randn(5, 2, 3)
    expected = net.double()(x.double())[0]
    net.float()
    for cell in net.cells:
        cell.register_forward_pre_hook(lambda cell, args: cell.double() and None)
    assert torch.equal(net(x.double())[0], expected)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"dropout": 0.5}, r"`dropout` is called `dropout_p`"),
        ({"dropout_p": "a"}, r"`dropout_p` \(='a'\) must be a number"),
        ({"clamp_cell": "1"}, r"`clamp_cell` \(='1'\) must be a number or None"),
        ({"surrogate_function1": nn.Sigmoid}, r"`surrogate_function1` .*no class"),
    ],
)
def test_settings_of_another_kind(settings, match):
    with pytest.raises(TypeError, match=match):
        SpikingLSTM(3, 4, 1, **settings)


def test_states_of_another_kind():
    with pytest.raises(TypeError, match=r"`states` must be a tensor or a tuple of 1, got int"):
        SpikingGRU(3, 4, 1)(torch.randn(5, 2, 3), 5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_meta_device_tells_shapes(bidirectional):
    net = SpikingLSTM(3, 4, 2, bidirectional=bidirectional, device="meta")
    y, (h, c) = net(torch.zeros(5, 2, 3, device="meta"))
    directions = 2 if bidirectional else 1
    assert y.shape == (5, 2, 4 * directions)
    assert h.shape == c.shape == (2 * directions, 2, 4)
