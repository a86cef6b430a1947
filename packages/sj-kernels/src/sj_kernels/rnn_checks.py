"""What a recurrent cell's tensors must be, checked before a pointer is touched."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_kernels.info import DTYPES


class Checks:
    """Checks for one kind of cell; `gates` of them make a row of pre-activations."""

    kind: str
    gates: int

    def _shapes(self, pre: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
        if pre.dtype not in DTYPES:
            raise TypeError(
                f"`pre` (dtype {pre.dtype}) must be float16, bfloat16, float32 or float64."
            )
        if pre.dim() != 2 or pre.shape[1] % self.gates:
            raise ValueError(f"`pre` (shape {list(pre.shape)}) must be [N, {self.gates}*H].")
        return (pre.shape[0], pre.shape[1]), (pre.shape[0], pre.shape[1] // self.gates)

    def _sequence(
        self,
        pre: Tensor,
        w_hh: Tensor,
        h: Tensor,
        c: Tensor | None,
        mask: Tensor | None,
        h_seq: Tensor,
        aux: Tensor | None,
    ) -> tuple[int, int, int]:
        if pre.dtype not in (torch.float32, torch.float64) or pre.device.type != "cpu":
            raise TypeError(
                f"`pre` ({pre.dtype} on {pre.device}) must be float32 or float64 on the CPU; "
                "take single steps for others."
            )
        if pre.dim() != 3 or pre.shape[2] % self.gates:
            raise ValueError(f"`pre` (shape {list(pre.shape)}) must be [T, N, {self.gates}*H].")
        steps, batch, rows = pre.shape
        size = rows // self.gates
        self._check(pre, (steps, batch, rows), pre=pre)
        self._check(pre, (rows, size), w_hh=w_hh)
        self._check(pre, (batch, size), h=h, c=self._of("lstm", "c", c))
        self._check(pre, (steps, batch, size), h_seq=h_seq, aux=self._auxiliary(aux))
        if mask is not None and (
            mask.dtype != torch.bool
            or tuple(mask.shape) != (steps, batch)
            or not mask.is_contiguous()
            or mask.device != pre.device
        ):
            raise ValueError(
                f"`mask` (shape {list(mask.shape)}, {mask.dtype}) must be a contiguous bool "
                f"tensor [{steps}, {batch}]."
            )
        return steps, batch, size

    def _of(self, kind: str, argument: str, value: Tensor | None) -> Tensor | None:
        if (value is None) == (self.kind == kind) and not (argument == "b_hn" and value is None):
            raise ValueError(
                f"`{argument}` must be a tensor for kind {kind!r} and None for others, not "
                f"{'None' if value is None else 'a tensor'} for {self.kind!r}."
            )
        return value

    def _auxiliary(self, value: Tensor | None) -> Tensor | None:
        if (value is None) != (self.kind == "vanilla"):
            raise ValueError(
                "`aux` must be None for kind 'vanilla' and a tensor for others, not "
                f"{'None' if value is None else 'a tensor'} for {self.kind!r}."
            )
        return value

    def _check(
        self, like: Tensor, shape: tuple[int, ...], state: bool = False, **tensors: Tensor | None
    ) -> None:
        dtype = like.dtype
        if state and dtype in (torch.float16, torch.bfloat16):
            dtype = torch.float32
        for argument, tensor in tensors.items():
            if tensor is None:
                continue
            if tensor.dtype != dtype:
                raise TypeError(f"`{argument}` (dtype {tensor.dtype}) must be {dtype}.")
            if tensor.shape != shape or not tensor.is_contiguous() or tensor.device != like.device:
                raise ValueError(
                    f"`{argument}` (shape {list(tensor.shape)}, strides {list(tensor.stride())}, "
                    f"on {tensor.device}) must be contiguous, {list(shape)}, on {like.device}."
                )
