"""Check who imports whom: arrows point down only (docs/architecture.md).

Reads the import statements of every source file, so that one inside a function counts as well.
Run: `python tests/tools/floors.py`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tree import PACKAGES, ROOT, folder, module

#: Siblings that a package may import.
ALLOWED = {
    "sj_kernels": set[str](),
    "sj_core": {"sj_kernels"},
    "sj_rnn": {"sj_core"},
    "sj_convert": {"sj_core"},
    "sj_train": {"sj_core"},
}

#: Imports that stand in one file alone.
ALONE = {("sj_core", "sj_kernels"): "sj_core/backend.py"}

#: The command hands over to a sibling where one is installed: that is no floor of the library.
OPTIONAL = {("sj_train", "sj_rnn"): "sj_train/fit/", ("sj_train", "sj_convert"): "sj_train/fit/"}

#: Calls that import by a string.
DYNAMIC = {"import_module", "importlib.import_module", "__import__"}

#: Floors inside sj_core; modules of one floor may import each other, in no circle.
CORE = {"surrogate": 0, "base": 1, "backend": 1, "neuron": 2, "layer": 2, "functional": 3}


def imports(file: Path, package: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of all that a file imports at run time."""
    parts = file.parts[len(file.parts) - file.parts[::-1].index(package) - 1 : -1]
    for node in runtime_nodes(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *filter(None, [node.module])))
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in DYNAMIC:
            names = (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))
            yield from ((node.lineno, name) for name in names if isinstance(name, str))


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                yield from (other, *runtime_nodes(other))
        else:
            yield from (node, *runtime_nodes(node))


def problems(root: Path = ROOT) -> list[str]:
    """One sentence for each import that points up or sideways, and for each circle."""
    found: dict[str, None] = {}
    for name in PACKAGES:
        package = module(name)
        source = folder(name, root) / "src"
        files = {dotted(file.relative_to(source)): file for file in sorted(source.rglob("*.py"))}
        graph: dict[str, set[str]] = {here: set() for here in files}
        for here, file in files.items():
            short = file.relative_to(source).as_posix()
            for line, target in imports(file, package):
                if reason := sideways(package, short, target) or upward(here, target):
                    found[f"packages/{name}/src/{short}:{line}: {reason}."] = None
                known = longest(target, files)
                # Python itself imports the packages above a module: those edges close no circle.
                if known and not f"{here}.".startswith(f"{known}."):
                    graph[here].add(known)
        found |= {f"{name}: {' -> '.join(ring)} is a circle.": None for ring in circles(graph)}
    return list(found)


def dotted(file: Path) -> str:
    """`sj_core/neuron/__init__.py` -> `sj_core.neuron`."""
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def longest(target: str, known: Iterable[str]) -> str | None:
    """The module that holds an imported name."""
    while target and target not in known:
        target = target.rpartition(".")[0]
    return target or None


def circles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Paths that come back to where they began, one for each edge that closes a circle."""
    done: set[str] = set()

    def walk(here: str, path: list[str]) -> Iterator[list[str]]:
        if here in path:
            yield [*path[path.index(here) :], here]
        elif here not in done:
            for target in sorted(graph[here] - {here}):
                yield from walk(target, [*path, here])
            done.add(here)

    for start in sorted(graph):
        yield from walk(start, [])


def sideways(package: str, file: str, target: str) -> str | None:
    """Whether an import leaves its package for one that it may not know."""
    top = target.split(".")[0]
    if top == package or top not in ALLOWED:
        return None
    if file.startswith(OPTIONAL.get((package, top), "\0")):
        return None
    if top not in ALLOWED[package]:
        return f"{package} must not import {top}"
    place = ALONE.get((package, top))
    if place and file != place:
        return f"{package} may import {top} in {place} alone"
    return None


def upward(here: str, target: str) -> str | None:
    """Whether an import inside sj_core points up its floors."""
    mine, other = here.split("."), target.split(".")
    if mine[0] != "sj_core" or other[0] != "sj_core" or min(len(mine), len(other)) < 2:
        return None
    if mine[1] in CORE and CORE.get(other[1], 0) > CORE[mine[1]]:
        return f"sj_core.{mine[1]} must not import sj_core.{other[1]}, which stands above it"
    return None


if __name__ == "__main__":
    messages = problems()
    print("\n".join(messages) or "Every import points down.")
    sys.exit(bool(messages))
