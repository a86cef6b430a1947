"""Check that what the packages demand of each other fits the versions in this tree.

Every sibling has to be bounded on both sides (`sj-core>=0.1,<0.2`), and the version that stands
here has to lie inside. Every other requirement needs a lower bound.
Run: `python tests/tools/bounds.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version
from tree import PACKAGES, ROOT, metadata, requirements


def problems(root: Path = ROOT) -> list[str]:
    """One sentence for each requirement that breaks the rule."""
    versions = {name: Version(metadata(name, root)["version"]) for name in PACKAGES}
    found = []
    for package in PACKAGES:
        for extra, lines in requirements(package, root).items():
            where = f"{package}[{extra}]" if extra else package
            found += [
                f"{where}: `{line}` {reason}."
                for line in lines
                if (reason := broken(Requirement(line), versions))
            ]
        python = metadata(package, root).get("requires-python")
        if python != ">=3.11":
            found.append(f"{package}: `requires-python` (={python!r}) must be '>=3.11'.")
    return found


def broken(requirement: Requirement, versions: dict[str, Version]) -> str | None:
    """What is wrong with a requirement, or None."""
    operators = {clause.operator for clause in requirement.specifier}
    here = versions.get(requirement.name)
    if here is None:
        return None if operators & {">=", "==", "~="} else "has no lower bound"
    if not ({">=", "<"} <= operators or operators & {"~=", "=="}):
        return "must bound its sibling on both sides, as in `>=0.1,<0.2`"
    if here not in requirement.specifier:
        return f"does not admit version {here}, which stands in this tree"
    return None


if __name__ == "__main__":
    messages = problems()
    print("\n".join(messages) or f"Bounds of {len(PACKAGES)} packages fit the tree.")
    sys.exit(bool(messages))
