"""The bounds checker, against single requirements and a copy of the tree with other versions."""

from __future__ import annotations

import shutil
from pathlib import Path

import bounds
import pytest
import tree
from packaging.requirements import Requirement
from packaging.version import Version

HERE = {"sj-core": Version("0.1.3")}


def test_tree_fits_its_bounds():
    assert bounds.problems() == []


@pytest.mark.parametrize(
    "line, reason",
    [
        ("sj-core>=0.1,<0.2", None),
        ("sj-core[plot]>=0.1,<0.2", None),
        ("sj-core~=0.1.0", None),
        ("sj-core==0.1.3", None),
        ("sj-core>=0.1", "both sides"),
        ("sj-core<0.2", "both sides"),
        ("sj-core", "both sides"),
        ("sj-core>=0.2,<0.3", "does not admit version 0.1.3"),
        ("sj-core>=0.1.4,<0.2", "does not admit version 0.1.3"),
        ("torch>=2.6", None),
        ("torch", "no lower bound"),
        ("torch<3", "no lower bound"),
    ],
)
def test_one_requirement(line, reason):
    broken = bounds.broken(Requirement(line), HERE)
    assert broken is None if reason is None else reason in broken


def test_a_release_without_new_bounds_is_reported(tmp_path: Path):
    for name in tree.PACKAGES:
        target = tree.folder(name, tmp_path)
        target.mkdir(parents=True)
        shutil.copy(tree.folder(name) / "pyproject.toml", target)
    core = tree.folder("sj-core", tmp_path) / "pyproject.toml"
    here = tree.metadata("sj-core")["version"]
    core.write_text(core.read_text().replace(f'version = "{here}"', 'version = "7.0.0"'))
    found = bounds.problems(tmp_path)
    for name in ("sj-rnn", "sj-convert", "sj-train"):
        assert any(line.startswith(name) and "7.0.0" in line for line in found)
