"""The thinnest eager path: one state, one threshold, dense tensors on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sj_kernels.batched import batched_backward, is_batched
from sj_kernels.geometry import known_geometry
from sj_kernels.info import DTYPES
from sj_kernels.layout import with_strides
from sj_kernels.once import once
from sj_kernels.reuse import LEAST_BYTES, counting, is_last

if TYPE_CHECKING:
    from sj_kernels._plan import Plan

Outputs = tuple[Tensor, Tensor, Tensor | None, Tensor | None]

# Looked up once: a call pays for every attribute of a module.
_F32, _F64 = torch.float32, torch.float64
_is_grad_enabled = torch.is_grad_enabled
_is_traced = torch.compiler.is_dynamo_compiling  # by compiled autograd, which has no pointers
_empty_like, _empty_strided = torch.empty_like, torch.empty_strided
_threads = torch.get_num_threads
_CPU = torch.device("cpu")  # a default device is not asked, a word not read


def simple(plan: Plan, x: Tensor, v: float | Tensor, decay: Tensor | None) -> Outputs | None:
    """Run a plan of one state and one threshold on dense CPU tensors; None where it is not so.

    What costs here is not the kernel but every call from Python on the way to it.
    """
    dtype = x.dtype
    # One element counts as contiguous however it is viewed, as negative too: not for here.
    if not (x.is_cpu and dtype in DTYPES) or x.numel() < 2:
        return None
    if not x.is_contiguous():
        dense, g = known_geometry(x, plan.multi_step)
        if dense is not x or g.x_step != g.n:
            return None
        plan = plan.laid_out(g.strides)
    wants_grad = x.requires_grad
    if isinstance(v, Tensor):
        shape = x.shape[1:] if plan.multi_step else x.shape
        if v.shape != shape or not v.is_cpu:
            return None
        if not v.is_contiguous() if plan.steps is None else v.stride() != plan.steps:
            return None
        if v.dtype is not (dtype if dtype is _F32 or dtype is _F64 else _F32):
            return None
        wants_grad = wants_grad or v.requires_grad
    elif plan.multi_step and x.dim() == 0:
        return None
    elif v.__class__ is not float:
        try:
            v = float(v)
        except (TypeError, ValueError):
            return None  # to where it is refused by name
    if decay is not None:
        if not (plan.learnable and getattr(decay, "is_cpu", False) and decay.numel() == 1):
            return None
        if decay.dtype is not (dtype if dtype is _F32 or dtype is _F64 else _F32):
            return None
        wants_grad = wants_grad or decay.requires_grad
        if wants_grad and _is_grad_enabled():
            s, v_next = _apply_learnable(plan, x, v, decay)
        else:
            s, v_next = _simple_forward(plan, x, v, decay.data_ptr())
    elif plan.learnable:
        return None
    elif wants_grad and _is_grad_enabled():
        s, v_next = _apply_simple(plan, x, v)
    else:
        s, v_next = _simple_forward(plan, x, v)
    return s, v_next, None, None


def _simple_forward(
    plan: Plan, x: Tensor, v: float | Tensor, decay_at: int = 0
) -> tuple[Tensor, Tensor]:
    s = _empty_like(x)
    n = x.numel()
    T = 1
    dtype = x.dtype
    if isinstance(v, Tensor):
        v_next = _empty_like(v)
        fill, at = 0.0, v.data_ptr()
        if plan.multi_step:
            T = x.shape[0]
            n //= T
    else:
        fill, at = v, 0
        state = dtype if dtype is _F32 or dtype is _F64 else _F32
        if plan.multi_step:
            T, *shape = x.shape
            n //= T
            v_next = _empty_strided(shape, plan.steps or x.stride()[1:], dtype=state, device=_CPU)
        else:
            v_next = _empty_like(x) if state is dtype else _empty_like(x, dtype=state)
    plan.native.forward_cpu(
        x.data_ptr(), at, fill, decay_at, s.data_ptr(), v_next.data_ptr(), T, n, DTYPES[dtype],
        _threads(),
    )  # fmt: skip
    return s, v_next


class _Simple(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, x: Tensor, v: float | Tensor) -> tuple[Tensor, Tensor]:
        ctx.materialize_grads = False  # as set_materialize_grads and save_for_backward do
        if isinstance(v, Tensor):
            ctx.to_save = (x, v)
            ctx.plan = (plan, 0.0)
        else:
            ctx.to_save = (x,)
            ctx.plan = (plan, v)
        return _simple_forward(plan, x, v)

    @staticmethod
    def backward(ctx: Any, g_s: Tensor | None, g_v_next: Tensor | None) -> Any:
        if _is_traced():
            return _registered_backward(ctx, ctx.saved_tensors, g_s, g_v_next)
        if _is_grad_enabled():
            return once(_simple_backward, ctx, g_s, g_v_next)
        saved = ctx.saved_tensors
        try:
            return _simple_backward(ctx, saved, g_s, g_v_next)
        except RuntimeError:
            if not is_batched((g_s, g_v_next)):
                raise
            return _registered_backward(ctx, saved, g_s, g_v_next)


class _Learnable(_Simple):
    # With a learnable 1/tau: apart, since one argument more costs every call.
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, plan: Plan, x: Tensor, v: float | Tensor, decay: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.materialize_grads = False
        if isinstance(v, Tensor):
            ctx.to_save = (x, v, decay)
            ctx.plan = (plan, 0.0)
        else:
            ctx.to_save = (x, decay)
            ctx.plan = (plan, v)
        return _simple_forward(plan, x, v, decay.data_ptr())


def _simple_backward(ctx: Any, saved: Any, g_s: Tensor | None, g_v_next: Tensor | None) -> Any:
    plan, fill = ctx.plan
    x = saved[0]
    v_at = g_v_at = decay_at = 0
    g_v = None
    learns = False
    if plan.learnable:
        *saved, decay = saved
        decay_at, learns = decay.data_ptr(), ctx.needs_input_grad[3]
    if len(saved) == 2:
        v_at = saved[1].data_ptr()
        if ctx.needs_input_grad[2]:
            g_v = _empty_like(saved[1])
            g_v_at = g_v.data_ptr()
    g_x = None
    if g_s is None:
        g_s_at = 0
    else:
        reuse = (x.nbytes >= LEAST_BYTES or counting) and is_last(ctx, g_s)
        given = g_s
        if plan.steps is not None:
            g_s = with_strides(g_s, x.stride())
        elif not g_s.is_contiguous():
            g_s = g_s.contiguous()
        g_s_at = g_s.data_ptr()
        if (reuse or g_s is not given) and g_s_at:
            # The kernel reads each gradient before it writes there. A result is no view: where one
            # and a view of it are two gradients, AccumulateGrad would keep both as they are.
            g_x = g_s if g_s._base is None else g_s.detach()
    if g_x is None:
        g_x = _empty_like(x)
    if g_v_next is None:
        g_v_next_at = 0
    else:
        if plan.steps is not None:
            g_v_next = with_strides(g_v_next, plan.steps)
        elif not g_v_next.is_contiguous():
            g_v_next = g_v_next.contiguous()
        g_v_next_at = g_v_next.data_ptr()
    n = x.numel()
    T = 1
    if plan.multi_step:
        T = x.shape[0]
        n //= T
    g_decay = plan.native.backward_cpu(
        g_s_at, g_v_next_at, x.data_ptr(), v_at, fill, decay_at, learns, g_x.data_ptr(), g_v_at,
        T, n, DTYPES[x.dtype], _threads(),
    )  # fmt: skip
    if plan.learnable:
        return None, g_x, g_v, torch.full_like(decay, g_decay) if learns else None
    return None, g_x, g_v


def _registered_backward(ctx: Any, saved: Any, g_s: Tensor | None, g_v_next: Tensor | None) -> Any:
    plan, fill = ctx.plan
    x = saved[0]
    decay = saved[-1] if plan.learnable else None
    v = saved[1] if len(saved) - plan.learnable == 2 else None
    incoming = (g_s, g_v_next, None, None)
    needed = plan.learnable and ctx.needs_input_grad[3]
    g_x, g_v, _, g_decay = batched_backward(plan, incoming, x, v, None, decay, (fill, 0.0), needed)
    return (None, g_x, g_v, g_decay) if plan.learnable else (None, g_x, g_v)


# Without the call in between that looks for a `vjp`.
_Simple._backward_cls.apply = _Simple.backward  # type: ignore[attr-defined]
_Learnable._backward_cls.apply = _Simple.backward  # type: ignore[attr-defined]

# Without Function.apply around it, which looks for transforms of torch.func: ruled out here.
_apply_simple = super(torch.autograd.Function, _Simple).apply
_apply_learnable = super(torch.autograd.Function, _Learnable).apply
