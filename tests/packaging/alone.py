"""Run in an environment where one package was installed alone: only what it declares is there.

`python alone.py "sj-core[plot]"`; needs no test tool, for none is installed yet.
"""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import distributions, requires

#: What every virtual environment brings along.
GIVEN = {"pip", "setuptools", "wheel"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str, extras: set[str]) -> set[str]:
    """Names of all that a distribution asks for, by the metadata of what is installed."""
    installed = {normal(each.metadata["Name"]) for each in distributions()}
    seen: set[tuple[str, str]] = set()
    work = [(normal(name), extra) for extra in {"", *extras}]
    while work:
        here = work.pop()
        if here in seen:
            continue
        seen.add(here)
        for line in requires(here[0]) or []:
            match = re.match(r"([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?", line)
            marker = line.partition(";")[2]
            extra = re.search(r"extra\s*==\s*['\"]([^'\"]*)['\"]", marker)
            other = normal(match[1]) if match else ""
            if (extra[1] if extra else "") == here[1] and other in installed:
                asked = filter(None, map(str.strip, (match[2] or "").split(",")))
                work += [(other, each) for each in ("", *asked)]
    return {each for each, _ in seen}


def main(requirement: str) -> None:
    name, _, extras = requirement.rstrip("]").partition("[")
    here = {normal(each.metadata["Name"]) for each in distributions()}
    allowed = closure(name, set(filter(None, extras.split(","))))
    if foreign := here - allowed - GIVEN:
        sys.exit(f"{requirement} alone brought what it does not declare: {sorted(foreign)}.")
    found = importlib.import_module(name.replace("-", "_"))
    print(f"{requirement} {found.__version__}: {len(here)} distributions, all declared.")


if __name__ == "__main__":
    main(sys.argv[1])
