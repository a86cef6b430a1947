"""The fused neuron under torch.func: rules for `grad` (and its relatives) and `vmap`.

A batch of `vmap` joins the batch axis of the neuron, which treats every element alike: one call
serves the whole stack. `jvp` has no rule, as backward has no derivative of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sj_kernels import launch
from sj_kernels.once import FORWARD_MESSAGE, MESSAGE

if TYPE_CHECKING:
    from sj_kernels._plan import Plan

Tensors = tuple[Tensor | None, ...]


def functional(
    plan: Plan,
    x: Tensor,
    v: float | Tensor | None,
    w: float | Tensor | None,
    decay: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Run a plan under the transforms of torch.func."""
    return _Forward.apply(plan, x, v, w, decay)


def _tensor(value: object) -> Tensor | None:
    return value if isinstance(value, Tensor) else None


def _fill(value: object) -> float:
    return value if isinstance(value, float) else 0.0


def _fold(value: Any, dim: int | None, axis: int, size: int, batched: bool) -> Any:
    """Bring the batch of vmap into `axis` and join it with the axis after it, if any."""
    if not isinstance(value, Tensor):
        return value
    value = value.movedim(dim, axis) if dim is not None else _repeat(value, axis, size)
    return value.flatten(axis, axis + 1) if batched else value


def _repeat(value: Tensor, axis: int, size: int) -> Tensor:
    shape = list(value.shape)
    return value.unsqueeze(axis).expand(*shape[:axis], size, *shape[axis:])


def _unfold(value: Tensor | None, axis: int, size: int, batched: bool) -> Tensor | None:
    return value.unflatten(axis, (size, -1)) if batched and value is not None else value


def _vmap(
    call: Any, plan: Plan, size: int, dims: tuple[int | None, ...], sequences: Tensors,
    states: tuple[Any, ...], decay: Tensor | None, decay_dim: int | None, outputs: int,
) -> tuple[Tensors, tuple[int | None, ...]]:  # fmt: skip
    # The axis for the batch: after time, in front of N.
    axis = 1 if plan.settings.multi_step else 0
    x, dim = sequences[-1], dims[len(sequences) - 1]
    assert x is not None
    rank = x.dim() - (dim is not None) - axis
    batched = rank > 0
    pairs = list(zip((*sequences, *states), dims, strict=True))
    folded = [
        _fold(value, d, axis if i < len(sequences) else 0, size, batched)
        for i, (value, d) in enumerate(pairs)
    ]
    results = call(folded[: len(sequences)], folded[len(sequences) :], decay)
    is_sequence = (True, False, False, True) if outputs == 4 else (True, False, False)
    unfolded = tuple(
        _unfold(value, axis if sequence else 0, size, batched)
        for value, sequence in zip(results, is_sequence, strict=False)
    )
    out_dims = tuple(
        None if value is None else (axis if sequence else 0)
        for value, sequence in zip(unfolded, is_sequence, strict=True)
    )
    return unfolded, out_dims


def _each(function: Any, size: int, dims: tuple[int | None, ...], args: tuple[Any, ...]) -> Any:
    """Serve a batch element by element: for a decay that differs within it."""
    columns = []
    for index in range(size):
        chosen = (a if d is None else a.select(d, index) for a, d in zip(args, dims, strict=True))
        columns.append(function(*chosen))
    outputs = tuple(
        None if column[0] is None else torch.stack(column) for column in zip(*columns, strict=True)
    )
    return outputs, tuple(None if o is None else 0 for o in outputs)


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(plan: Plan, x: Tensor, v: Any, w: Any, decay: Tensor | None) -> Any:
        return launch.forward(
            plan.settings, x, _tensor(v), _fill(v), _tensor(w), _fill(w), decay,
            plan.threshold, plan.scale,
        )  # fmt: skip

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        plan, x, v, w, decay = inputs
        ctx.set_materialize_grads(False)
        ctx.plan = plan
        ctx.fills = (_fill(v), _fill(w))
        ctx.save_for_backward(x, _tensor(v), _tensor(w), decay)

    @staticmethod
    def backward(
        ctx: Any, g_s: Any, g_v_next: Any, g_w_next: Any = None, g_v_seq: Any = None
    ) -> Any:
        x, v, w, decay = ctx.saved_tensors
        gradients = _Backward.apply(
            ctx.plan, g_s, g_v_seq, x, g_v_next, g_w_next, v, w, decay, *ctx.fills
        )
        g_x, g_v, g_w, g_decay = gradients
        return None, g_x, g_v, g_w, g_decay

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise NotImplementedError(FORWARD_MESSAGE)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], plan: Plan, x: Any, v: Any, w: Any, decay: Any
    ) -> Any:
        _, *dims = in_dims
        size = info.batch_size
        if dims[3] is not None:
            return _each(
                lambda *args: _Forward.apply(plan, *args), size, tuple(dims), (x, v, w, decay)
            )

        def call(sequences: Any, states: Any, decay: Any) -> Any:
            return _Forward.apply(plan, sequences[0], *states, decay)

        return _vmap(call, plan, size, tuple(dims[:3]), (x,), (v, w), decay, dims[3], 4)


class _Backward(torch.autograd.Function):
    @staticmethod
    def forward(
        plan: Plan, g_s: Any, g_v_seq: Any, x: Tensor, g_v_next: Any, g_w_next: Any,
        v: Any, w: Any, decay: Any, v_fill: float, w_fill: float,
    ) -> Any:  # fmt: skip
        return launch.backward(
            plan.settings, g_s, g_v_next, g_w_next, g_v_seq,
            x, v, v_fill, w, w_fill, decay, plan.threshold, plan.scale, decay is not None,
        )  # fmt: skip

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(MESSAGE)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], plan: Plan, *args: Any) -> Any:
        _, *dims = in_dims
        size = info.batch_size
        if args[7] is not None:
            # Each element of the batch has its own gradient of the decay.
            return _each(lambda *a: _Backward.apply(plan, *a), size, tuple(dims), args)
        fills = args[8:]

        def call(sequences: Any, states: Any, decay: Any) -> Any:
            return _Backward.apply(plan, *sequences, *states, decay, *fills)[:3]

        gradients, out_dims = _vmap(
            call, plan, size, tuple(dims[:7]), args[:3], args[3:7], None, None, 3
        )
        return (*gradients, None), (*out_dims, None)
