"""The spiking vanilla RNN: its cell and the stacked network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sj_rnn.cell import Spike, SpikingRNNCellBase, spike_function
from sj_rnn.stacked import SpikingRNNBase
from sj_rnn.step import vanilla_step


class SpikingVanillaRNNCell(SpikingRNNCellBase):
    r"""One step of a spiking vanilla RNN: :math:`h' = S(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})`.

    ``forward(x[N, input], h=None) -> h'[N, H]``; zeros by default (Elman 1990, with spikes).
    Raises as ``SpikingLSTMCell``.

    >>> import torch
    >>> from sj_core import surrogate
    >>> from sj_rnn import SpikingVanillaRNNCell
    >>> cell = SpikingVanillaRNNCell(4, 8, surrogate_function=surrogate.ATan())
    >>> h = cell(torch.rand(2, 4))
    >>> bool(((h == 0) | (h == 1)).all())
    True
    """

    sequence_kind = "vanilla"
    torch_cell = nn.RNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        surrogate_function: Spike | None = None,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device=device, dtype=dtype)
        self.surrogate_function = spike_function("surrogate_function", surrogate_function)

    def spike_functions(self) -> tuple[Spike, Spike]:
        """(S, S): this cell has one spike function."""
        return self.surrogate_function, self.surrogate_function

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        x, (state,) = self.prepare(x, h, "h")
        return vanilla_step(self.linear_ih(x) + self.linear_hh(state), self.surrogate_function)


class SpikingVanillaRNN(SpikingRNNBase):
    """A stacked, optionally bidirectional spiking RNN with the interface of ``nn.RNN``.

    Arguments of ``SpikingRNNBase``, then that of ``SpikingVanillaRNNCell``
    (``surrogate_function``). ``forward(x[T, N, input], h=None, lengths=None)
    -> (output[T, N, D*H], h)``.

    >>> import torch
    >>> from sj_rnn import SpikingVanillaRNN
    >>> net = SpikingVanillaRNN(4, 8, num_layers=1, batch_first=True)
    >>> y, h = net(torch.rand(3, 5, 4), lengths=[5, 2, 0])
    >>> y[1, 2:].abs().sum().item()
    0.0
    """

    torch_module = nn.RNN

    @staticmethod
    def base_cell() -> type[SpikingVanillaRNNCell]:
        return SpikingVanillaRNNCell
