"""Spike-timing-dependent plasticity."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_train.plasticity.learner import Learner
from sj_train.plasticity.synapse import products


class STDPLearner(Learner):
    r"""
    STDP by traces, with weight-dependent terms, for Linear, Conv1d, Conv2d and Conv3d.

    At each time step, for the spikes :math:`s_i` that reach a synapse and :math:`s_j` that leave
    the neuron behind it,

    .. math::
        a_i[t] &= (1 - 1/\tau_{pre})\, a_i[t-1] + s_i[t], \qquad
        a_j[t] = (1 - 1/\tau_{post})\, a_j[t-1] + s_j[t] \\
        \Delta w_{ij}[t] &= f_{post}(w_{ij})\, a_i[t]\, s_j[t] - f_{pre}(w_{ij})\, a_j[t]\, s_i[t]

    summed over the batch, over all places where a weight of a convolution stands, and over the
    steps recorded (with the weight as it is at `step`). `step()` adds :math:`-\Delta w` to
    `synapse.weight.grad`, so that an optimizer of rate 1 adds :math:`\Delta w` to the weight.

    Args:
        step_mode: `'s'` where the net takes single steps, `'m'` where it takes sequences.
        synapse: the layer that learns; any stride, padding, dilation and groups.
        sn: the module whose output is the spikes behind `synapse`.
        tau_pre: time constant of the trace before, in time steps, at least 1.
        tau_post: time constant of the trace behind, in time steps, at least 1.
        f_pre: from the weight to the factor of depression; the identity by default.
        f_post: from the weight to the factor of potentiation; the identity by default.

    Shapes: one step `(N, *)` or, without a batch, `(*)`; `(T, N, *)` with `step_mode='m'`.

    Raises:
        ValueError: a time constant or step mode out of range; spikes that do not fit `synapse`.
        TypeError: another layer as `synapse`.
        RuntimeError: closed, or `synapse` and `sn` did not run equally often.

    Source: Morrison et al., Phenomenological models of synaptic plasticity based on spike
    timing (2008).

    Example:
        >>> from sj_core import neuron
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False), neuron.IFNode())
        >>> _ = nn.init.constant_(net[0].weight, 0.6)
        >>> learner = STDPLearner("s", net[0], net[1], tau_pre=2.0, tau_post=2.0)
        >>> for t in range(2):
        ...     _ = net(torch.ones(1, 1))
        >>> learner.step(on_grad=False)  # a_i = 1.5 at the only spike behind, a_j = 1: 0.6 * 0.5
        tensor([[0.3000]])
    """

    smallest_tau = 1.0

    @torch.no_grad()
    def step(self, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        """
        Learn from the steps recorded since the last call.

        Args:
            on_grad: add `-dW` to `synapse.weight.grad`; else return `dW`.
            scale: factor of `dW`.

        Returns:
            None, or `dW` with `on_grad=False` if a step was recorded.
        """
        steps = self.take_steps()
        if not steps:
            return None
        decays = (1.0 - 1.0 / self.tau_pre, 1.0 - 1.0 / self.tau_post)
        weight = self.synapse.weight.detach()
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        potentiation = torch.zeros_like(weight)
        depression = torch.zeros_like(weight)
        for pre, post in steps:
            self.move_traces(pre, post, decays)
            potentiation += products(self.synapse, self.trace_pre, post)
            depression += products(self.synapse, pre, self.trace_post)
        delta_w = self.f_post(weight) * potentiation - self.f_pre(weight) * depression
        return self.deliver(scale * delta_w, on_grad)
