"""Spiking LSTM, GRU and vanilla RNN for PyTorch."""

from sj_rnn.cell import SpikingRNNCellBase as SpikingRNNCellBase
from sj_rnn.directions import bidirectional_rnn_cell_forward as bidirectional_rnn_cell_forward
from sj_rnn.gru import SpikingGRU as SpikingGRU, SpikingGRUCell as SpikingGRUCell
from sj_rnn.lstm import SpikingLSTM as SpikingLSTM, SpikingLSTMCell as SpikingLSTMCell
from sj_rnn.stacked import SpikingRNNBase as SpikingRNNBase
from sj_rnn.vanilla import (
    SpikingVanillaRNN as SpikingVanillaRNN,
    SpikingVanillaRNNCell as SpikingVanillaRNNCell,
)

__version__ = "0.1.0"
