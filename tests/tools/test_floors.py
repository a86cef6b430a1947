"""The floors checker, against small trees that break one rule each."""

from __future__ import annotations

from pathlib import Path

import floors
import pytest

MODULES = ("sj_kernels", "sj_core", "sj_rnn", "sj_convert", "sj_train")


@pytest.fixture
def repository(tmp_path: Path):
    """A tree of five empty packages; a call adds a file to it."""

    def add(path: str, text: str) -> Path:
        package = path.split("/")[0]
        file = tmp_path / "packages" / package.replace("_", "-") / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return tmp_path

    for name in MODULES:
        add(f"{name}/__init__.py", "")
    return add


def test_tree_keeps_the_floors():
    assert floors.problems() == []


@pytest.mark.parametrize(
    "path, text",
    [
        ("sj_core/backend.py", "import sj_kernels"),
        ("sj_core/neuron/lif.py", "from ..base import MemoryModule\nfrom ..surrogate import ATan"),
        ("sj_core/functional/net.py", "from sj_core.neuron import LIFNode"),
        ("sj_core/layer/norm.py", "from sj_core.neuron import LIFNode"),
        ("sj_rnn/cell.py", "from sj_core import surrogate"),
        ("sj_train/fit/model.py", "def f():\n    import sj_rnn"),
        ("sj_kernels/ops.py", "import torch"),
        ("sj_core/base.py", "if TYPE_CHECKING:\n    from .neuron import LIFNode"),
    ],
)
def test_downward_imports_are_allowed(repository, path, text):
    assert floors.problems(repository(path, text)) == []


@pytest.mark.parametrize(
    "path, text, message",
    [
        ("sj_core/neuron/lif.py", "import sj_kernels", "may import sj_kernels in sj_core/backend"),
        ("sj_core/plot.py", "import sj_train", "sj_core must not import sj_train"),
        ("sj_kernels/ops.py", "from sj_core import base", "sj_kernels must not import sj_core"),
        ("sj_rnn/cell.py", "import sj_convert.nir", "sj_rnn must not import sj_convert"),
        ("sj_rnn/cell.py", "def f():\n    import sj_kernels", "sj_rnn must not import sj_kernels"),
        ("sj_train/losses.py", "import sj_rnn", "sj_train must not import sj_rnn"),
        ("sj_convert/x.py", "importlib.import_module('sj_rnn')", "must not import sj_rnn"),
        ("sj_core/base.py", "from .neuron import LIFNode", "must not import sj_core.neuron"),
        ("sj_core/surrogate.py", "from . import base", "must not import sj_core.base"),
        ("sj_core/layer/a.py", "from .. import functional", "must not import sj_core.functional"),
        ("sj_core/base.py", "if X:\n    pass\nelse:\n    import sj_core.layer", "sj_core.layer"),
    ],
)
def test_other_imports_are_reported_with_their_place(repository, path, text, message):
    (problem,) = floors.problems(repository(path, text))
    assert message in problem
    assert f"src/{path}:{len(text.splitlines())}:" in problem


def test_a_circle_inside_a_package_is_reported(repository):
    repository("sj_rnn/cell.py", "from .gate import lstm")
    repository("sj_rnn/gate.py", "from . import stacked")
    root = repository("sj_rnn/stacked.py", "from .cell import SpikingLSTMCell")
    (problem,) = floors.problems(root)
    assert (
        problem
        == "sj-rnn: sj_rnn.cell -> sj_rnn.gate -> sj_rnn.stacked -> sj_rnn.cell is a circle."
    )


def test_a_package_may_gather_what_its_files_import_from_each_other(repository):
    repository("sj_rnn/__init__.py", "from .cell import A as A\nfrom .gate import B as B")
    repository("sj_rnn/gate.py", "from . import _compiled")
    root = repository("sj_rnn/cell.py", "from .gate import B")
    assert floors.problems(root) == []
