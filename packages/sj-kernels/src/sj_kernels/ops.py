"""The fused neuron for torch: `neuron`, `plan`, and all registrations in the `sj` namespace.

In eager mode a call takes a thin `torch.autograd.Function` to the extension. Under torch.compile,
export, fake tensors, dispatch modes and torch.func it takes `torch.ops.sj.neuron_forward`, whose
backward is `torch.ops.sj.neuron_backward`. Both run the same kernels.
"""

from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active, _len_torch_dispatch_stack

from sj_kernels import launch
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


def _neuron_forward(x, v, v_fill, w, w_fill, decay, threshold, scale, *settings):
    outputs = launch.forward(_settings(settings), x, v, v_fill, w, w_fill, decay, threshold, scale)
    return _present(outputs, x)


def _neuron_forward_fake(x, v, v_fill, w, w_fill, decay, threshold, scale, *settings):
    chosen = _settings(settings)
    native(chosen)
    return _present(launch.forward_outputs(chosen, launch.geometry(x, chosen.multi_step)), x)


def _neuron_backward(
    g_s,
    g_v_next,
    g_w_next,
    g_v_seq,
    x,
    v,
    v_fill,
    w,
    w_fill,
    decay,
    threshold,
    scale,
    *rest,
):
    *settings, need_decay = rest
    gradients = launch.backward(
        _settings(tuple(settings)),
        g_s, g_v_next, g_w_next, g_v_seq,
        x, v, v_fill, w, w_fill, decay, threshold, scale,
        need_decay,
    )  # fmt: skip
    return _present(gradients, x)


def _neuron_backward_fake(
    g_s,
    g_v_next,
    g_w_next,
    g_v_seq,
    x,
    v,
    v_fill,
    w,
    w_fill,
    decay,
    threshold,
    scale,
    *rest,
):
    *settings, need_decay = rest
    g = launch.geometry(x, _settings(tuple(settings)).multi_step)

    def one_step(state: Tensor | None) -> Tensor | None:
        if state is None:
            return None
        return torch.empty_strided(g.shape, g.strides, dtype=g.state, device=x.device)

    g_decay = torch.empty_like(decay) if need_decay and decay is not None else None
    return _present((torch.empty_like(g.x), one_step(v), one_step(w), g_decay), x)


def _setup_context(ctx, inputs, output):
    x, v, v_fill, w, w_fill, decay, threshold, scale, *settings = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, v, w, decay, threshold, scale)
    ctx.fills = (v_fill, w_fill)
    ctx.settings = settings


def _backward(ctx, g_s, g_v_next, g_w_next, g_v_seq):
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


class _Fused(torch.autograd.Function):
    """The eager path: the same kernels with less dispatch around them."""

    @staticmethod
    def forward(ctx, plan, x, v, w, decay):
        ctx.set_materialize_grads(False)
        ctx.plan = plan
        ctx.fills = fills = (
            v if isinstance(v, float) else 0.0,
            w if isinstance(w, float) else 0.0,
        )
        v = v if isinstance(v, Tensor) else None
        w = w if isinstance(w, Tensor) else None
        ctx.save_for_backward(x, v, w, decay)
        return launch.forward(
            plan.settings,
            x,
            v,
            fills[0],
            w,
            fills[1],
            decay,
            plan.threshold,
            plan.scale,
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_s, g_v_next, g_w_next, g_v_seq):
        x, v, w, decay = ctx.saved_tensors
        plan = ctx.plan
        g_x, g_v, g_w, g_decay = launch.backward(
            plan.settings,
            g_s, g_v_next, g_w_next, g_v_seq,
            x, v, ctx.fills[0], w, ctx.fills[1], decay, plan.threshold, plan.scale,
            ctx.needs_input_grad[4],
        )  # fmt: skip
        return None, g_x, g_v, g_w, g_decay


class Plan:
    """A neuron's settings, checked once: call it with `(x, v, w, decay)` at every step.

    Arguments and returns of a call are those of `neuron`. Make it with `plan`.
    """

    __slots__ = ("scale", "settings", "threshold")

    def __init__(self, settings: Settings, threshold: Tensor | None, scale: Tensor | None) -> None:
        if not torch.compiler.is_compiling():  # there the op's fake kernel checks
            native(settings)
        self.settings = settings
        self.threshold = threshold
        self.scale = scale

    def __reduce__(self):
        return Plan, (self.settings, self.threshold, self.scale)

    def __repr__(self) -> str:
        return f"Plan({self.settings})"

    def __call__(
        self,
        x: Tensor,
        v: float | Tensor = 0.0,
        w: float | Tensor | None = None,
        decay: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        if (
            torch.compiler.is_compiling()
            or type(x) not in _PLAIN
            or _are_functorch_transforms_active()
            or _len_torch_dispatch_stack()
            or x.is_meta
        ):
            return self._registered(x, v, w, decay)
        if x.device.type not in ("cpu", "cuda"):
            raise ValueError(f"`x` (on {x.device}) must be on a CPU or a CUDA device.")
        if torch.is_grad_enabled() and (
            x.requires_grad
            or (isinstance(v, Tensor) and v.requires_grad)
            or (decay is not None and decay.requires_grad)
            or (isinstance(w, Tensor) and w.requires_grad)
        ):
            return _Fused.apply(self, x, _float(v), _float(w), decay)
        v_fill, v = _split(v)
        w_fill, w = _split(w)
        return launch.forward(
            self.settings, x, v, v_fill, w, w_fill, decay, self.threshold, self.scale
        )

    def _registered(self, x, v, w, decay):
        v_fill, v = _split(v)
        w_fill, w = _split(w)
        s, v_next, w_next, v_seq = torch.ops.sj.neuron_forward(
            x, v, v_fill, w, w_fill, decay, self.threshold, self.scale, *self.settings
        )
        return (
            s,
            v_next,
            w_next if self.settings.neuron == "izhikevich" else None,
            v_seq if self.settings.store_v_seq else None,
        )


_PLAIN = (Tensor, torch.nn.Parameter)


def _float(value: float | Tensor | None) -> float | Tensor | None:
    return float(value) if isinstance(value, int) else value


def _split(value: float | Tensor | None) -> tuple[float, Tensor | None]:
    if isinstance(value, Tensor):
        return 0.0, value
    return (0.0 if value is None else float(value)), None


def plan(
    *,
    neuron: str,
    params: tuple[float, ...] = (),
    v_threshold: float | Tensor = 1.0,
    v_reset: float | None = 0.0,
    surrogate: str = "Sigmoid",
    surrogate_params: tuple[float, ...] = (4.0,),
    detach_reset: bool = False,
    multi_step: bool = True,
    store_v_seq: bool = False,
    output_scale: float | Tensor | None = None,
) -> Plan:
    """Check the settings of a neuron once and return the `Plan` to call at every step.

    The arguments are those of `neuron`; a change of one needs a new plan.

    >>> lif = plan(neuron="lif", params=(0.5, 0.0, 1.0), multi_step=False)
    >>> s, v, _, _ = lif(torch.tensor([1.0, 3.0]))
    >>> s, v
    (tensor([0., 1.]), tensor([0.5000, 0.0000]))
    """
    settings = Settings(
        neuron,
        tuple(params),
        0.0 if isinstance(v_threshold, Tensor) else float(v_threshold),
        None if v_reset is None else float(v_reset),
        surrogate,
        tuple(surrogate_params),
        bool(detach_reset),
        bool(multi_step),
        bool(store_v_seq),
        1.0 if output_scale is None or isinstance(output_scale, Tensor) else float(output_scale),
    )
    return Plan(
        settings,
        v_threshold if isinstance(v_threshold, Tensor) else None,
        output_scale if isinstance(output_scale, Tensor) else None,
    )


def neuron(
    x: Tensor,
    v: float | Tensor = 0.0,
    w: float | Tensor | None = None,
    *,
    neuron: str,
    params: tuple[float, ...] = (),
    v_threshold: float | Tensor = 1.0,
    v_reset: float | None = 0.0,
    surrogate: str = "Sigmoid",
    surrogate_params: tuple[float, ...] = (4.0,),
    detach_reset: bool = False,
    multi_step: bool = True,
    decay: Tensor | None = None,
    store_v_seq: bool = False,
    output_scale: float | Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    r"""Run a spiking neuron over one step or a whole sequence, in one kernel.

    For every step, with H the charged potential, S the spike, V the potential after reset:

    .. math::
        H = f(V, X), \quad S = \Theta(H - v_{th}), \quad
        V \leftarrow S v_{reset} + (1 - S) H \;\text{(hard)} \quad\text{or}\quad
        V \leftarrow H - S v_{th} \;\text{(soft, `v_reset=None`)}

    In backward the surrogate's derivative stands for that of :math:`\Theta`; with `detach_reset`
    the S of the reset carries no gradient. Nothing but `x` and the initial states is kept for it.

    Args:
        x: `[T, *]` if `multi_step` else `[*]`; float16, bfloat16, float32 or float64, on a CPU or
            CUDA device, of any layout. Dense layouts with time outermost are not copied.
        v: initial V: a number, or a tensor of the shape of one step; float32 for half precision
            inputs, else of x's dtype.
        w: the second state of 'izhikevich', as `v`.
        neuron: 'if', 'lif', 'plif', 'qif', 'eif' or 'izhikevich'.
        params: its parameters, see `sj_kernels.info.NEURONS`; for 'lif'
            `(1/tau, v_rest, decay_input)`.
        v_threshold: a number or a tensor `[C]`, one per channel (axis 1 of one step).
        surrogate: class name of `sj_core.surrogate`, with `surrogate_params` in the order of its
            constructor.
        decay: for 'plif', a tensor with one element that holds 1/tau; gets a gradient.
        store_v_seq: also return V after every step.
        output_scale: spikes have this value in place of 1 (a number or a tensor `[C]`).

    Returns:
        `(spikes, v_next, w_next or None, v_seq or None)`; spikes have the dtype and layout of x,
        the others the dtype of the state.

    Raises:
        TypeError: a dtype that is not served.
        ValueError: an unknown neuron or surrogate, a state of another shape or device.

    >>> x = torch.tensor([[0.6], [0.6], [0.6]])
    >>> s, v, _, _ = neuron(x, neuron="if")
    >>> s.flatten(), v
    (tensor([0., 1., 0.]), tensor([0.6000]))
    """
    call = plan(
        neuron=neuron,
        params=params,
        v_threshold=v_threshold,
        v_reset=v_reset,
        surrogate=surrogate,
        surrogate_params=surrogate_params,
        detach_reset=detach_reset,
        multi_step=multi_step,
        store_v_seq=store_v_seq,
        output_scale=output_scale,
    )
    return call(x, v, w, decay)
