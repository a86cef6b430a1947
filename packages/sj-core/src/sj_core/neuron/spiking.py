"""What every neuron has, with a membrane potential or without."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from sj_core import backend as _backend, surrogate
from sj_core.base import MemoryModule


class SpikingNode(MemoryModule):
    """What every neuron has: a surrogate function, a backend, a step mode.

    Monitors and `functional.set_backend` find neurons by this class. The neurons with a membrane
    potential are `BaseNode`; the parallel ones (`PSN`) have none.

    Errors: ValueError for an unknown `step_mode` or `backend`, or a backend that cannot run the
    node; ImportError for `backend='native'` without sj-kernels; TypeError for a surrogate that is
    no module.

    Example:
        >>> from sj_core.neuron import LIFNode, PSN, SpikingNode
        >>> isinstance(LIFNode(), SpikingNode) and isinstance(PSN(T=4), SpikingNode)
        True
    """

    native_name: ClassVar[str | None] = None
    #: Told once, for torch.compile need not see how: see `backend.computes_settings`.
    computes_settings: ClassVar[bool] = False
    takes_tensors_only = True
    surrogate_function: nn.Module

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.computes_settings = _backend.computes_settings(cls)

    def __init__(
        self, surrogate_function: nn.Module | None, step_mode: str, backend: str = "auto"
    ) -> None:
        super().__init__(step_mode)
        if surrogate_function is None:
            surrogate_function = surrogate.Sigmoid()
        if not isinstance(surrogate_function, nn.Module):
            raise TypeError(
                f"`surrogate_function` (={surrogate_function!r}) must be a module, for example "
                "`surrogate.ATan()`; call a function of your own in the `forward` of an "
                "`nn.Module`."
            )
        self.surrogate_function = surrogate_function
        self.backend = backend

    @property
    def backend(self) -> str:
        """'torch', 'native' or 'auto'."""
        return self._backend

    @backend.setter
    def backend(self, value: str) -> None:
        _backend.check_backend(self, value)
        self._backend = value

    def _slow_forward(self, *args: Any, **kwargs: Any) -> Any:
        # torch calls this in place of `forward` while `torch.jit.trace`, or an ONNX export by it,
        # records torch's operations. It sees none of a kernel but the empty tensor it fills.
        chosen = self._backend
        if chosen == "native":
            raise RuntimeError(
                f"`backend` (='native') cannot run {type(self).__name__} under `torch.jit.trace`, "
                "which records torch's own operations only: set `backend='auto'` or "
                "`backend='torch'`."
            )
        self._backend = "torch"
        try:
            return super()._slow_forward(*args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            self._backend = chosen

    def resolve_backend(self, x: Tensor) -> str:
        """'torch' or 'native': which would run an input like `x` now."""
        return _backend.resolve(self, x)
