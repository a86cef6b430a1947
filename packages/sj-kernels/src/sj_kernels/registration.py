"""The registrations in the `sj` namespace: `neuron_forward` and its backward, `neuron_backward`."""

from typing import Any

import torch
from torch import Tensor

from sj_kernels import geometry, launch
from sj_kernels.once import MESSAGE
from sj_kernels.settings import Settings, native

_LIBRARY = torch.library.Library("sj", "DEF")

_SETTINGS = (
    "str neuron, float[] params, float v_threshold, float? v_reset, str surrogate, "
    "float[] surrogate_params, bool detach_reset, bool multi_step, bool store_v_seq, "
    "float output_scale"
)
_TENSORS = (
    "Tensor x, Tensor? v, float v_fill, Tensor? w, float w_fill, Tensor? decay, "
    "Tensor? threshold, Tensor? scale"
)
_LIBRARY.define(
    f"neuron_forward({_TENSORS}, {_SETTINGS}) -> (Tensor s, Tensor v_next, Tensor w_next, "
    "Tensor v_seq)"
)
_LIBRARY.define(
    "neuron_backward(Tensor? g_s, Tensor? g_v_next, Tensor? g_w_next, Tensor? g_v_seq, "
    f"{_TENSORS}, {_SETTINGS}, bool need_decay) -> (Tensor g_x, Tensor g_v, Tensor g_w, "
    "Tensor g_decay)"
)


def _settings(values: tuple[Any, ...]) -> Settings:
    neuron, params, v_threshold, v_reset, surrogate, surrogate_params, *rest = values
    return Settings(
        neuron,
        tuple(params),
        v_threshold,
        v_reset,
        surrogate,
        tuple(surrogate_params),
        *rest,
    )


def _present(outputs: tuple[Tensor | None, ...], x: Tensor) -> tuple[Tensor, ...]:
    # An op cannot return None: what is absent has no elements.
    return tuple(x.new_empty(0) if output is None else output for output in outputs)


# Arguments in the order of the schemas: 8 of _TENSORS, the settings; backward has the 4 incoming
# gradients before them and need_decay behind.


def _neuron_forward(x: Tensor, *args: Any) -> tuple[Tensor, ...]:
    return _present(launch.forward(_settings(args[7:]), x, *args[:7]), x)


def _neuron_forward_fake(x: Tensor, *args: Any) -> tuple[Tensor, ...]:
    chosen = _settings(args[7:])
    native(chosen)
    return _present(launch.forward_outputs(chosen, *geometry.geometry(x, chosen.multi_step)), x)


def _neuron_backward(*args: Any) -> tuple[Tensor, ...]:
    return _present(launch.backward(_settings(args[12:-1]), *args[:12], *args[-1:]), args[4])


def _neuron_backward_fake(*args: Any) -> tuple[Tensor, ...]:
    x, v, _, w, _, decay = args[4:10]
    *settings, need_decay = args[12:]
    dense, g = geometry.geometry(x, _settings(tuple(settings)).multi_step)
    g_v = None if v is None else geometry.empty_state(g)
    g_w = None if w is None else geometry.empty_state(g)
    g_decay = torch.empty_like(decay) if need_decay and decay is not None else None
    return _present((geometry.empty_sequence(dense, g), g_v, g_w, g_decay), x)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, v, v_fill, w, w_fill, decay, threshold, scale, *settings = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, v, w, decay, threshold, scale)
    ctx.fills = (v_fill, w_fill)
    ctx.settings = settings


def _backward(ctx: Any, g_s: Any, g_v_next: Any, g_w_next: Any, g_v_seq: Any) -> Any:
    x, v, w, decay, threshold, scale = ctx.saved_tensors
    v_fill, w_fill = ctx.fills
    store_v_seq, two_states = ctx.settings[8], ctx.settings[0] == "izhikevich"
    g_x, g_v, g_w, g_decay = torch.ops.sj.neuron_backward(
        g_s,
        g_v_next,
        g_w_next if two_states else None,
        g_v_seq if store_v_seq else None,
        x, v, v_fill, w, w_fill, decay, threshold, scale,
        *ctx.settings,
        ctx.needs_input_grad[5],
    )  # fmt: skip
    return (
        g_x,
        g_v if v is not None else None,
        None,
        g_w if w is not None else None,
        None,
        g_decay if ctx.needs_input_grad[5] else None,
        None,
        None,
        *(None for _ in ctx.settings),
    )


def _backward_of_backward(ctx: Any, *_: Any) -> Any:
    raise RuntimeError(MESSAGE)


for _name, _kernel, _fake in (
    ("neuron_forward", _neuron_forward, _neuron_forward_fake),
    ("neuron_backward", _neuron_backward, _neuron_backward_fake),
):
    for _key in ("CPU", "CUDA"):
        _LIBRARY.impl(_name, _kernel, _key)
    torch.library.register_fake(f"sj::{_name}", _fake, lib=_LIBRARY)
torch.library.register_autograd(
    "sj::neuron_forward", _backward, setup_context=_setup_context, lib=_LIBRARY
)
torch.library.register_autograd("sj::neuron_backward", _backward_of_backward, lib=_LIBRARY)
