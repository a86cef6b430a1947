"""Everything that is run on this repository; what follows `--` reaches the tool."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "tests" / "tools"))
import tree  # noqa: E402  the path above has to be known first

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint", "typecheck"]

PINS = ROOT / "tests" / "constraints" / "tested.txt"
TEST_TOOLS = ["pytest", "pytest-xdist", "pytest-timeout", "hypothesis", "numpy"]
EVERYTHING = ["sj-core[plot]", "sj-rnn", "sj-convert[nir,plot]", "sj-train[fit,tensorboard]"]


def kernels_wheel(session: nox.Session, cuda: str = "AUTO") -> Path:
    """Wheel of sj-kernels for this tree and this machine; built once for all sessions."""
    architectures = os.environ.get("SJ_CUDA_ARCHITECTURES", "80")
    if cuda == "AUTO" and not shutil.which("nvcc"):
        session.log("No nvcc here: sj-kernels is built for the CPU only.")
        cuda = "OFF"
    sources = [tree.folder("sj-kernels"), ROOT / "cmake"]
    state = tree.digest(sources, cuda, architectures, str(tree.compiler()))
    home = ROOT / ".nox" / "wheels" / state
    if not list(home.glob("*.whl")):
        session.run_install(
            *("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(home)),
            str(tree.folder("sj-kernels")),
            env={
                "SKBUILD_CMAKE_DEFINE": f"SJ_CUDA={cuda};CMAKE_CUDA_ARCHITECTURES={architectures}"
            },
        )
    return next(home.glob("*.whl"))


def install(session: nox.Session, *requirements: str, kernels: bool = True) -> bool:
    """Install at the tested versions, siblings from this tree; tells whether sj-kernels is there."""
    sources = {name: tree.folder(name) for name in tree.PACKAGES}
    if kernels and not tree.compiler():
        session.warn("No C++ compiler found: without sj-kernels, on the torch backend.")
        kernels = False
    if kernels:
        wheel = sources["sj-kernels"] = kernels_wheel(session)
        # pip keeps an installed wheel of the same version, whose content may be older.
        session.install("--no-deps", "--force-reinstall", str(wheel))
        requirements += ("sj-kernels",)
    constraints = tree.write_constraints(
        Path(session.create_tmp()) / "constraints.txt", PINS, sources
    )
    session.install("-c", str(constraints), *requirements)
    return kernels


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, packages installed together; `-- -k name` and any other pytest argument."""
    kernels = install(session, *EVERYTHING, *TEST_TOOLS)
    folders = [
        "tests",
        *(f"packages/{name}/tests" for name in tree.PACKAGES if kernels or name != "sj-kernels"),
    ]
    folders = [path for path in folders if (ROOT / path).is_dir()]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    spread = [
        "-n",
        os.environ.get("SJ_TEST_WORKERS", "2"),
        "--dist",
        "worksteal",
        "--timeout",
        "300",
    ]
    session.run("pytest", *spread, *(session.posargs or folders), env=threads)


@nox.session
def lint(session: nox.Session) -> None:
    """Style of Python, C++ and CMake, the floors rule, the siblings' bounds; `-- --fix` mends."""
    session.install("-c", str(PINS), "ruff", "clang-format", "gersemi", "packaging")
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []), ".")
    session.run("ruff", "format", *([] if fix else ["--check"]), ".")
    native = tracked(session, "*.hpp", "*.cpp", "*.cu", "*.cuh", "*.h")
    if native:
        session.run("clang-format", *(["-i"] if fix else ["--dry-run", "-Werror"]), *native)
    cmake = tracked(session, "*.cmake", "*CMakeLists.txt")
    if cmake:
        session.run("gersemi", *(["-i"] if fix else ["--check"]), *cmake)
    session.run("python", "tests/tools/floors.py")
    session.run("python", "tests/tools/bounds.py")


def tracked(session: nox.Session, *patterns: str) -> list[str]:
    """Files under version control that match."""
    out = session.run("git", "ls-files", *patterns, external=True, silent=True)
    return str(out).split()


@nox.session
def typecheck(session: nox.Session) -> None:
    """mypy, strict, over the public API of every package; `--` passes other targets."""
    install(session, *EVERYTHING, "mypy")
    targets = [f"packages/{name}/src" for name in tree.PACKAGES]
    for target in session.posargs or targets:
        session.run("mypy", target)
