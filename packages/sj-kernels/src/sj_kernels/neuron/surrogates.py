"""Surrogates by index, and the settings that the functions of the step API share."""

from sj_kernels.info import SURROGATES
from sj_kernels.settings import Settings, number

#: Name to index; the surrogates with one parameter, `alpha`.
surrogate_function_dict: dict[str, int] = {
    name: index for index, name in enumerate(SURROGATES) if len(SURROGATES[name]) == 1
}
_NAMES = list(surrogate_function_dict)


def surrogate_index(name: str) -> int:
    """Return the index of a surrogate.

    >>> surrogate_index("ATan")
    0
    """
    if name in surrogate_function_dict:
        return surrogate_function_dict[name]
    known = ", ".join(repr(name) for name in _NAMES)
    if name in SURROGATES:
        raise ValueError(
            f"`surrogate_function` (={name!r}) takes two parameters and is served by "
            f"`sj_kernels.ops.neuron`; here it must be one of {known}."
        )
    raise ValueError(f"`surrogate_function` (={name!r}) must be one of {known}.")


def settings(
    neuron: str,
    multi_step: bool,
    v_threshold: float,
    v_reset: float | None,
    reciprocal_tau: float = 1.0,
    detach_input: bool = False,
    *,
    alpha: float = 2.0,
    detach_reset: bool = False,
    index: int = 0,
    store_v_seq: bool = False,
) -> Settings:
    """Return the settings of the fused neuron for the arguments of the step API."""
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(_NAMES):
        pairs = ", ".join(f"{i} {name}" for i, name in enumerate(_NAMES))
        raise ValueError(
            f"`grad_surrogate_function_index` (={index!r}) must be the index of a surrogate with "
            f"one parameter: {pairs}; those with two are served by `sj_kernels.ops.neuron`."
        )
    v_reset = None if v_reset is None else number("v_reset", v_reset)
    params: tuple[float, ...] = ()
    if neuron == "lif":
        v_rest = 0.0 if v_reset is None else v_reset
        params = (number("reciprocal_tau", reciprocal_tau), v_rest, 0.0 if detach_input else 1.0)
    return Settings(
        neuron,
        params,
        number("v_threshold", v_threshold),
        v_reset,
        _NAMES[index],
        (number("alpha", alpha),),
        bool(detach_reset),
        multi_step,
        store_v_seq,
        1.0,
    )
