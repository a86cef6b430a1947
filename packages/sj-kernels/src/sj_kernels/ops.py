"""The fused neuron for torch: `neuron`, and `plan` for settings that stay.

In eager mode a call takes a thin `torch.autograd.Function` to the extension. Under torch.compile,
export, fake tensors and dispatch modes it takes `torch.ops.sj.neuron_forward`, whose backward is
`torch.ops.sj.neuron_backward`; under torch.func, functions with rules for its transforms. All run
the same kernels.
"""

from typing import Any

import torch
from torch import Tensor

from sj_kernels import registration as registration  # defines torch.ops.sj
from sj_kernels._plan import Plan
from sj_kernels.settings import Settings, check_no_gradient, number, numbers

_PLANS: dict[tuple[Any, ...], Plan] = {}


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
    check_no_gradient("v_threshold", v_threshold)
    check_no_gradient("output_scale", output_scale)
    settings = Settings(
        neuron,
        numbers("params", params),
        0.0 if isinstance(v_threshold, Tensor) else number("v_threshold", v_threshold),
        None if v_reset is None else number("v_reset", v_reset),
        surrogate,
        numbers("surrogate_params", surrogate_params),
        bool(detach_reset),
        bool(multi_step),
        bool(store_v_seq),
        1.0
        if output_scale is None or isinstance(output_scale, Tensor)
        else number("output_scale", output_scale),
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
        ValueError: an unknown neuron or surrogate, a state of another shape or device, a threshold
            or scale that requires grad.

    >>> x = torch.tensor([[0.6], [0.6], [0.6]])
    >>> s, v, _, _ = neuron(x, neuron="if")
    >>> s.flatten(), v
    (tensor([0., 1., 0.]), tensor([0.6000]))
    """
    key = (
        neuron,
        params,
        v_threshold,
        v_reset,
        surrogate,
        surrogate_params,
        detach_reset,
        multi_step,
        store_v_seq,
        output_scale,
    )
    kept = not (
        isinstance(v_threshold, Tensor)
        or isinstance(output_scale, Tensor)
        or torch.compiler.is_compiling()
    )
    try:
        call = _PLANS.get(key) if kept else None
    except TypeError:  # a list of parameters: served, not kept
        kept, call = False, None
    if call is None:
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
        if kept:
            if len(_PLANS) >= 4096:
                _PLANS.clear()
            _PLANS[key] = call
    return call(x, v, w, decay)
