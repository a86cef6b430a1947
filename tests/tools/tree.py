"""The packages of this tree, and the pip lines that install them from it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

#: Lower floors first: a package stands after all that it may import.
PACKAGES = ("sj-kernels", "sj-core", "sj-rnn", "sj-convert", "sj-train")


def module(package: str) -> str:
    """Import name of a package: `sj-core` -> `sj_core`."""
    return package.replace("-", "_")


def folder(package: str, root: Path = ROOT) -> Path:
    return root / "packages" / package


def metadata(package: str, root: Path = ROOT) -> dict[str, Any]:
    """The `[project]` table of a package."""
    with (folder(package, root) / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


def requirements(package: str, root: Path = ROOT) -> dict[str, list[str]]:
    """Requirements by extra; the ones that are always installed stand under the name ''."""
    project = metadata(package, root)
    return {"": project.get("dependencies", []), **project.get("optional-dependencies", {})}


def constraint_lines(sources: Mapping[str, Path]) -> list[str]:
    """`name @ file://` for each package: pip then takes siblings from here, not from an index."""
    return [f"{name} @ {path.resolve().as_uri()}" for name, path in sources.items()]


def write_constraints(target: Path, pins: Path, sources: Mapping[str, Path]) -> Path:
    """Write a constraints file: the pins of `pins`, then a line for each package in `sources`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    text = pins.read_text().rstrip("\n").splitlines() + constraint_lines(sources)
    target.write_text("\n".join(text) + "\n")
    return target


def digest(paths: Iterable[Path], *settings: str) -> str:
    """A name for the state of source files and build settings: equal for equal content."""
    total = hashlib.sha256("\0".join((sys.version, *settings)).encode())
    for top in paths:
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            name = file.relative_to(top.parent)
            if file.is_file() and not {"__pycache__", "tests", "build"} & set(name.parts):
                total.update(name.as_posix().encode())
                total.update(file.read_bytes())
    return total.hexdigest()[:16]


def compiler() -> str | None:
    """Path of a C++ compiler, or None where the machine has none."""
    wanted = os.environ.get("CXX", "").split()[:1]
    return next(filter(None, map(shutil.which, [*wanted, "c++", "g++", "clang++", "cl"])), None)


def nvcc() -> str | None:
    """Path of the CUDA compiler, or None; looked for where CMake looks."""
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
    folders = [os.path.join(home, "bin") for home in homes if home]
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(folders))


def sanitizer_runtime() -> str | None:
    """The libraries to preload for AddressSanitizer, as the compiler names them.

    The C++ runtime belongs to them: the sanitizer looks for its `__cxa_throw` when the process
    starts, and Python itself does not load it; the first exception would end the process.
    """
    path = compiler()
    if path is None or not sys.platform.startswith("linux"):
        return None
    for names in (("libasan.so", "libstdc++.so.6"), ("libclang_rt.asan-x86_64.so",)):
        found = [library(path, name) for name in names]
        if all(found):
            return " ".join(name for name in found if name)
    return None


def library(compiler: str, name: str) -> str | None:
    """Path of a library that `compiler` links; None where it has none."""
    run = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True)
    found = run.stdout.strip()
    return os.path.realpath(found) if os.path.isabs(found) else None


def lowest(*instead: str) -> list[str]:
    """Every lower bound as a pin (`torch==2.6`); a pin in `instead` wins over it."""
    pins = {line.partition("==")[0]: line for line in instead}
    for package in PACKAGES:
        for line in (line for lines in requirements(package).values() for line in lines):
            name, bound, rest = line.partition(">=")
            name = name.partition("[")[0]
            if bound and name not in PACKAGES:
                pins.setdefault(name, f"{name}=={rest.split(',')[0].split(';')[0].strip()}")
    return list(pins.values())
