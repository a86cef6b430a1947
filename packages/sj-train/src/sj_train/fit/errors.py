"""What the command says when it is asked for something it cannot do."""

from __future__ import annotations

# Arguments of the command line that are no flags.
_POSITIONAL = {"run": "RUN"}


class ConfigError(ValueError):
    """A setting of a run that is out of its range.

    The message is one sentence: the setting in backticks, its value, the rule and the cure.

    Example:
        >>> error = ConfigError("time_steps", 0, "must be at least 1")
        >>> print(error)
        `time_steps` (=0) must be at least 1.
        >>> print(error.as_flag())
        `--time-steps` (=0) must be at least 1.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        self.field, self.value, self.rule = field, value, rule
        super().__init__(self._sentence(field))

    def _sentence(self, name: str) -> str:
        return f"`{name}` (={self.value}) {self.rule}."

    def as_flag(self) -> str:
        """The same sentence with the setting spelled as on the command line."""
        return self._sentence(_POSITIONAL.get(self.field) or "--" + self.field.replace("_", "-"))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, object, str]]:
        return type(self), (self.field, self.value, self.rule)


class RunError(RuntimeError):
    """A run folder that is missing, damaged or in the way."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory, of whichever device, is too small.

    Example:
        >>> out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 8 GiB."))
        True
    """
    # The CPU's allocator has no error of its own.
    words = ("out of memory", "allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(part in str(error).lower() for part in words)


def require(module: str, package: str, why: str) -> object:
    """Imports an optional module, or says which pip command brings it.

    Raises:
        ImportError: the package is not installed; the original error is chained.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{why} needs `{module}`: pip install {package}.") from error
