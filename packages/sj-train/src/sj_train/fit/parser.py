"""What the command line looks like: the flags of `sj-train fit` are the fields of `FitConfig`."""

from __future__ import annotations

import argparse
import dataclasses
import re
from typing import Any, NoReturn

from sj_train.fit.config import FitConfig
from sj_train.fit.errors import flag


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, and to which -1e-3 is a number."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Before Python 3.14 it takes one with an exponent for a flag.
        number = r"^-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$|^-(inf|nan)$"
        self._negative_number_matcher = re.compile(number, re.IGNORECASE)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message.rstrip('.')}. See `{self.prog} --help`.\n")


def build_parser() -> Parser:
    """The parser of all subcommands; the flags of `fit` are the fields of `FitConfig`."""
    parser = Parser(prog="sj-train", description="Train spiking neural networks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fit = commands.add_parser(
        "fit",
        help="train a spiking network",
        description="Train a spiking network; the run folder gets the settings, metrics.csv, the"
        " best and the last checkpoint and a figure.",
        epilog="Example: sj-train fit --data digits --model cnn --neuron lif --time-steps 4"
        " --method bptt --epochs 20",
    )
    add_settings(fit)
    runs = fit.add_argument_group("run")
    runs.add_argument(
        "--output",
        "--out",
        metavar="RUN",
        dest="output",
        help="run folder (default: the next in runs/)",
    )
    runs.add_argument("--resume", metavar="RUN", help="go on with a run from its last checkpoint")
    runs.add_argument("--no-progress", action="store_true", help="no progress bar")
    evaluate = commands.add_parser(
        "eval",
        help="test a run again",
        description="Test the best checkpoint of a run: accuracy in total and after each time step,"
        " firing rate of each layer. The figures are also kept in RUN/eval.json; where nothing can"
        " be written there, a warning says so and the exit status is 0 all the same.",
    )
    evaluate.add_argument("run", metavar="RUN", help="run folder")
    evaluate.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or mps")
    convert = commands.add_parser(
        "convert",
        help="convert an ANN twin of a run",
        description="Train a network of ReLUs like the run's on the same data, convert it by"
        " sj-convert, and compare accuracy at each time step.",
    )
    convert.add_argument("run", metavar="RUN", help="run folder")
    convert.add_argument(
        "--time-steps", type=int, default=8, metavar="N", help="time steps (default: 8)"
    )
    convert.add_argument("--no-progress", action="store_true", help="no progress bar")
    commands.add_parser("info", help="versions, backends, instruction set, CUDA")
    return parser


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for every field of `FitConfig`; only those given reach the result."""
    groups: dict[str, Any] = {}
    for spec in dataclasses.fields(FitConfig):
        title = spec.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        shown = f"{spec.metadata['help']} (default: {_show(spec.default)})".replace("%", "%%")
        options: dict[str, Any] = {"help": shown, "default": argparse.SUPPRESS, "dest": spec.name}
        if isinstance(spec.default, bool):
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = _converter(spec)
            options["metavar"] = _metavar(spec)
        groups[title].add_argument("--" + spec.name.replace("_", "-"), **options)


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "auto" if value is None else str(value)


def typed(name: str, value: object) -> str:
    """A setting with its value as both are typed.

    Example:
        >>> typed("batch_size", None), typed("v_reset", None), typed("augment", False)
        ('--batch-size auto', '--v-reset none', '--no-augment')
    """
    if isinstance(value, bool):
        return flag(name, value)
    return f"{flag(name)} {'none' if name == 'v_reset' and value is None else _show(value)}"


def _kind(spec: dataclasses.Field[Any]) -> type:
    kind: type = spec.metadata.get("type", type(spec.default))
    return kind


def _metavar(spec: dataclasses.Field[Any]) -> str:
    if choices := spec.metadata.get("choices"):
        return "{" + ",".join(choices) + "}"
    return {int: "N", float: "X", str: "NAME"}[_kind(spec)]


def _converter(spec: dataclasses.Field[Any]) -> Any:
    kind = _kind(spec)

    def convert(text: str) -> Any:
        if "None" in str(spec.type) and text.lower() in ("none", "auto"):
            return None
        return kind(text)

    convert.__name__ = {int: "whole number", float: "number", str: "text"}[kind]
    return convert
