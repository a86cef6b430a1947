import platform

import pytest
import torch

from sj_core import backend
from sj_train.fit.cli import main
from sj_train.fit.info import collect, report


def test_info_tells_versions_and_backends(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert platform.python_version() in printed
    assert torch.__version__ in printed
    for name in ("sj-core", "sj-kernels", "sj-rnn", "sj-convert", "sj-train"):
        assert name in printed
    kernels = backend.kernels()
    if kernels is None:
        assert "pip install sj-kernels" in printed
    else:
        assert str(kernels.build_info()["isa"]) in printed


def test_info_without_the_kernels(monkeypatch):
    monkeypatch.setattr(backend, "kernels", lambda: None)
    facts = collect()
    assert facts["backends"] == ["torch"]
    assert "native needs sj-kernels: pip install sj-kernels" in report(facts)


def test_info_with_the_kernels():
    kernels = pytest.importorskip("sj_kernels", reason="needs sj-kernels")
    facts = collect()
    assert facts["backends"] == ["torch", "native"]
    assert facts["kernels"]["isa"] == kernels.build_info()["isa"]
