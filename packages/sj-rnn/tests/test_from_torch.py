"""Weights and settings of torch's own networks."""

import pytest
import torch
from torch import nn

from sj_rnn import SpikingGRUCell, SpikingLSTM, SpikingLSTMCell, SpikingVanillaRNNCell

CELLS = {
    "lstm": (SpikingLSTMCell, 4, 2),
    "gru": (SpikingGRUCell, 3, 1),
    "vanilla": (SpikingVanillaRNNCell, 1, 1),
}

TORCH_CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "vanilla": nn.RNNCell}
TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "vanilla": nn.RNN}

pytestmark = pytest.mark.usefixtures("gates")

KINDS = ["lstm", "gru", "vanilla"]


@pytest.mark.parametrize("kind", KINDS)
def test_from_torch_copies(kind):
    cls = CELLS[kind][0]
    source = TORCH_CELLS[kind](3, 4, bias=False)
    cell = cls.from_torch(source.eval())
    assert not cell.training
    assert cell.bias_ih() is None
    source.weight_ih.data.zero_()
    assert cell.weight_ih().abs().sum() > 0
    with pytest.raises(TypeError, match="is a Linear, but"):
        cls.from_torch(nn.Linear(2, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_from_torch_takes_every_weight_and_setting(kind, nets):
    theirs = TORCH[kind](3, 4, 2, bias=False, dropout=0.25, bidirectional=True, batch_first=True)
    ours = nets.NETS[kind][0].from_torch(theirs.eval())
    assert (ours.bias, ours.dropout_p, ours.bidirectional, ours.batch_first, ours.training) == (
        False,
        0.25,
        True,
        True,
        False,
    )
    for layer in range(2):
        for suffix, cells in (("", ours.cells), ("_reverse", ours.cells_reverse)):
            for which in ("ih", "hh"):
                source = getattr(theirs, f"weight_{which}_l{layer}{suffix}")
                assert torch.equal(getattr(cells[layer], f"weight_{which}")(), source)
                assert getattr(cells[layer], f"weight_{which}")() is not source
    assert nets.NETS[kind][0].from_torch(theirs, dropout_p=0.5).dropout_p == 0.5


def test_from_torch_refuses_others():
    with pytest.raises(TypeError, match="is a GRU, but SpikingLSTM takes LSTM"):
        SpikingLSTM.from_torch(nn.GRU(2, 3))
    with pytest.raises(ValueError, match="proj_size=2"):
        SpikingLSTM.from_torch(nn.LSTM(2, 3, proj_size=2))
    with pytest.raises(TypeError, match="`proj_size` is not offered"):
        SpikingLSTM(2, 3, 1, proj_size=2)
