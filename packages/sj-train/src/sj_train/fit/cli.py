"""The command line of sj-train: commands and messages; the work is done elsewhere."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sj_train._interrupt import INTERRUPTED, last_words
from sj_train.fit.config import FitConfig
from sj_train.fit.errors import ConfigError, RunError, out_of_memory, system_says
from sj_train.fit.parser import build_parser as build_parser, typed


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; the exit status is 0, 2 for bad arguments, 1 for other failures."""
    parser = build_parser()
    args = parser.parse_args(argv)
    command = f"{parser.prog} {args.command}"
    last_words(f"{command}: error: interrupted.")
    try:
        return int(COMMANDS[args.command](args))
    except ConfigError as error:
        return _complain(command, _blame(error, args), 2)
    except RunError as error:
        return _complain(command, str(error), 2)
    except ImportError as error:
        return _complain(command, str(error), 2)
    except FloatingPointError as error:
        return _complain(command, str(error), 1)
    except OSError as error:
        return _complain(command, system_says(error), 1)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        cure = ": take a smaller `--batch-size`, `--time-steps` or `--width`"
        return _complain(command, f"out of memory{cure if args.command == 'fit' else ''}.", 1)
    except KeyboardInterrupt:
        return _complain(command, "interrupted.", INTERRUPTED)


def _blame(error: ConfigError, args: argparse.Namespace) -> str:
    # A run may have settings that do not suit a command, or this machine, and nobody typed them.
    run = getattr(args, "run", None)
    cures: tuple[str, ...] = ("device",)
    if getattr(args, "resume", None):
        run, cures = args.resume, MAY_CHANGE
    if run and error.field not in (*vars(args), *cures):
        return f"The run `{run}` does not suit: {error}"
    return error.as_flag()


def _complain(command: str, message: str, status: int) -> int:
    print(f"{command}: error: {message}", file=sys.stderr)
    return status


def _warn(command: str, message: str) -> None:
    # The other processes of a run would say the same.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{command}: warning: {message}", file=sys.stderr)


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
    from sj_train.fit.data import crowded
    from sj_train.fit.unused import without_effect

    module, data = runs.build(config)
    for sentence in (*without_effect(config, values), crowded(config)):
        if sentence:
            _warn("sj-train fit", sentence)
    if args.resume is None:
        run = runs.new_run(config, args.output)
    cure = _go_on("sj-train fit --resume", run)
    try:
        results = runs.fit(
            module, data, run, resume=args.resume is not None, progress=not args.no_progress
        )
    except (runs.Interrupted, KeyboardInterrupt) as stop:
        return _stopped(cure, stop)
    except OSError as error:
        return _complain("sj-train fit", f"{system_says(error)} {cure}", 1)
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
        _warn("sj-train eval", complaint)
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
        had = getattr(config, name)
        if name not in MAY_CHANGE and value != had:
            kept = typed(name, had)
            rule = f"cannot be changed when a run is resumed, which has `{kept}`"
            raise ConfigError(name, value, rule)
    return dataclasses.replace(config, **values)


COMMANDS = {"fit": run_fit, "eval": run_eval, "convert": run_convert, "info": run_info}
