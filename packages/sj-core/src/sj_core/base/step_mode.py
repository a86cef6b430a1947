"""Step modes: whether a module takes one step or a sequence."""

from __future__ import annotations

STEP_MODES = ("s", "m")


class StepModule:
    """Mixin of every module that cares whether its input is one step or a sequence.

    ``step_mode`` is ``'s'`` (one step, ``x`` is ``(N, *)``) or ``'m'`` (a sequence, ``x`` is
    ``(T, N, *)``). Setting another value raises ``ValueError`` and changes nothing.

    >>> from sj_core.base import StepModule
    >>> module = StepModule()
    >>> module.step_mode = "m"
    >>> module.step_mode
    'm'
    """

    _step_mode: str = "s"

    def supported_step_mode(self) -> tuple[str, ...]:
        """The step modes this module can be set to."""
        return STEP_MODES

    def check_step_mode(self, step_mode: str) -> None:
        """Raise ``ValueError`` if this module cannot be set to ``step_mode``."""
        supported = self.supported_step_mode()
        if step_mode in supported:
            return
        name = type(self).__name__
        if step_mode not in STEP_MODES:
            raise ValueError(
                f"`step_mode` (={step_mode!r}) of {name} must be 's' (one step, `[N, *]`) or "
                "'m' (a sequence, `[T, N, *]`)."
            )
        raise ValueError(
            f"`step_mode` (={step_mode!r}) of {name} must be {supported[0]!r}: "
            f"{name} has no other step mode."
        )

    @property
    def step_mode(self) -> str:
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        self.check_step_mode(value)
        self._step_mode = value


class SingleModule(StepModule):
    """Mixin of a module that only takes one step at a time (``step_mode='s'``)."""

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("s",)


class MultiStepModule(StepModule):
    """Mixin of a module that only takes whole sequences (``step_mode='m'``)."""

    _step_mode = "m"

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("m",)
