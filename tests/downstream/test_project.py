"""A third-party package that depends on sj-core alone: builds, installs, runs, and type-checks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "project"

CHECK = """
import copy, pickle, sys, torch
import spiking_filter
from sj_core import functional

before, after = spiking_filter.fit()
assert after < 0.7 * before, (before, after)
node = spiking_filter.ResonantNode(3.0, 0.2, v_threshold=0.2, step_mode="m")
x = torch.rand(5, 2, 3, requires_grad=True)
whole = node(x)
functional.reset_net(node)
node.step_mode = "s"
assert torch.equal(whole, torch.stack([node(step) for step in x]))
twin = pickle.loads(pickle.dumps(copy.deepcopy(node)))
assert torch.equal(twin.w, node.w.detach()) and not twin.w.requires_grad
assert "w" not in node.state_dict() and set(functional.get_state(node)) == {"v", "w"}
strangers = {"sj_rnn", "sj_convert", "sj_train", "lightning", "matplotlib"} & set(sys.modules)
assert not strangers, strangers
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling", reason="builds the project")
    source = tmp_path_factory.mktemp("source") / "project"
    shutil.copytree(PROJECT, source, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    options = ["--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run([*pip, *options], check=True, timeout=120)
    return target


def test_project_runs_on_sj_core_alone(installed: Path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-W", "error", "-c", CHECK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
