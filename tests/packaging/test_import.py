"""What `import` of a package brings with it, each in a fresh interpreter."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

#: Packages beyond torch that may come at import, besides the package itself.
BEYOND = {
    "sj_core": set(),
    "sj_rnn": {"sj_core"},
    "sj_convert": {"sj_core", "tqdm"},
    "sj_train": {"sj_core"},
    "sj_kernels": set(),
}

SCRIPT = """
import sys
import torch, torch.fx, torch.utils.data
before = {name.partition(".")[0] for name in sys.modules}
import PACKAGE
after = {name.partition(".")[0] for name in sys.modules}
print(*sorted(after - before - set(sys.stdlib_module_names)))
"""


def run(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("package", BEYOND)
def test_import_brings_nothing_beyond_torch_and_declared_siblings(package):
    pytest.importorskip(package)
    brought = set(run(SCRIPT.replace("PACKAGE", package)).split())
    assert package in brought
    assert brought <= BEYOND[package] | {package}


@pytest.mark.parametrize("package", BEYOND)
def test_version_is_that_of_the_metadata(package):
    pytest.importorskip(package)
    try:
        declared = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} is on the path, not installed")
    assert run(f"import {package}; print({package}.__version__)").strip() == declared


def test_core_leaves_the_state_of_torch_alone():
    code = """
import torch
def state():
    return (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(), torch.initial_seed(),
            torch.get_rng_state().tolist(), torch.backends.cudnn.benchmark)
before = state()
import sj_core, sj_rnn, sj_convert, sj_train
assert state() == before
"""
    run(code)


def test_a_program_ends_without_a_word():
    """Nothing on stderr at exit, with neurons and caches alive: no leak report, no late warning."""
    code = """
import torch
from sj_core import neuron
net = torch.nn.Sequential(neuron.LIFNode(), neuron.IFNode(v_reset=None))
loss = net(torch.rand(3, 4, requires_grad=True)).sum()
loss.backward()
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
