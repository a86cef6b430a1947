"""Attention: of a sequence's time steps, and of the tokens of a spiking transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn

from sj_core import base, neuron
from sj_core._checks import as_count
from sj_core.layer.conv import Conv1d
from sj_core.layer.norm import BatchNorm1d


class TemporalWiseAttention(nn.Module, base.MultiStepModule):
    """Weighs the time steps of a sequence by their content.

    ``y[t] = d[t] x[t]`` with ``d = sigmoid(W2 relu(W1 avg) + W2 relu(W1 max))``, where ``avg`` and
    ``max`` of shape ``[N, T]`` are the mean and the largest value of each step, ``W1`` is
    ``[T // reduction, T]`` and ``W2`` is ``[T, T // reduction]`` (Yao et al. 2021).

    Shapes: ``[T, N, C, H, W]`` with ``dimension=4``, ``[T, N, M]`` with ``dimension=2``.
    ``step_mode='m'`` only.

    Raises ``ValueError`` unless ``1 <= reduction <= T`` and ``dimension`` is 2 or 4, and for
    another rank or number of time steps.

    >>> import torch
    >>> from sj_core import layer
    >>> attention = layer.TemporalWiseAttention(T=8, reduction=4)
    >>> attention(torch.ones(8, 2, 3, 4, 4)).shape
    torch.Size([8, 2, 3, 4, 4])
    """

    def __init__(self, T: int, reduction: int = 16, dimension: int = 4) -> None:
        super().__init__()
        T, reduction = as_count("T", T), as_count("reduction", reduction)
        if dimension not in (2, 4):
            raise ValueError(
                f"`dimension` (={dimension}) must be 4 (`[T, N, C, H, W]`) or 2 (`[T, N, M]`)."
            )
        if reduction > T:
            raise ValueError(f"`reduction` (={reduction}) must be in [1, {T}], at most `T`.")
        self.T, self.reduction, self.dimension = T, reduction, dimension
        self.shared_mlp = nn.Sequential(
            nn.Linear(T, T // reduction, bias=False),
            nn.ReLU(),
            nn.Linear(T // reduction, T, bias=False),
        )

    def forward(self, x_seq: Any) -> Any:
        if isinstance(x_seq, fx.Proxy):
            return base.call_as_leaf(self, x_seq)
        rank = 3 if self.dimension == 2 else 5
        if x_seq.dim() != rank or x_seq.shape[0] not in (0, self.T):
            axes = "N, M" if rank == 3 else "N, C, H, W"
            raise ValueError(
                f"`x_seq` has shape {list(x_seq.shape)} but TemporalWiseAttention with "
                f"`dimension` (={self.dimension}) takes [{self.T}, {axes}]."
            )
        if x_seq.shape[0] == 0:
            return x_seq.clone()
        steps = x_seq.flatten(2).transpose(0, 1)  # [N, T, M]
        # max() and not amax(): spikes tie, and the gradient shall go to one of them.
        scores = self.shared_mlp(steps.mean(-1)) + self.shared_mlp(steps.max(-1).values)
        weights = scores.sigmoid().transpose(0, 1)
        return x_seq * weights.to(x_seq.dtype).view(*weights.shape, *(1,) * (rank - 2))

    def extra_repr(self) -> str:
        return f"T={self.T}, reduction={self.reduction}, dimension={self.dimension}"


class SpikingSelfAttention(nn.Module, base.StepModule):
    """Self-attention of spikes, without a softmax.

    ``Q, K, V = SN(BN(W_q x)), SN(BN(W_k x)), SN(BN(W_v x))``, split into ``num_heads`` heads, and
    ``y = SN(BN(W_o SN(Q K^T V s)))`` with ``s = 0.125`` and ``SN`` a spiking neuron: spikes are
    not negative, so the products need no softmax (Zhou et al. 2023). The state is in the neurons.

    Shapes: ``[T, N, dim, L]`` with ``step_mode='m'``, ``[N, dim, L]`` with ``'s'``; ``L`` tokens.

    ``spiking_neuron`` makes the four neurons, as ``spiking_neuron(step_mode=..., **kwargs)``; by
    default they are :class:`neuron.LIFNode` with ``tau=2.``, ``detach_reset=True``, and threshold
    0.5 for the one after the attention, ``kwargs`` changing these.

    Raises ``ValueError`` if ``dim`` is no multiple of ``num_heads``, and for another shape.

    >>> import torch
    >>> from sj_core import layer
    >>> attention = layer.SpikingSelfAttention(dim=16, num_heads=4)
    >>> attention(torch.rand(3, 2, 16, 5)).shape
    torch.Size([3, 2, 16, 5])
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        spiking_neuron: Callable[..., nn.Module] | None = None,
        step_mode: str = "m",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        dim, num_heads = as_count("dim", dim), as_count("num_heads", num_heads)
        if spiking_neuron is not None and not callable(spiking_neuron):
            raise TypeError(f"`spiking_neuron` (={spiking_neuron!r}) must be a class of neurons.")
        if dim % num_heads:
            raise ValueError(f"`dim` (={dim}) must be a multiple of `num_heads` (={num_heads}).")
        self.dim, self.num_heads, self.scale = dim, num_heads, 0.125

        def node(**defaults: Any) -> nn.Module:
            if spiking_neuron is not None:
                return spiking_neuron(**kwargs)
            return neuron.LIFNode(**{"tau": 2.0, "detach_reset": True, **defaults, **kwargs})

        self.qkv_conv = Conv1d(dim, 3 * dim, 1, bias=False)
        self.qkv_bn = BatchNorm1d(3 * dim)
        self.qkv_neuron = node()
        self.attention_neuron = node(v_threshold=0.5)
        self.proj_conv = Conv1d(dim, dim, 1, bias=False)
        self.proj_bn = BatchNorm1d(dim)
        self.proj_neuron = node()
        self.step_mode = step_mode

    @property
    def step_mode(self) -> str:
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        self.check_step_mode(value)
        for child in self.children():
            if isinstance(child, base.StepModule):
                child.check_step_mode(value)
        for child in self.children():
            if isinstance(child, base.StepModule):
                child.step_mode = value
        self._step_mode = value

    def forward(self, x: Any) -> Any:
        if isinstance(x, fx.Proxy):
            return base.call_as_leaf(self, x)
        rank = 4 if self.step_mode == "m" else 3
        if x.dim() != rank or x.shape[-2] != self.dim:
            lead = "T, N" if rank == 4 else "N"
            raise ValueError(
                f"`x` has shape {list(x.shape)} but SpikingSelfAttention with "
                f"step_mode={self.step_mode!r} takes [{lead}, {self.dim}, L]."
            )
        spikes = self.qkv_neuron(self.qkv_bn(self.qkv_conv(x)))
        q, k, v = spikes.unflatten(-2, (3, self.num_heads, -1)).unbind(-4)  # [.., heads, d, L]
        # Q K^T V with tokens in the last axis; V K^T first, which costs d*d*L instead of L*L*d.
        y = self.attention_neuron(((v @ k.mT) @ q * self.scale).flatten(-3, -2))
        return self.proj_neuron(self.proj_bn(self.proj_conv(y)))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_heads={self.num_heads}, step_mode={self.step_mode!r}"
