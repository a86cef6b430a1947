"""All settings of a training run, as data: the command line is made from these fields."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sj_train.fit.errors import ConfigError, RunError
from sj_train.fit.history import write_json

ONLINE = ("ottt", "sltt", "fptt")
METHODS = ("bptt", "tet", *ONLINE)
MODELS = ("mlp", "cnn", "vgg", "resnet", "rnn")
ENCODERS = ("direct", "poisson", "latency")
OPTIMIZERS = ("adamw", "sgd")
BACKENDS = ("auto", "torch", "native")
PRECISIONS = ("32", "16-mixed", "bf16-mixed", "64")


def _opt(default: Any, group: str, help: str, **meta: Any) -> Any:
    return field(default=default, metadata={"group": group, "help": help, **meta})


@dataclass
class FitConfig:
    """Settings of one run of `sj-train fit`; each field is a flag of the same name.

    Raises:
        ConfigError: a value is out of its range; the sentence names the field.

    Example:
        >>> config = FitConfig(time_steps=8)
        >>> config.time_steps, config.model
        (8, 'cnn')
        >>> FitConfig.from_dict(config.to_dict()) == config
        True
    """

    data: str = _opt(
        "digits",
        "data",
        "digits, mnist, fashion-mnist, cifar10, nmnist, dvs128-gesture, shd, an .npz file with x"
        " and y, or a folder with one sub-folder of images per class",
    )
    data_path: str = _opt("data", "data", "where the named data sets other than digits are stored")
    image_size: int = _opt(0, "data", "resize the images of a folder to this size (0: as they are)")
    batch_size: int | None = _opt(
        None,
        "data",
        "samples per batch and device; auto: 16 of fewer than 10,000 samples, else 128",
        type=int,
    )
    workers: int = _opt(0, "data", "processes that load data")
    augment: bool = _opt(True, "data", "shift training images at random by up to an eighth")
    encoder: str = _opt("direct", "data", "how an image becomes a sequence", choices=ENCODERS)
    time_steps: int = _opt(4, "data", "time steps T")

    model: str = _opt("cnn", "network", "architecture", choices=MODELS)
    width: int = _opt(0, "network", "channels of the first layer, units of an mlp (0: the usual)")
    neuron: str = _opt("lif", "network", "spiking neuron")
    tau: float = _opt(2.0, "network", "membrane time constant, in steps, above 1")
    v_threshold: float = _opt(1.0, "network", "firing threshold")
    v_reset: float | None = _opt(0.0, "network", "reset voltage; none: subtract the threshold")
    detach_reset: bool = _opt(True, "network", "keep the reset out of the gradient")
    surrogate: str = _opt("atan", "network", "surrogate gradient: atan, sigmoid, ...")
    backend: str = _opt("auto", "network", "what runs the neurons", choices=BACKENDS)

    method: str = _opt("bptt", "training", "learning rule", choices=METHODS)
    epochs: int = _opt(20, "training", "passes over the training data")
    optimizer: str = _opt("adamw", "training", "optimizer", choices=OPTIMIZERS)
    lr: float = _opt(2e-3, "training", "peak learning rate (warm-up, then a cosine to zero)")
    weight_decay: float = _opt(1e-2, "training", "weight decay")
    clip: float = _opt(0.0, "training", "largest gradient norm (0: no limit)")
    tet_lambda: float = _opt(0.05, "training", "tet: weight of the regulariser")
    fptt_alpha: float = _opt(0.5, "training", "fptt: weight of the pull to the running average")
    sltt_k: int = _opt(0, "training", "sltt: steps with a gradient (0: all)")
    online: bool = _opt(False, "training", "ottt, sltt: an optimizer step at each time step")

    precision: str = _opt("32", "machine", "arithmetic", choices=PRECISIONS)
    compile: bool = _opt(False, "machine", "compile the network by torch.compile")
    device: str = _opt("auto", "machine", "auto, cpu, cuda or mps")
    devices: int = _opt(1, "machine", "devices, one process each")
    strategy: str = _opt("auto", "machine", "strategy of Lightning: auto, ddp, fsdp, ...")
    seed: int = _opt(0, "machine", "seed of weights, order of samples and all random streams")

    def __post_init__(self) -> None:
        for name, low in _AT_LEAST.items():
            if getattr(self, name) is not None:
                self._check(name, f"must be at least {low}", partial(operator.le, low))
        for spec in dataclasses.fields(self):
            if isinstance(getattr(self, spec.name), int):
                # No size, and no counter of torch's, goes further.
                most = 2**64 if spec.name == "seed" else 2**63
                rule = f"must be below 2**{most.bit_length() - 1}"
                self._check(spec.name, rule, partial(operator.gt, most))
        for name in ("lr", "v_threshold", "fptt_alpha"):
            self._check(name, "must be positive", lambda v: v > 0)
        self._check("tau", "must be greater than 1", lambda v: v > 1)
        self._check("tet_lambda", "must lie in [0, 1]", lambda v: 0 <= v <= 1)
        if self.v_reset is not None:
            rule = f"must be below `v_threshold` (={self.v_threshold})"
            self._check("v_reset", rule, lambda v: v < self.v_threshold, "v_threshold")
        for spec in dataclasses.fields(self):
            if choices := spec.metadata.get("choices"):
                rule = "must be one of " + ", ".join(choices)
                self._check(spec.name, rule, partial(operator.contains, choices))
        if self.sltt_k > self.time_steps:
            rule = f"must not exceed `time_steps` (={self.time_steps})"
            raise ConfigError("sltt_k", self.sltt_k, rule, "time_steps")

        if self.batch_size == 1 and self.needs_two_samples():
            rule = "must be at least 2: BatchNorm needs more than one value in training"
            raise ConfigError("batch_size", 1, rule)
        if self.method in ONLINE:
            # These rules call backward themselves, several times per batch.
            for name, kept in (("clip", 0), ("devices", 1)):
                self._check(name, f"must be {kept} for {self.method}", partial(operator.eq, kept))
            rule = f"must be off for {self.method}, which steps through time by itself"
            self._check("compile", rule, operator.not_)
            rule = f"must be 32, bf16-mixed or 64 for {self.method}, which scales no gradients"
            self._check("precision", rule, lambda v: v != "16-mixed")

    def _check(self, name: str, rule: str, holds: Callable[[Any], bool], *others: str) -> None:
        value = getattr(self, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(name, value, f"{rule} and finite", *others)
        if not holds(value):
            raise ConfigError(name, value, rule, *others)

    def needs_two_samples(self) -> bool:
        """Whether BatchNorm sees a single time step at once, so that one sample is no batch."""
        return self.model != "rnn" and (self.time_steps == 1 or self.method in ONLINE)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FitConfig:
        """The settings from what `to_dict` gave; unknown names are an error."""
        known = {spec.name: spec for spec in dataclasses.fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ConfigError(name, value, "is not a setting of this version")
            if not _fits(value, known[name]):
                raise ConfigError(name, value, f"must be of the type {known[name].type}")
        return cls(**values)

    def save(self, path: Path) -> None:
        """Writes the settings as JSON, to a temporary file that is renamed."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> FitConfig:
        """Reads what `save` wrote.

        Raises:
            RunError: no such file, or it does not hold the settings of a run.
        """
        try:
            values = json.loads(path.read_text())
            if not isinstance(values, dict):
                raise ValueError("it holds no settings")
            return cls.from_dict(values)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RunError(f"`{path}` is missing: `{path.parent}` is no run folder.") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunError(
                f"`{path}` cannot be read ({reason}): name a folder that `sj-train fit` has made,"
                " with its settings in that file."
            ) from error
        except ValueError as error:
            raise RunError(f"`{path}` is damaged: {str(error).rstrip('.')}.") from error


def _fits(value: Any, spec: dataclasses.Field[Any]) -> bool:
    kinds = {"int": int, "float": (int, float), "str": str, "bool": bool, "None": type(None)}
    names = str(spec.type).split(" | ")
    if isinstance(value, bool):
        return "bool" in names
    return any(isinstance(value, kinds[name]) for name in names)


_AT_LEAST = {
    "time_steps": 1,
    "epochs": 1,
    "batch_size": 1,
    "devices": 1,
    "workers": 0,
    "width": 0,
    "image_size": 0,
    "sltt_k": 0,
    "seed": 0,
    "weight_decay": 0,
    "clip": 0,
}
