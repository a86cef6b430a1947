"""Check what a wheel carries: typing marker, licence, metadata; and neither tests nor leftovers.

Run: `python tests/tools/wheel_contents.py dist/*.whl`.
"""

from __future__ import annotations

import email
import re
import sys
import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from tree import PACKAGES, metadata, module, requirements

#: What no wheel of ours should hold: caches, tests, build files and C++ sources.
UNWANTED = re.compile(r"(^|/)(tests?|__pycache__|CMakeFiles|src)/|\.(pyc|o|a|cpp|cu|orig)$")


def problems(wheel: Path) -> list[str]:
    """One sentence for each thing wrong with a wheel."""
    name = wheel.name.split("-")[0].replace("_", "-")
    if name not in PACKAGES:
        return [f"{wheel.name}: no package of this tree."]
    package, project = module(name), metadata(name)
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        info = f"{package}-{project['version']}.dist-info"
        if f"{info}/METADATA" not in files:
            return [f"{wheel.name}: version {project['version']} of the tree expected."]
        fields = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    found = [f"`{file}` does not belong into a wheel" for file in files if UNWANTED.search(file)]
    for wanted in (f"{package}/__init__.py", f"{package}/py.typed"):
        if wanted not in files:
            found.append(f"`{wanted}` is missing")
    if not any(file.startswith(info) and file.endswith("LICENSE") for file in files):
        found.append("the licence is missing")
    strangers = {file.split("/")[0] for file in files} - {package, info}
    if strangers:
        found.append(f"top-level entries {sorted(strangers)} belong to no package")
    if fields["Requires-Python"] != ">=3.11":
        found.append(f"Requires-Python (={fields['Requires-Python']}) must be >=3.11")
    demanded = {str(Requirement(line)) for line in fields.get_all("Requires-Dist", [])}
    declared = {
        str(Requirement(line + (f'; extra == "{extra}"' if extra else "")))
        for extra, lines in requirements(name).items()
        for line in lines
    }
    if demanded != declared:
        found.append(f"requirements differ from pyproject.toml: {sorted(demanded ^ declared)}")
    if not (fields.get_payload() or "").strip():
        found.append("the long description is empty")
    return [f"{wheel.name}: {problem}." for problem in found]


if __name__ == "__main__":
    messages = [line for path in sys.argv[1:] for line in problems(Path(path))]
    print("\n".join(messages) or f"{len(sys.argv) - 1} wheels hold what they should.")
    sys.exit(bool(messages))
