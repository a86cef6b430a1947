"""The neurons of NIR nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from sj_convert.nir.euler import EulerNode
from sj_convert.nir.extra import as_array, metadata_of, text
from sj_convert.nir.values import (
    in_double,
    near,
    rounded,
    time_constant,
    uniform,
)
from sj_core.neuron import CUBALIFNode, IFNode, LIFNode, NonSpikingLIFNode


def _is_soft(node: Any) -> bool:
    return text(metadata_of(node).get("reset", "")) == "soft"


def _start(node: Any, rest: Any) -> Any:
    given = metadata_of(node).get("v_start")
    return rest if given is None else as_array(given)


def _reset(node: Any) -> Any:
    if _is_soft(node):
        return None
    value = getattr(node, "v_reset", None)
    return np.zeros_like(as_array(node.v_threshold)) if value is None else as_array(value)


def _begin(module: Any, start: Any) -> Any:
    value = uniform(start)
    if value is not None:
        module.register_memory("v", value)
    return module


def lif(node: Any, dt: float) -> nn.Module:
    leak, seconds = as_array(node.v_leak), time_constant(node, "tau", dt)
    tau, r, rest = (uniform(v) for v in (seconds / dt, node.r, leak))
    spikes = hasattr(node, "v_threshold")
    reset = _reset(node) if spikes else None
    start = _start(node, leak)
    theta = uniform(node.v_threshold) if spikes else 1.0
    hard = None if reset is None else uniform(reset)
    same = None not in (tau, r, rest, theta, uniform(start)) and (reset is None or hard is not None)
    if same and tau is not None and r is not None and rest is not None and theta is not None:
        double = in_double(node.tau, node.r)
        tau = rounded(tau, double)
        decays = near(r, 1.0, double)
        if tau > 1 and (decays or near(r, tau, double)):
            default = 0.0 if hard is None else hard
            v_rest = None if rest == default else rest
            if spikes:
                return _begin(LIFNode(tau, decays, theta, hard, v_rest=v_rest), start)
            decode = metadata_of(node).get("decode")
            decode = None if decode is None else text(decode)
            return _begin(
                NonSpikingLIFNode(tau, decays, decode, v_reset=None, v_rest=v_rest), start
            )
    return EulerNode(
        leak_rate=dt / seconds,
        gain=as_array(node.r),
        v_leak=leak,
        v_threshold=as_array(node.v_threshold) if spikes else None,
        v_reset=reset,
        start=start,
    )


def integrator(node: Any, dt: float) -> nn.Module:
    gain = as_array(node.r) * dt
    spikes = hasattr(node, "v_threshold")
    reset = _reset(node) if spikes else None
    start = _start(node, 0.0 if reset is None else reset)
    values = [uniform(gain), uniform(start)]
    if spikes:
        theta, hard = uniform(node.v_threshold), None if reset is None else uniform(reset)
        whole = None not in values and theta is not None and (reset is None or hard is not None)
        if whole and theta is not None and near(float(gain.flat[0]), 1.0, in_double(node.r)):
            return _begin(IFNode(theta, hard), start)
    theta_array = as_array(node.v_threshold) if spikes else None
    return EulerNode(gain=gain, v_threshold=theta_array, v_reset=reset, start=start)


def cuba(node: Any, dt: float) -> nn.Module:
    leak = as_array(node.v_leak)
    current_rate, leak_rate = (
        dt / time_constant(node, name, dt) for name in ("tau_syn", "tau_mem")
    )
    r, w_in = as_array(node.r), as_array(node.w_in)
    spikes = hasattr(node, "v_threshold")
    reset = _reset(node) if spikes else None
    start = _start(node, leak)
    if spikes:
        scalars = [
            uniform(v)
            for v in (current_rate, leak_rate, r * leak_rate, w_in * current_rate, leak, start)
        ]
        theta, hard = uniform(node.v_threshold), None if reset is None else uniform(reset)
        if None not in scalars and theta is not None and (reset is None or hard is not None):
            c, m, gain, drive, rest = (float(v or 0.0) for v in scalars[:5])
            double = in_double(node.tau_syn, node.tau_mem, node.r, node.w_in)
            same = near(gain, 1, double) and near(drive, 1, double)
            if same and rest == 0 and c <= 1 and m <= 1:
                c_decay, v_decay = (rounded(1 - rate, double) for rate in (c, m))
                return _begin(CUBALIFNode(c_decay, v_decay, theta, hard), start)
    return EulerNode(
        current_rate=current_rate,
        w_in=w_in,
        leak_rate=leak_rate,
        gain=r,
        v_leak=leak,
        v_threshold=as_array(node.v_threshold) if spikes else None,
        v_reset=reset,
        start=start,
    )
