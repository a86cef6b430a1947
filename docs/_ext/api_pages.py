"""Writes the API pages from the docstrings: a page for each public module, a section for each name.

Docstrings are shown as they are written, equations and examples aligned, and need no markup.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

PACKAGES = ("sj_core", "sj_kernels", "sj_rnn", "sj_convert", "sj_train")


def public_modules() -> list[str]:
    """The packages and their modules and sub-packages one level down, private ones left out."""
    names = []
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            continue
        names.append(package)
        inside = importlib.import_module(package).__path__
        names += [
            f"{package}.{info.name}" for info in pkgutil.iter_modules(inside) if info.name[0] != "_"
        ]
    return names


def public_names(module: ModuleType) -> list[str]:
    """Classes and functions that a module offers: its own, or re-exported from below it."""
    return [
        name
        for name, value in vars(module).items()
        if name[0] != "_"
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.startswith(module.__name__)
    ]


def fenced(text: str) -> str:
    return f"```text\n{text}\n```\n"


def section(name: str, value: object) -> str:
    """Heading, signature, docstring and public methods of one name."""
    lines = [f"## {name}\n", fenced(f"{name}{signature(value)}")]
    if doc := own_doc(value):
        lines.append(fenced(doc))
    for method, member in vars(value).items() if inspect.isclass(value) else ():
        function = getattr(member, "__func__", member)
        if method[0] != "_" and inspect.isfunction(function) and (doc := own_doc(function)):
            lines.append(f"`{method}{signature(function)}`\n")
            lines.append(fenced(doc))
    return "\n".join(lines)


def signature(value: object) -> str:
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return "(...)"
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)


def own_doc(value: object) -> str:
    """The docstring, if it is not one inherited from torch."""
    doc = value.__doc__ if isinstance(value.__doc__, str) else ""
    return inspect.cleandoc(doc)


def write_pages(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        old.unlink()
    names = public_modules()
    for name in names:
        module = importlib.import_module(name)
        parts = [f"# {name}\n", fenced(own_doc(module)) if own_doc(module) else ""]
        parts += [section(each, getattr(module, each)) for each in public_names(module)]
        (folder / f"{name}.md").write_text("\n".join(parts))
    toctree = "\n".join(["```{toctree}", ":maxdepth: 1", "", *names, "```"])
    (folder / "index.md").write_text(f"# API\n\n{toctree}\n")


def setup(app):
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "api"))
    return {"parallel_read_safe": True}
