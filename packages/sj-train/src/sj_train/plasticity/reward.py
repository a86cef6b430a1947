"""Spike-timing-dependent plasticity modulated by a reward, without and with eligibility traces."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sj_train.plasticity.learner import Learner, Modulation, identity
from sj_train.plasticity.synapse import Synapse, products_per_sample


class _RewardLearner(Learner):
    """A learner whose `dW` is the product of a reward and what is eligible in each sample."""

    eligibility: Any

    def __init__(
        self,
        step_mode: str,
        synapse: Synapse,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        f_pre: Modulation = identity,
        f_post: Modulation = identity,
    ) -> None:
        super().__init__(step_mode, synapse, sn, tau_pre, tau_post, f_pre, f_post)
        self.register_memory("eligibility", 0.0)

    def eligible(self) -> Tensor | float:
        """What the reward of this step acts on, made of the eligibility of the step before."""
        raise NotImplementedError

    def step(
        self, reward: float | Tensor, on_grad: bool = True, scale: float = 1.0
    ) -> Tensor | None:
        """
        Learn from the steps recorded since the last call.

        The reward of a step acts on the eligibility of the step before, so that nothing is learnt
        at the first.

        Args:
            reward: a number for all; `[N]`, one for each sample, with `step_mode='s'`; `[T]` or
                `[T, N]` with `'m'`.
            on_grad: add `-dW` to `synapse.weight.grad`; else return `dW`.
            scale: factor of `dW`.

        Returns:
            None, or `dW` with `on_grad=False` if a step was recorded.

        Raises:
            ValueError: a reward of another shape; spikes that do not fit `synapse`.
            RuntimeError: closed; `synapse` and `sn` did not run equally often; with
                `step_mode='s'`, more than one step since the last call.
        """
        with torch.no_grad():
            if self.step_mode == "s" and len(self.pre_records) > 1:
                raise RuntimeError(
                    f"{len(self.pre_records)} steps are recorded; call `step(reward)` after each."
                )
            steps = self.take_steps()
            if not steps:
                return None
            rewards = self._rewards(reward, len(steps), steps[0][0].shape[0])
            weight = self.synapse.weight.detach()
            weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
            decays = (math.exp(-1.0 / self.tau_pre), math.exp(-1.0 / self.tau_post))
            delta_w = torch.zeros_like(weight)
            for r, (pre, post) in zip(rewards, steps, strict=True):
                self._check_batch(pre)
                eligible = self.eligible()
                if isinstance(eligible, Tensor):
                    delta_w += (r.view(-1, *[1] * weight.dim()) * eligible).sum(0)
                self.move_traces(pre, post, decays)
                self.eligibility = self.f_post(weight) * products_per_sample(
                    self.synapse, self.trace_pre, post
                ) - self.f_pre(weight) * products_per_sample(self.synapse, pre, self.trace_post)
            return self.deliver(scale * delta_w, on_grad)

    def _check_batch(self, pre: Tensor) -> None:
        if isinstance(self.eligibility, Tensor) and self.eligibility.shape[0] != pre.shape[0]:
            raise RuntimeError(
                f"A step has {pre.shape[0]} samples, but the eligibility kept is that of "
                f"{self.eligibility.shape[0]}; call `reset()` between sequences."
            )

    def _rewards(self, reward: float | Tensor, steps: int, samples: int) -> Tensor:
        weight = self.synapse.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        r = torch.as_tensor(reward, dtype=dtype, device=weight.device).detach()
        if self.step_mode == "s":
            fits = r.dim() == 0 or r.shape == (samples,)
            shapes = f"a number or [{samples}]"
        else:
            fits = r.dim() == 0 or r.shape in ((steps,), (steps, samples))
            shapes = f"a number, [{steps}] or [{steps}, {samples}]"
        if not fits:
            raise ValueError(f"`reward` (shape {tuple(r.shape)}) must be {shapes}.")
        if self.step_mode == "m" and r.dim() == 1:
            r = r.unsqueeze(1)
        return r.expand(steps, samples)


class MSTDPLearner(_RewardLearner):
    r"""
    STDP modulated by a reward, for Linear, Conv1d, Conv2d and Conv3d.

    .. math::
        a_i[t] &= e^{-1/\tau_{pre}} a_i[t-1] + s_i[t], \qquad
        a_j[t] = e^{-1/\tau_{post}} a_j[t-1] + s_j[t] \\
        \zeta_{ij}[t] &= f_{post}(w_{ij})\, a_i[t]\, s_j[t] - f_{pre}(w_{ij})\, a_j[t]\, s_i[t] \\
        \Delta w_{ij}[t] &= \sum_n r_n[t]\, \zeta_{ij, n}[t-1]

    The eligibility :math:`\zeta` is kept for each sample, `[N, *weight.shape]`. `step(reward)`
    adds :math:`-\Delta w` to `synapse.weight.grad`.

    Args and errors are those of `STDPLearner`, with time constants greater than 0.

    Source: Florian, Reinforcement learning through modulation of spike-timing-dependent synaptic
    plasticity (2007).

    Example:
        >>> from sj_core import neuron
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False), neuron.IFNode())
        >>> _ = nn.init.ones_(net[0].weight)
        >>> learner = MSTDPLearner(
        ...     "s", net[0], net[1], 2.0, 2.0, f_pre=lambda w: 0.0, f_post=lambda w: 1.0
        ... )
        >>> for reward in (1.0, -1.0):
        ...     _ = net(torch.ones(1, 1))
        ...     print(learner.step(reward, on_grad=False).item())
        0.0
        -1.0
    """

    def eligible(self) -> Tensor | float:
        value: Tensor | float = self.eligibility
        return value


class MSTDPETLearner(_RewardLearner):
    r"""
    STDP modulated by a reward through an eligibility trace, for Linear, Conv1d, Conv2d and Conv3d.

    With :math:`\zeta` of `MSTDPLearner`,

    .. math::
        z_{ij}[t] &= e^{-1/\tau_{trace}} z_{ij}[t-1] + \zeta_{ij}[t-1] / \tau_{trace} \\
        \Delta w_{ij}[t] &= \sum_n r_n[t]\, z_{ij, n}[t]

    so that a reward reaches back to spikes some `tau_trace` steps ago. Both are kept for each
    sample, `[N, *weight.shape]`.

    Args and errors are those of `MSTDPLearner`; `tau_trace` is the time constant of the
    eligibility trace in time steps, greater than 0.

    Source: Florian (2007).

    Example:
        >>> from sj_core import neuron
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False), neuron.IFNode())
        >>> _ = nn.init.ones_(net[0].weight)
        >>> learner = MSTDPETLearner(
        ...     "s", net[0], net[1], 2.0, 2.0, 4.0, f_pre=lambda w: 0.0, f_post=lambda w: 1.0
        ... )
        >>> for x in (1.0, 0.0, 0.0):
        ...     _ = net(torch.full((1, 1), x))
        ...     print(round(learner.step(1.0, on_grad=False).item(), 4))
        0.0
        0.25
        0.1947
    """

    trace_e: Any

    def __init__(
        self,
        step_mode: str,
        synapse: Synapse,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        tau_trace: float,
        f_pre: Modulation = identity,
        f_post: Modulation = identity,
    ) -> None:
        super().__init__(step_mode, synapse, sn, tau_pre, tau_post, f_pre, f_post)
        self.tau_trace = self._time_constant("tau_trace", tau_trace)
        self.register_memory("trace_e", 0.0)

    def eligible(self) -> Tensor | float:
        self.trace_e = (
            self.trace_e * math.exp(-1.0 / self.tau_trace) + self.eligibility / self.tau_trace
        )
        value: Tensor | float = self.trace_e
        return value

    def extra_repr(self) -> str:
        """Give the time constants."""
        return f"tau_trace={self.tau_trace}, {super().extra_repr()}"
