"""What the command says when it is asked for something it cannot do."""

from __future__ import annotations

# Arguments of the command line that are no flags.
_POSITIONAL = {"run": "RUN"}


class ConfigError(ValueError):
    """A setting of a run that is out of its range.

    The message is one sentence: the setting in backticks, its value, the rule and the cure.
    `others` are the settings, in backticks too, that the rule speaks of.

    Example:
        >>> error = ConfigError("time_steps", 0, "must be at least 1")
        >>> print(error)
        `time_steps` (=0) must be at least 1.
        >>> print(error.as_flag())
        `--time-steps` (=0) must be at least 1.
    """

    def __init__(self, field: str, value: object, rule: str, *others: str) -> None:
        self.field, self.value, self.rule, self.others = field, value, rule, others
        super().__init__(f"`{field}` (={value}) {rule}.")

    def as_flag(self) -> str:
        """The same sentence with the settings spelled as on the command line."""
        rule = self.rule
        for name in self.others:
            rule = rule.replace(f"`{name}`", f"`{flag(name)}`")
        if isinstance(self.value, bool):
            # Such a flag is typed without a value.
            return f"`{flag(self.field, self.value)}` {rule}."
        return f"`{flag(self.field)}` (={self.value}) {rule}."

    def __reduce__(self) -> tuple[type[ConfigError], tuple[object, ...]]:
        return type(self), (self.field, self.value, self.rule, *self.others)


def flag(name: str, value: object = None) -> str:
    """A setting as it is typed.

    Example:
        >>> flag("v_reset"), flag("run"), flag("augment", False)
        ('--v-reset', 'RUN', '--no-augment')
    """
    no = "no-" if value is False else ""
    return _POSITIONAL.get(name) or f"--{no}{name.replace('_', '-')}"


class RunError(RuntimeError):
    """A run folder that is missing, damaged or in the way."""


class WriteError(OSError):
    """A file of a run that cannot be written, as on a disk that is full; the old one stays.

    Example:
        >>> print(WriteError(28, "No space left on device", "run/metrics.csv"))
        `run/metrics.csv` cannot be written (No space left on device).
    """

    def __str__(self) -> str:
        return f"`{self.filename}` cannot be written ({self.strerror})."


def system_says(error: OSError) -> str:
    """An error of the operating system as a sentence.

    Example:
        >>> print(system_says(FileNotFoundError(2, "No such file or directory", "x.npz")))
        `x.npz`: No such file or directory.
    """
    if isinstance(error, WriteError) or not error.strerror:
        return str(error)
    return f"`{error.filename}`: {error.strerror}." if error.filename else f"{error.strerror}."


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
