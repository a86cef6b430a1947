"""Online training through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sj_train.online._loop import train_online


def ottt_online_training(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x_seq: Tensor,
    target_seq: Tensor,
    f_loss_t: Callable[[Any, Any], Tensor],
    online: bool,
) -> tuple[Tensor, Tensor]:
    r"""
    Train on one batch of sequences by OTTT, with memory that does not depend on their length.

    At each step: forward, :math:`l_t = f(y[t], target[t])`, backward through this step alone; then
    every memory of `model` is cut from the graph. What reaches back in time are the traces that
    `OTTTLIFNode` and `OTTTSequential` carry forward. Any other neuron works too, as the last layer
    for example; its gradient is the instantaneous one.

    The memories of `model` are left as the last step made them: call `functional.reset_net`
    between sequences.

    Args:
        model: takes single steps, in training mode; of a tuple of outputs the first is taken.
        optimizer: over the parameters to train.
        x_seq: `[N, T, *]`, batch first.
        target_seq: `[N, T, *]`.
        f_loss_t: the loss of one step, `f_loss_t(y_t, target_t) -> scalar`.
        online: one optimizer step at every time step; else the gradients of all steps are summed
            and one optimizer step ends the sequence.

    Returns:
        The sum of the losses over time, detached, and the outputs `[N, T, *]`, detached.

    Raises:
        ValueError: `x_seq` and `target_seq` differ in N or T, or are empty; `model` takes
            sequences.

    Source: Xiao et al., Online Training Through Time for Spiking Neural Networks (2022).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from torch.nn import functional as F
        >>> from sj_core import functional, neuron
        >>> from sj_train.online import OTTTLIFNode, OTTTSequential
        >>> net = OTTTSequential(nn.Linear(8, 4), OTTTLIFNode(), nn.Linear(4, 2), neuron.LIFNode())
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> N, T = 2, 4
        >>> for epoch in range(2):
        ...     loss, y = ottt_online_training(
        ...         net,
        ...         optimizer,
        ...         x_seq=torch.rand(N, T, 8),
        ...         target_seq=torch.rand(N, T, 2),
        ...         f_loss_t=F.mse_loss,
        ...         online=True,
        ...     )
        ...     functional.reset_net(net)
        >>> loss.shape, y.shape
        (torch.Size([]), torch.Size([2, 4, 2]))
    """
    return train_online(model, optimizer, x_seq, target_seq, f_loss_t, online)
