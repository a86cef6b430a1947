"""NIR's neurons by forward Euler in NumPy (float64), as its documentation writes them."""

import numpy as np
import torch

DT = 1e-4


def simulate(node, x, dt=DT):
    """One neuron node on `x` (T, N, n): the equations of NIR's documentation, step by step."""

    def get(name, default=0.0):
        value = getattr(node, name, None)
        value = default if value is None else value
        return np.asarray(value.numpy() if isinstance(value, torch.Tensor) else value, float)

    kind = type(node).__name__
    v = np.zeros(x.shape[1:]) + (get("v_leak") if kind not in ("IF", "I") else get("v_reset"))
    i = np.zeros(x.shape[1:])
    out = []
    for drive in x:
        if kind.startswith("Cuba"):
            i = i + dt / get("tau_syn") * (-i + get("w_in", 1.0) * drive)
            v = v + dt / get("tau_mem") * ((get("v_leak") - v) + get("r") * i)
        elif kind in ("I", "IF"):
            v = v + dt * get("r") * drive
        else:
            v = v + dt / get("tau") * ((get("v_leak") - v) + get("r") * drive)
        if hasattr(node, "v_threshold"):
            s = v >= get("v_threshold")
            v = np.where(s, get("v_reset"), v)
            out.append(s.astype(float))
        else:
            out.append(v)
    return np.stack(out)
