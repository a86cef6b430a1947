"""The spiking LSTM: its cell and the stacked network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sj_rnn.cell import Spike, TwoSpikeCell
from sj_rnn.stacked import SpikingRNNBase
from sj_rnn.step import lstm_step


class SpikingLSTMCell(TwoSpikeCell):
    r"""One step of a spiking LSTM (Lotfi Rezaabad and Vishwanath, 2020).

    .. math::
        i, f, o &= S_1(W_{ih} x + b_{ih} + W_{hh} h + b_{hh}), \quad g = S_2(\ldots) \\
        c' &= f * c + i * g, \quad h' = o * c'

    The rows of the weights stand in torch's order i, f, g, o. ``clamp_cell`` c_max bounds c' from
    above, with a straight-through gradient; None is the published equation.

    ``forward(x[N, input], hc=None) -> (h'[N, H], c'[N, H])``; ``hc = (h, c)``, zeros by default.
    Raises ``ValueError`` for a wrong shape or number of states, ``TypeError`` for another dtype
    than ``x``'s.

    >>> import torch
    >>> from sj_rnn import SpikingLSTMCell
    >>> cell = SpikingLSTMCell(4, 8)
    >>> h, c = cell(torch.rand(2, 4))
    >>> h, c = cell(torch.rand(2, 4), (h, c))
    >>> h.shape, cell.weight_ih().shape
    (torch.Size([2, 8]), torch.Size([32, 4]))
    """

    gates = 4
    states = 2
    sequence_kind = "lstm"
    torch_cell = nn.LSTMCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        surrogate_function1: Spike | None = None,
        surrogate_function2: Spike | None = None,
        clamp_cell: float | None = None,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            bias,
            surrogate_function1,
            surrogate_function2,
            device=device,
            dtype=dtype,
        )
        if clamp_cell is not None and (
            isinstance(clamp_cell, bool) or not isinstance(clamp_cell, int | float)
        ):
            raise TypeError(f"`clamp_cell` (={clamp_cell!r}) must be a number or None.")
        if clamp_cell is not None and not clamp_cell > 0:
            raise ValueError(f"`clamp_cell` (={clamp_cell}) must be greater than 0, or None.")
        self.clamp_cell = None if clamp_cell is None else float(clamp_cell)

    def forward(
        self, x: Tensor, hc: Sequence[Tensor] | Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x, (h, c) = self.prepare(x, hc, "hc")
        pre = self.linear_ih(x) + self.linear_hh(h)
        return lstm_step(pre, c, *self.spike_functions(), self.clamp_cell)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, clamp_cell={self.clamp_cell}"


class SpikingLSTM(SpikingRNNBase):
    """A stacked, optionally bidirectional spiking LSTM with the interface of ``nn.LSTM``.

    Arguments of ``SpikingRNNBase``, then those of ``SpikingLSTMCell`` (``surrogate_function1``,
    ``surrogate_function2``, ``clamp_cell``). ``forward(x[T, N, input], (h, c)=None, lengths=None)
    -> (output[T, N, D*H], (h, c))``.

    >>> import torch
    >>> from sj_rnn import SpikingLSTM
    >>> net = SpikingLSTM(4, 8, num_layers=2, bidirectional=True)
    >>> y, (h, c) = net(torch.rand(5, 3, 4))
    >>> y.shape, h.shape
    (torch.Size([5, 3, 16]), torch.Size([4, 3, 8]))
    """

    torch_module = nn.LSTM

    @staticmethod
    def base_cell() -> type[SpikingLSTMCell]:
        return SpikingLSTMCell

    @staticmethod
    def states_num() -> int:
        return 2
