"""Wheels of the pure-Python packages, built here; `nox -s build` asks the same of all of them."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="builds wheels")
TOOLS = Path(__file__).resolve().parents[1] / "tools"
sys.path.insert(0, str(TOOLS))
import tree  # noqa: E402  a script's folder, not a package
import wheel_contents  # noqa: E402

PURE = [name for name in tree.PACKAGES if name != "sj-kernels"]


@pytest.fixture(scope="module", params=PURE)
def built(request, tmp_path_factory) -> tuple[str, Path, Path]:
    """Name, wheel and sdist of a package; the wheel comes from the sdist."""
    home = tmp_path_factory.mktemp(request.param)
    hatch = [sys.executable, "-m", "hatchling", "build", "-d", str(home), "-t"]
    subprocess.run([*hatch, "sdist"], cwd=tree.folder(request.param), check=True, timeout=120)
    (sdist,) = home.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(home, filter="data")
    source = home / sdist.name.removesuffix(".tar.gz")
    subprocess.run([*hatch, "wheel"], cwd=source, check=True, timeout=120)
    (wheel,) = home.glob("*.whl")
    return request.param, wheel, sdist


def test_wheel_holds_what_it_should(built):
    name, wheel, _ = built
    assert wheel_contents.problems(wheel) == []
    source = tree.folder(name) / "src"
    with zipfile.ZipFile(wheel) as archive:
        for file in source.rglob("*.py"):
            assert archive.read(file.relative_to(source).as_posix()) == file.read_bytes()


def test_sdist_holds_sources_tests_and_changelog(built):
    name, _, sdist = built
    with tarfile.open(sdist) as archive:
        files = {entry.partition("/")[2] for entry in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= files
    tests = {f"tests/{path.name}" for path in (tree.folder(name) / "tests").glob("*.py")}
    assert tests <= files


@pytest.mark.parametrize(
    "change, message",
    [
        ({"add": "tests/test_a.py"}, "`tests/test_a.py` does not belong"),
        ({"add": "sj_core/x.pyc"}, "`sj_core/x.pyc` does not belong"),
        ({"add": "other/__init__.py"}, "belong to no package"),
        ({"drop": "sj_core/py.typed"}, "`sj_core/py.typed` is missing"),
        ({"drop": "LICENSE"}, "the licence is missing"),
        ({"replace": (b"torch>=2.6", b"torch>=2.7")}, "requirements differ"),
        ({"replace": (b"Requires-Python: >=3.11", b"Requires-Python: >=3.9")}, "Requires-Python"),
    ],
)
def test_a_wheel_with_a_fault_is_reported(tmp_path: Path, change, message):
    hatch = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path), "-t", "wheel"]
    subprocess.run(hatch, cwd=tree.folder("sj-core"), check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    bad = tmp_path / "bad" / wheel.name
    bad.parent.mkdir()
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(bad, "w") as new:
        for file in old.namelist():
            if not file.endswith(change.get("drop", "\0")):
                new.writestr(file, old.read(file).replace(*change.get("replace", (b"", b""))))
        if "add" in change:
            new.writestr(change["add"], "")
    assert message in " ".join(wheel_contents.problems(bad))
