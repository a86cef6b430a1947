"""Modules over the step API, for use without sj-core: they hold V between calls."""

from typing import Any

import torch
from torch import Tensor, nn

from sj_kernels import geometry
from sj_kernels.neuron import forward as plain, functions
from sj_kernels.neuron.surrogates import surrogate_index


class BaseNode(nn.Module):
    """A neuron with its state in `v`: a number after `reset()`, a tensor after a call.

    `v_reset=None` means a soft reset. Training uses the autograd function, eval the plain forward.
    The state is kept between calls; call `reset()` between sequences.
    """

    _function: Any = None
    _hard: Any
    _soft: Any
    _multi_step = False

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: str = "ATan",
        alpha: float = 2.0,
        detach_reset: bool = False,
    ) -> None:
        super().__init__()
        self.grad_surrogate_function_index = surrogate_index(surrogate_function)
        self.v_threshold = float(v_threshold)
        self.v_reset = None if v_reset is None else float(v_reset)
        self.surrogate_function = surrogate_function
        self.alpha = float(alpha)
        self.detach_reset = detach_reset
        self.v: float | Tensor
        self.reset()

    def reset(self) -> None:
        """Forget the sequence: V is `v_reset` again, 0 for a soft reset."""
        self.v = 0.0 if self.v_reset is None else self.v_reset

    def _arguments(self) -> tuple[Any, ...]:
        return ()

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of `x`: `[*]`, for a multi-step node `[T, *]`."""
        cls = type(self)
        if cls._function is None:
            raise NotImplementedError(
                f"{cls.__name__} has no dynamics; use IFNode, LIFNode, MultiStepIFNode or "
                "MultiStepLIFNode."
            )
        if not isinstance(x, Tensor):
            raise TypeError(f"`x` (={x!r}) must be a tensor.")
        if not isinstance(self.v, Tensor):
            shape = x.shape[1:] if self._multi_step else x.shape
            state = geometry.state_dtype(x.dtype)
            self.v = torch.full(shape, self.v, dtype=state, device=x.device)
        if self.training:
            spike, self.v = cls._function.apply(
                x, self.v, self.v_threshold, self.v_reset, self.alpha, self.detach_reset,
                self.grad_surrogate_function_index, *self._arguments(),
            )  # fmt: skip
        elif self.v_reset is None:
            spike, self.v = cls._soft(x, self.v, self.v_threshold, *self._arguments())
        else:
            spike, self.v = cls._hard(x, self.v, self.v_threshold, self.v_reset, *self._arguments())
        return spike

    def extra_repr(self) -> str:
        return (
            f"v_threshold={self.v_threshold}, v_reset={self.v_reset}, "
            f"surrogate_function={self.surrogate_function!r}, alpha={self.alpha}, "
            f"detach_reset={self.detach_reset}"
        )

    def _apply(self, fn: Any, recurse: bool = True) -> "BaseNode":
        super()._apply(fn, recurse)
        if isinstance(self.v, Tensor):
            moved = fn(self.v)
            # .half() converts parameters; the state of half precision inputs stays float32.
            half = moved.dtype in (torch.float16, torch.bfloat16)
            self.v = moved.float() if half else moved
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Copies and pickles hold the value, not the graph.
        state = self.__dict__.copy()
        if isinstance(self.v, Tensor):
            state["v"] = self.v.detach().clone()
        return state


class IFNode(BaseNode):
    """Integrate-and-fire, one step per call: H = V + X.

    >>> node = IFNode().eval()
    >>> node(torch.tensor([0.6])), node(torch.tensor([0.6]))
    (tensor([0.]), tensor([1.]))
    """

    _function: Any = functions.IFStep
    _hard: Any = staticmethod(plain.IF_hard_reset_forward)
    _soft: Any = staticmethod(plain.IF_soft_reset_forward)


class MultiStepIFNode(BaseNode):
    """Integrate-and-fire, a sequence `[T, *]` per call."""

    _function: Any = functions.IFMultiStep
    _hard: Any = staticmethod(plain.IF_hard_reset_fptt)
    _soft: Any = staticmethod(plain.IF_soft_reset_fptt)
    _multi_step = True


class LIFNode(BaseNode):
    """Leaky integrate-and-fire, one step per call.

    H = V + (X - (V - v_reset))/tau; with `detach_input` H = V + X - (V - v_reset)/tau.
    Raises ValueError unless tau > 1.
    """

    _function: Any = functions.LIFStep
    _hard: Any = staticmethod(plain.LIF_hard_reset_forward)
    _soft: Any = staticmethod(plain.LIF_soft_reset_forward)

    def __init__(
        self,
        tau: float = 100.0,
        detach_input: bool = False,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: str = "ATan",
        alpha: float = 2.0,
        detach_reset: bool = False,
    ) -> None:
        super().__init__(v_threshold, v_reset, surrogate_function, alpha, detach_reset)
        if not tau > 1:
            raise ValueError(f"`tau` (={tau}) must be greater than 1.")
        self.tau = float(tau)
        self.detach_input = detach_input

    def _arguments(self) -> tuple[Any, ...]:
        return 1.0 / self.tau, self.detach_input

    def extra_repr(self) -> str:
        return f"tau={self.tau}, detach_input={self.detach_input}, {super().extra_repr()}"


class MultiStepLIFNode(LIFNode):
    """Leaky integrate-and-fire, a sequence `[T, *]` per call."""

    _function: Any = functions.LIFMultiStep
    _hard: Any = staticmethod(plain.LIF_hard_reset_fptt)
    _soft: Any = staticmethod(plain.LIF_soft_reset_fptt)
    _multi_step = True
