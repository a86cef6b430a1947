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

CONSTRAINTS = ROOT / "tests" / "constraints"
PINS = CONSTRAINTS / "tested.txt"
TEST_TOOLS = ["pytest", "pytest-xdist", "pytest-timeout", "hypothesis", "numpy", "scikit-learn"]
EVERYTHING = ["sj-core[plot]", "sj-rnn", "sj-convert[nir,plot]", "sj-train[fit,tensorboard]"]
ALONE = ["sj-kernels", *EVERYTHING, "sj-core", "sj-convert", "sj-train"]

#: Sessions compile for one architecture, to be quick; a wheel holds several.
ONE_ARCHITECTURE = f"CMAKE_CUDA_ARCHITECTURES={os.environ.get('SJ_CUDA_ARCHITECTURES', '80')}"

#: One thread for each of the test workers, which share the cores.
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def kernels_wheel(session: nox.Session, cuda: str = "AUTO", *defines: str) -> Path:
    """Wheel of sj-kernels for this tree and this machine; built once for all sessions."""
    settings = ";".join((f"SJ_CUDA={cuda}", ONE_ARCHITECTURE, *defines))
    if cuda == "AUTO" and not tree.nvcc():
        session.log("No nvcc found: sj-kernels is built for the CPU only.")
    sources = [tree.folder("sj-kernels"), ROOT / "cmake"]
    state = tree.digest(sources, settings, str(tree.compiler()), str(tree.nvcc()))
    home = ROOT / ".nox" / "wheels" / state
    if not list(home.glob("*.whl")):
        session.run_install(
            *("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(home)),
            str(tree.folder("sj-kernels")),
            env={"SKBUILD_CMAKE_DEFINE": settings},
        )
    return next(home.glob("*.whl"))


def install(
    session: nox.Session, *requirements: str, kernels: bool = True, pins: Path = PINS
) -> bool:
    """Install at pinned versions, siblings from this tree; tells whether sj-kernels is there."""
    sources = {name: tree.folder(name) for name in tree.PACKAGES}
    if kernels and not tree.compiler():
        session.warn("No C++ compiler found: without sj-kernels, on the torch backend.")
        kernels = False
    if kernels:
        wheel = sources["sj-kernels"] = kernels_wheel(session)
        # pip keeps an installed wheel of the same version, whose content may be older.
        session.install("--no-deps", "--force-reinstall", str(wheel))
        requirements += ("sj-kernels",)
    target = Path(session.create_tmp()) / "constraints.txt"
    session.install("-c", str(tree.write_constraints(target, pins, sources)), *requirements)
    return kernels


def tracked(session: nox.Session, *patterns: str) -> list[str]:
    """Files under version control that match."""
    return str(session.run("git", "ls-files", *patterns, external=True, silent=True)).split()


def pytest_all(session: nox.Session, kernels: bool) -> None:
    """pytest over the whole repository, spread over the cores; posargs replace the folders."""
    names = [name for name in tree.PACKAGES if kernels or name != "sj-kernels"]
    workers = os.environ.get("SJ_TEST_WORKERS", "2")
    session.run(
        *("pytest", "-n", workers, "--dist", "worksteal", "--timeout", "300"),
        *(session.posargs or ["tests", *(f"packages/{name}/tests" for name in names)]),
        env=THREADS,
    )


@nox.session
def demo(session: nox.Session) -> None:
    """The main job: train a spiking CNN on the 8x8 digits, in a few minutes; `-- --epochs 5`."""
    install(session, "sj-train[fit]")
    home = ROOT / "runs" / "demo"
    shutil.rmtree(home, ignore_errors=True)
    job = "fit --data digits --model cnn --neuron lif --time-steps 4 --method bptt --epochs 20"
    session.run("sj-train", *job.split(), "--output", str(home), *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, packages installed together; `-- -k name` and any other pytest argument."""
    kernels = install(session, *EVERYTHING, *TEST_TOOLS, "hatchling")
    pytest_all(session, kernels)


@nox.session(name="tests-isolated")
@nox.parametrize("requirement", ALONE, ids=ALONE)
def tests_isolated(session: nox.Session, requirement: str) -> None:
    """Each package with only what it declares; sj-core without sj-kernels, then with it."""
    name = requirement.partition("[")[0]
    install(session, requirement, kernels=name == "sj-kernels")
    session.run("python", "tests/packaging/alone.py", requirement)
    record = Path(session.create_tmp()) / "record.pt"
    record.unlink(missing_ok=True)
    twice = requirement == "sj-core"
    if twice:
        session.run("python", "tests/packaging/same_script.py", str(record))
    session.install("-c", str(PINS), *TEST_TOOLS)
    args = ["-n", "2", "--dist", "worksteal", *(session.posargs or [f"packages/{name}/tests"])]
    session.run("pytest", *args, env=THREADS)
    if twice and install(session, "sj-core[kernels]"):
        session.run("python", "tests/packaging/same_script.py", str(record))
        session.run("pytest", *args, env=THREADS)


@nox.session
def minimums(session: nox.Session) -> None:
    """The tests with the lowest versions allowed; `-- --torch 2.13.0 ...` takes another torch."""
    args = list(session.posargs)
    lowest = Path(session.create_tmp()) / "lowest.txt"
    torch = [args.pop(at) for at in [args.index("--torch")] * 2][1:] if "--torch" in args else []
    session.posargs[:] = args
    lowest.write_text("\n".join(tree.lowest(*(f"torch=={version}" for version in torch))) + "\n")
    kernels = install(session, *EVERYTHING, *TEST_TOOLS, "hatchling", pins=lowest)
    pytest_all(session, kernels)


@nox.session
def build(session: nox.Session) -> None:
    """sdist, wheel from it away from the tree, clean install, import; `-- sj-core` for one."""
    session.install("-c", str(PINS), "build", "packaging")
    dist, away = ROOT / "dist", Path(session.create_tmp()).resolve()
    shutil.rmtree(dist, ignore_errors=True)
    sources: dict[str, Path] = {}
    for name in tree.PACKAGES:
        if name == "sj-kernels" and not tree.compiler():
            session.warn("No C++ compiler found: sj-kernels is not built.")
            continue
        session.run("python", "-m", "build", "--sdist", "--outdir", str(dist), tree.folder(name))
        (archive,) = dist.glob(f"{tree.module(name)}-*.tar.gz")
        with session.chdir(away):
            session.run(
                *("python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", dist, archive),
                env={"SKBUILD_CMAKE_DEFINE": ONE_ARCHITECTURE},
            )
        (sources[name],) = dist.glob(f"{tree.module(name)}-*.whl")
    session.run("python", "tests/tools/wheel_contents.py", *map(str, sources.values()))
    constraints = tree.write_constraints(away / "constraints.txt", PINS, sources)
    for name in session.posargs or sources:
        home = away / f"clean-{name}"
        session.run("python", "-m", "venv", "--clear", str(home))
        python = str(home / ("Scripts" if os.name == "nt" else "bin") / "python")
        session.run(python, "-m", "pip", "install", "-q", "-c", constraints, name, external=True)
        show = f"import {tree.module(name)} as m; print('{name}', m.__version__, m.__file__)"
        with session.chdir(away):
            session.run(python, "-c", show, external=True)


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


@nox.session
def typecheck(session: nox.Session) -> None:
    """mypy, strict but for what pyproject.toml lists, over every package; `--` other targets."""
    install(session, *EVERYTHING, "mypy")
    for target in session.posargs or [f"packages/{name}/src" for name in tree.PACKAGES]:
        session.run("mypy", target)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages, warnings being errors, and run their examples and all doctests."""
    install(session, *EVERYTHING, *TEST_TOOLS, "sphinx", "myst-parser", "furo")
    target = ROOT / "docs" / "_build" / "html"
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", str(target))
    session.run("pytest", "-n", "2", "tests/docs", *session.posargs, env=THREADS)
    session.log(f"Pages: {target / 'index.html'}")


@nox.session
def bench(session: nox.Session) -> None:
    """The tables of tests/benchmarks, for `-- convert` one area; `-- --peers` adds the peers."""
    args = list(session.posargs)
    install(session, *EVERYTHING, "numpy")
    if "--peers" in args:
        session.install("--no-deps", "-r", str(CONSTRAINTS / "peers.txt"))
    folder = ROOT / "tests" / "benchmarks"
    areas = {arg: arg if arg.endswith(".py") else f"bench_{arg}.py" for arg in args}
    chosen = [name for name in areas.values() if (folder / name).is_file()]
    options = [arg for arg in args if areas[arg] not in chosen]
    for script in chosen or sorted(file.name for file in folder.glob("bench_*.py")):
        session.run("python", str(folder / script), *options)


@nox.session
def sanitize(session: nox.Session) -> None:
    """The kernels' tests under AddressSanitizer and UndefinedBehaviorSanitizer (Linux)."""
    runtime = tree.sanitizer_runtime()
    if runtime is None:
        session.skip("No GCC or Clang with an AddressSanitizer here.")
    session.install("-c", str(PINS), "torch", *TEST_TOOLS)
    session.install("--no-deps", str(kernels_wheel(session, "OFF", "SJ_SANITIZE=ON")))
    # Python and torch were not built with it and leak by design: no leak check, and preloaded.
    options = {"ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0", "LD_PRELOAD": runtime}
    args = session.posargs or ["packages/sj-kernels/tests"]
    session.run("pytest", "-n", "2", *args, env={**THREADS, **options, "SJ_SANITIZE": "1"})


@nox.session
def cuda(session: nox.Session) -> None:
    """Everything that needs a GPU, on the torch of this environment's index; `-- -k name`."""
    if not tree.nvcc():
        session.skip("No nvcc here.")
    install(session, *EVERYTHING, *TEST_TOOLS)
    session.run("pytest", "-m", "cuda", "packages", "tests", *session.posargs)
