"""The spiking GRU: its cell and the stacked network."""

from __future__ import annotations

from torch import Tensor, nn

from sj_rnn.cell import TwoSpikeCell
from sj_rnn.stacked import SpikingRNNBase
from sj_rnn.step import gru_step


class SpikingGRUCell(TwoSpikeCell):
    r"""One step of a spiking GRU.

    .. math::
        r &= S_1(W_{ir} x + b_{ir} + W_{hr} h + b_{hr}), \quad z = S_1(\ldots) \\
        n &= S_2(W_{in} x + b_{in} + r * (W_{hn} h + b_{hn})), \quad h' = (1 - z) * n + z * h

    The rows of the weights stand in torch's order r, z, n (Cho et al. 2014, in torch's form).

    ``forward(x[N, input], h=None) -> h'[N, H]``; zeros by default. Raises as ``SpikingLSTMCell``.

    >>> import torch
    >>> from sj_rnn import SpikingGRUCell
    >>> cell = SpikingGRUCell(4, 8)
    >>> cell(torch.rand(2, 4), torch.zeros(2, 8)).shape
    torch.Size([2, 8])
    """

    gates = 3
    sequence_kind = "gru"
    torch_cell = nn.GRUCell

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        x, (state,) = self.prepare(x, h, "h")
        return gru_step(self.linear_ih(x), self.linear_hh(state), state, *self.spike_functions())


class SpikingGRU(SpikingRNNBase):
    """A stacked, optionally bidirectional spiking GRU with the interface of ``nn.GRU``.

    Arguments of ``SpikingRNNBase``, then those of ``SpikingGRUCell`` (``surrogate_function1``,
    ``surrogate_function2``). ``forward(x[T, N, input], h=None, lengths=None)
    -> (output[T, N, D*H], h)``.

    >>> import torch
    >>> from sj_rnn import SpikingGRU
    >>> net = SpikingGRU(4, 8, num_layers=2)
    >>> y, h = net(torch.rand(5, 3, 4))
    >>> torch.equal(y[-1], h[-1])
    True
    """

    torch_module = nn.GRU

    @staticmethod
    def base_cell() -> type[SpikingGRUCell]:
        return SpikingGRUCell
