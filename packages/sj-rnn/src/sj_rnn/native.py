"""The fused gates of sj-kernels, for plans and tensors that they serve."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sj_core import backend
from sj_rnn.check import HALF

if TYPE_CHECKING:
    from sj_rnn.recurrence import Plan

# Rows per thread below which a split of the batch leaves threads idle in large products.
_ROWS = 8
_LARGE = 2_500_000


@functools.lru_cache(maxsize=256)
def _cell(kind: str, *settings: Any) -> Any:
    module = backend.kernels()
    assert module is not None
    return module.rnn.Cell(kind, *settings)


def kernel_of(plan: Plan, x: Tensor) -> Any | None:
    """The ``sj_kernels.rnn.Cell`` of ``plan`` for tensors like ``x``, or None."""
    module = backend.kernels()
    if module is None or not hasattr(module, "rnn"):
        return None
    s1, s2 = plan.s1, plan.s2
    if s1.name is None or s2.name is None or not (s1.spiking and s2.spiking):
        return None
    table = module.combinations()
    if x.device.type not in table["device"] or str(x.dtype)[6:] not in table["dtype"]:
        return None
    if not {s1.name, s2.name} <= table["surrogate"]:
        return None
    # A fake tensor has no memory to point to, and a dispatch mode wants to see operations.
    if torch._C._len_torch_dispatch_stack() > 0 or type(x) is not Tensor:
        return None
    return _cell(plan.kind, s1.name, s1.params, s2.name, s2.params, plan.clamp_cell)


def sequence_kernel_of(plan: Plan, x: Tensor, h: Tensor) -> Any | None:
    """The same where it can run a whole sequence, products included, and does so faster."""
    if len(plan.reverse) != 1 or x.device.type != "cpu" or x.dtype in HALF:
        return None
    batch, size = h.shape
    if batch < _ROWS * torch.get_num_threads() and batch * size * size > _LARGE:
        return None
    return kernel_of(plan, x)


class NativeSteps:
    """The steps of ``torch_steps`` by fused kernels; a direction after the other."""

    def __init__(self, cell: Any, plan: Plan) -> None:
        self.cell = cell
        self.kind = plan.kind

    def forward(
        self, pre: Tensor, hw: Tensor, h: Tensor, c: Any, h_out: Tensor, aux_out: Any
    ) -> None:
        for args in _directions(pre, hw, h, c, h_out, aux_out):
            self.cell.step_forward(*args)

    def backward(
        self,
        pre: Tensor,
        h: Tensor,
        c: Any,
        aux: Any,
        gy: Any,
        gh: Tensor,
        gc: Any,
        gp: Tensor,
        gn: Any,
    ) -> tuple[Tensor | None, Tensor | None]:
        state = torch.float32 if pre.dtype in HALF else pre.dtype
        gh = gh.to(state).contiguous()
        gc = None if gc is None else gc.contiguous()
        gh_out = torch.empty_like(gh)
        gc_out = None if gc is None else torch.empty_like(gc)
        for args in _directions(pre, h, c, aux, gy, gh, gc, gp, gn, gh_out, gc_out):
            self.cell.step_backward(*args)
        return (gh_out if self.kind == "gru" else None), gc_out


def _directions(*tensors: Any) -> list[tuple[Any, ...]]:
    if tensors[0].dim() == 2:
        return [tensors]
    return [tuple(None if t is None else t[d] for t in tensors) for d in range(2)]
