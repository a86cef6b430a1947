"""The command line of sj-train: parsing and messages; the work is done elsewhere."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sj_train._interrupt import INTERRUPTED, last_words
from sj_train.fit.config import FitConfig
from sj_train.fit.errors import ConfigError, RunError


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the exit status is 0, 2 for bad arguments, 1 for other failures."""
    parser = build_parser()
    args = parser.parse_args(argv)
    command = f"{parser.prog} {args.command}"
    last_words(f"{command}: error: interrupted.")
    try:
        return int(COMMANDS[args.command](args))
    except ConfigError as error:
        return _complain(command, error.as_flag(), 2)
    except RunError as error:
        return _complain(command, str(error), 2)
    except ImportError as error:
        return _complain(command, str(error), 2)
    except (FloatingPointError, OSError) as error:
        return _complain(command, str(error), 1)
    except KeyboardInterrupt:
        return _complain(command, "interrupted.", INTERRUPTED)


def _complain(command: str, message: str, status: int) -> int:
    print(f"{command}: error: {message}", file=sys.stderr)
    return status


def _stopped(cure: str, stop: BaseException) -> int:
    last_words("")
    print(f"\nStopped. {cure}", file=sys.stderr)
    return int(getattr(stop, "code", INTERRUPTED))


def _go_on(command: str, run: Path, *rest: object) -> str:
    # A name that begins with a dash would be taken for a flag.
    folder = f"./{run}" if str(run).startswith("-") else str(run)
    cure = "Go on with: " + shlex.join([*command.split(), folder, *map(str, rest)])
    last_words(f"Stopped. {cure}")
    return cure


def _run_folder(name: str, given: str) -> Path:
    if not given:
        raise ConfigError(name, given, "must name the folder of a run")
    return Path(given)


def run_fit(args: argparse.Namespace) -> int:
    """`sj-train fit`."""
    values = {k: v for k, v in vars(args).items() if k in FitConfig.__dataclass_fields__}
    if args.resume is not None:
        run = _run_folder("resume", args.resume)
        _go_on("sj-train fit --resume", run)
        config = resumed_config(run, values, args.output)
    else:
        config = FitConfig(**values)
    from sj_train.fit import run as runs

    module, data = runs.build(config)
    if args.resume is None:
        run = runs.new_run(config, args.output)
    cure = _go_on("sj-train fit --resume", run)
    try:
        results = runs.fit(
            module, data, run, resume=args.resume is not None, progress=not args.no_progress
        )
    except (runs.Interrupted, KeyboardInterrupt) as stop:
        return _stopped(cure, stop)
    except ConnectionError as error:
        return _complain("sj-train fit", f"{error} {cure}", 1)
    if not module.trainer.is_global_zero:
        return 0
    print(
        f"test accuracy {100 * results['test_accuracy']:.2f} % at T={config.time_steps}"
        f" (epoch {results['best_epoch']}, firing rate {results['firing_rate']:.3f},"
        f" trained in {results['seconds']:.0f} s)\nfigure: {run / 'figure.png'}"
    )
    return 0


def run_eval(args: argparse.Namespace) -> int:
    """`sj-train eval RUN`."""
    from sj_train.fit import evaluate, run as runs

    folder = _run_folder("run", args.run)
    try:
        results = evaluate.evaluate(folder, args.device)
    except runs.Interrupted as stop:
        last_words("")
        return _complain("sj-train eval", "interrupted.", stop.code)
    print(evaluate.report(results), flush=True)
    if complaint := evaluate.keep(results, folder):
        print(f"sj-train eval: warning: {complaint}", file=sys.stderr)
    return 0


def run_convert(args: argparse.Namespace) -> int:
    """`sj-train convert RUN`."""
    run = _run_folder("run", args.run)
    cure = _go_on("sj-train convert", run, "--time-steps", args.time_steps)
    from sj_train.fit import convert, run as runs

    try:
        results = convert.convert(run, args.time_steps, progress=not args.no_progress)
    except (runs.Interrupted, KeyboardInterrupt) as stop:
        return _stopped(cure, stop)
    print(f"{convert.report(results)}\nfigure: {run / 'convert.png'}")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """`sj-train info`."""
    from sj_train.fit import info

    print(info.report(info.collect()))
    return 0


MAY_CHANGE = ("epochs", "device", "devices", "workers")


def resumed_config(run: Path, values: dict[str, Any], out: str | None) -> FitConfig:
    """The settings of a run to be resumed; a few may be given anew."""
    config = FitConfig.load(run / "config.json")
    if out is not None:
        raise ConfigError("output", out, "cannot be combined with `--resume`, which names the run")
    for name, value in values.items():
        if name not in MAY_CHANGE:
            rule = f"cannot be changed when a run is resumed; it is {getattr(config, name)}"
            raise ConfigError(name, value, rule)
    return dataclasses.replace(config, **values)


COMMANDS = {"fit": run_fit, "eval": run_eval, "convert": run_convert, "info": run_info}
