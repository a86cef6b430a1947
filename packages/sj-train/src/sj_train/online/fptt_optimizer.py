"""Forward propagation through time in one pass, around any optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class FPTT:
    r"""
    FPTT with one forward and one backward per time step, as its authors run it.

    With :math:`\lambda = 0` and :math:`\bar W = W` at first, `step(loss)` does

    .. math::
        W &\leftarrow \text{one optimizer step of } l_t - \langle W, \lambda \rangle
            + \frac{\alpha}{2} \sum \|W - \bar W\|^2 \\
        \lambda &\leftarrow \lambda - \alpha (W - \bar W) \\
        \bar W &\leftarrow (1 - \beta) \bar W + \beta W - \frac{\beta}{\alpha} \lambda

    and `end_sequence()` puts :math:`W \leftarrow \bar W`, :math:`\lambda \leftarrow 0`. In the
    training loop, `functional.detach_net(net)` after each step cuts the memories of the net.
    Frozen parameters, and those that no loss has depended on so far, are left alone.

    Args:
        optimizer: the optimizer to step with; its parameters are the W.
        alpha: weight of the penalty, greater than 0.
        beta: weight of the newest W in the average, in (0, 1].

    Raises:
        ValueError: `alpha` or `beta` out of range; a state that does not fit.

    Source: Kag and Saligrama (2021); Yin et al., Accurate online training of dynamical spiking
    neural networks through Forward Propagation Through Time (2023).

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0]))
        >>> fptt = FPTT(torch.optim.SGD([w], lr=0.25), alpha=1.0)
        >>> for t in range(2):
        ...     loss = fptt.step(w.square().sum())
        >>> fptt.end_sequence()
        >>> w.data
        tensor([0.1250])
    """

    def __init__(self, optimizer: torch.optim.Optimizer, alpha: float, beta: float = 0.5) -> None:
        if not alpha > 0:
            raise ValueError(f"`alpha` (={alpha}) must be greater than 0.")
        if not 0 < beta <= 1:
            raise ValueError(f"`beta` (={beta}) must be greater than 0 and at most 1.")
        self.optimizer = optimizer
        self.alpha = float(alpha)
        self.beta = float(beta)
        self._averages: dict[Tensor, Tensor] = {}
        self._multipliers: dict[Tensor, Tensor] = {}
        # A parameter is in play from the first loss that depends on it.
        self._in_play: set[Tensor] = set()
        self._parameters()

    def step(self, loss: Tensor) -> Tensor:
        """Make one step of FPTT with the loss of one time step; return the penalised loss."""
        parameters = [w for w in self._parameters() if w.requires_grad]
        self.optimizer.zero_grad(set_to_none=True)
        if parameters:
            loss.backward(inputs=parameters)
        with torch.no_grad():
            self._in_play.update(w for w in parameters if w.grad is not None)
            active = [w for w in parameters if w in self._in_play]
            penalised = loss.detach().clone()
            for w in active:
                multiplier, away = self._multipliers[w], w - self._averages[w]
                penalised += 0.5 * self.alpha * away.square().sum() - (w * multiplier).sum()
                if w.grad is None:
                    w.grad = torch.zeros_like(w)
                w.grad.add_(away, alpha=self.alpha).sub_(multiplier)
        self.optimizer.step()
        with torch.no_grad():
            for w in active:
                average, multiplier = self._averages[w], self._multipliers[w]
                multiplier.sub_(w - average, alpha=self.alpha)
                average.mul_(1.0 - self.beta).add_(w, alpha=self.beta)
                average.sub_(multiplier, alpha=self.beta / self.alpha)
        return penalised

    @torch.no_grad()
    def end_sequence(self) -> None:
        """Put every parameter to its average and every multiplier to zero."""
        for w in self._parameters():
            if w in self._in_play:
                w.copy_(self._averages[w])
                self._multipliers[w].zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return averages and multipliers in the optimizer's order (not the optimizer's state)."""
        parameters = self._parameters()
        return {
            "alpha": self.alpha,
            "beta": self.beta,
            "averages": [self._averages[w].clone() for w in parameters],
            "multipliers": [self._multipliers[w].clone() for w in parameters],
            "in_play": [w in self._in_play for w in parameters],
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state of `state_dict`; `ValueError` if it is of other parameters."""
        parameters = self._parameters()
        for key in ("averages", "multipliers"):
            shapes = [tuple(x.shape) for x in state[key]]
            if shapes != [tuple(w.shape) for w in parameters]:
                raise ValueError(
                    f"`state[{key!r}]` (shapes {shapes}) must match the optimizer's parameters, "
                    f"shapes {[tuple(w.shape) for w in parameters]}."
                )
        self.alpha, self.beta = float(state["alpha"]), float(state["beta"])
        self._in_play = {w for w, use in zip(parameters, state["in_play"], strict=True) if use}
        for i, w in enumerate(parameters):
            self._averages[w].copy_(state["averages"][i])
            self._multipliers[w].copy_(state["multipliers"][i])

    def _parameters(self) -> list[Tensor]:
        """The optimizer's parameters; those new to it start with their own value as average."""
        parameters = [w for group in self.optimizer.param_groups for w in group["params"]]
        for w in parameters:
            if w not in self._averages:
                self._averages[w] = w.detach().clone()
                self._multipliers[w] = torch.zeros_like(w.detach())
        return parameters
