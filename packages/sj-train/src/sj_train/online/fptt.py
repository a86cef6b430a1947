"""Forward propagation through time, with the gradient at the new weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sj_core.functional import detach_net
from sj_train.online._sequence import (
    Memories,
    Surroundings,
    check_lengths,
    check_single_step,
)


def fptt_online_training_init_w_ra(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """
    Return the running averages that `fptt_online_training` starts from.

    They are independent copies of every parameter (frozen ones too), in the optimizer's order.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        >>> fptt_online_training_init_w_ra(torch.optim.SGD([w], lr=0.1))
        [tensor([1., 2.])]
    """
    return [w.detach().clone() for w in _parameters(optimizer)]


def fptt_online_training(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x_seq: Tensor,
    target_seq: Tensor,
    f_loss_t: Callable[[Any, Any], Tensor],
    alpha: float,
    w_ra: list[Tensor],
) -> None:
    r"""
    Train on one batch of sequences by FPTT, with memory that does not depend on their length.

    With :math:`\bar W` = `w_ra`, :math:`g_0 = 0` and :math:`h_t` the memories of `model`,
    detached, at each step

    .. math::
        W &\leftarrow \text{one optimizer step of } l_t(W; h_{t-1})
            + \frac{\alpha}{2} \sum \|W - \bar W - \tfrac{1}{2\alpha} g_{t-1}\|^2 \\
        g_t &= \nabla l_t(W; h_{t-1}) \text{ at the new } W \\
        \bar W &\leftarrow \tfrac{1}{2} (\bar W + W) - \tfrac{1}{2\alpha} g_t

    The state carried on is that of the first forward. Buffers (the statistics of a BatchNorm) and
    random streams move on once per step: the second forward repeats the draws of the first.
    Frozen parameters, and those that no loss has depended on so far, are left alone. Parameters
    outside the optimizer get no gradient.

    The memories of `model` are left as the last step made them: call `functional.reset_net`
    between sequences.

    Args:
        model: takes single steps.
        optimizer: over the parameters to train; its gradients are cleared at the end.
        x_seq: `[T, N, *]`.
        target_seq: `[T, *]`, what `f_loss_t` wants at each step.
        f_loss_t: the loss of one step, `f_loss_t(y_t, target_t) -> scalar`.
        alpha: weight of the penalty, greater than 0.
        w_ra: from `fptt_online_training_init_w_ra`, kept by the caller between calls; updated in
            place.

    Raises:
        ValueError: `alpha` <= 0; `w_ra` does not match the optimizer; `x_seq` and `target_seq`
            differ in T, or are empty; `model` takes sequences.

    Source: Kag and Saligrama, Training Recurrent Neural Networks via Forward Propagation Through
    Time (2021); for spiking networks Yin et al. (2023).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from torch.nn import functional as F
        >>> from sj_core import functional, neuron
        >>> net = nn.Sequential(
        ...     nn.Linear(8, 4), neuron.IFNode(), nn.Linear(4, 2), neuron.IFNode()
        ... )
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> w_ra = fptt_online_training_init_w_ra(optimizer)
        >>> T, N = 4, 2
        >>> for epoch in range(2):
        ...     fptt_online_training(
        ...         model=net,
        ...         optimizer=optimizer,
        ...         x_seq=torch.rand(T, N, 8),
        ...         target_seq=torch.rand(T, N, 2),
        ...         f_loss_t=F.mse_loss,
        ...         alpha=0.1,
        ...         w_ra=w_ra,
        ...     )
        ...     functional.reset_net(net)
    """
    if not alpha > 0:
        raise ValueError(f"`alpha` (={alpha}) must be greater than 0.")
    check_single_step(model)
    check_lengths(x_seq, target_seq, 1, "[T]")
    parameters = _parameters(optimizer)
    _check_running_average(parameters, w_ra)
    trained = [(w, mean) for w, mean in zip(parameters, w_ra, strict=True) if w.requires_grad]
    leaves = [w for w, _ in trained]
    previous: list[Tensor | None] = [None] * len(trained)

    def backward(t: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = f_loss_t(model(x_seq[t]), target_seq[t])
        if leaves:
            loss.backward(inputs=leaves)

    detach_net(model)
    for t in range(x_seq.shape[0]):
        before, before_around = Memories(model), Surroundings(model, x_seq)
        backward(t)
        with torch.no_grad():
            for (w, mean), g in zip(trained, previous, strict=True):
                _add_penalty_gradient(w, mean, g, alpha)
        optimizer.step()

        after, after_around = Memories(model), Surroundings(model, x_seq)
        before.restore()
        before_around.restore()
        backward(t)
        with torch.no_grad():
            for i, (w, mean) in enumerate(trained):
                if w.grad is None and previous[i] is None:
                    continue
                g = torch.zeros_like(w) if w.grad is None else w.grad
                mean.add_(w).div_(2.0).sub_(g, alpha=0.5 / alpha)
                previous[i] = g
        optimizer.zero_grad(set_to_none=True)
        after.restore()
        after_around.restore()


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [w for group in optimizer.param_groups for w in group["params"]]


def _check_running_average(parameters: list[Tensor], w_ra: list[Tensor]) -> None:
    cure = "make it with `fptt_online_training_init_w_ra(optimizer)`"
    if len(w_ra) != len(parameters):
        raise ValueError(
            f"`w_ra` (of length {len(w_ra)}) must hold one tensor for each of the "
            f"{len(parameters)} parameters of the optimizer; {cure}."
        )
    for i, (w, mean) in enumerate(zip(parameters, w_ra, strict=True)):
        given, wanted = ((tuple(x.shape), x.dtype, str(x.device)) for x in (mean, w))
        if given != wanted:
            raise ValueError(
                "`w_ra[{}]` (shape {}, {} on {}) must match its parameter, shape {}, {} on {}; "
                "{}.".format(i, *given, *wanted, cure)
            )


def _add_penalty_gradient(w: Tensor, mean: Tensor, g: Tensor | None, alpha: float) -> None:
    if w.grad is None:
        if g is None:
            return
        w.grad = torch.zeros_like(w)
    w.grad.add_(w - mean, alpha=alpha)
    if g is not None:
        w.grad.sub_(g, alpha=0.5)
