"""What was compiled, and what is in use."""

from typing import Any

import torch

from sj_kernels import _ext

# Each neuron with its parameters, in the order of `params`.
NEURONS: dict[str, tuple[str, ...]] = {
    "if": (),
    "lif": ("reciprocal_tau", "v_rest", "decay_input"),
    "plif": ("v_rest", "decay_input"),
    "qif": ("reciprocal_tau", "v_c", "a0", "v_rest"),
    "eif": ("reciprocal_tau", "delta_T", "theta_rh", "v_rest"),
    "izhikevich": (
        "reciprocal_tau",
        "v_c",
        "a0",
        "v_rest",
        "reciprocal_tau_w",
        "a",
        "b",
    ),
}

# Each surrogate with its parameters, in the order of `surrogate_params`; the position is the index
# of the extension (include/sj/surrogate.hpp).
SURROGATES: dict[str, tuple[str, ...]] = {
    "ATan": ("alpha",),
    "Sigmoid": ("alpha",),
    "PiecewiseQuadratic": ("alpha",),
    "PiecewiseExp": ("alpha",),
    "SoftSign": ("alpha",),
    "SuperSpike": ("alpha",),
    "NonzeroSignLogAbs": ("alpha",),
    "Erf": ("alpha",),
    "QPseudoSpike": ("alpha",),
    "FakeNumericalGradient": ("alpha",),
    "LogTailedReLU": ("alpha",),
    "Rect": ("alpha",),
    "PiecewiseLeakyReLU": ("w", "c"),
    "SquarewaveFourierSeries": ("n", "T_period"),
    "S2NN": ("alpha", "beta"),
    "LeakyKReLU": ("leak", "k"),
}

DTYPES: dict[torch.dtype, int] = {
    torch.float32: 0,
    torch.float64: 1,
    torch.float16: 2,
    torch.bfloat16: 3,
}


def combinations() -> dict[str, frozenset[str]]:
    """Tell what the kernels serve: any neuron with any surrogate, reset, dtype and device.

    >>> sorted(combinations()["reset"])
    ['hard', 'soft']
    """
    devices = {"cpu", "cuda"} if _ext.build()["cuda"] else {"cpu"}
    return {
        "neuron": frozenset(NEURONS),
        "surrogate": frozenset(SURROGATES),
        "reset": frozenset({"hard", "soft"}),
        "dtype": frozenset(str(dtype).removeprefix("torch.") for dtype in DTYPES),
        "device": frozenset(devices),
    }


def build_info() -> dict[str, Any]:
    """Tell version, compilers, CUDA version and architectures, instruction set and threads.

    >>> build_info()["isa"] in build_info()["isa_available"]
    True
    """
    return {
        **_ext.build(),
        "isa": _ext.isa_in_use(),
        "isa_available": _ext.isa_available(),
        "parallel_backend": _ext.parallel_backend(),
        "threads": torch.get_num_threads(),
    }
