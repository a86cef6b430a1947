"""The examples in the docstrings of every installed package."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil

import pytest

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PACKAGES = ("sj_kernels", "sj_core", "sj_rnn", "sj_convert", "sj_train")


def modules() -> list[str]:
    """Dotted names of all modules of the packages, found without importing them."""

    def below(path, prefix):
        for info in pkgutil.iter_modules(path, prefix):
            if info.name.endswith("__main__"):
                continue
            yield info.name
            if info.ispkg:
                spec = info.module_finder.find_spec(info.name, None)
                yield from below(spec.submodule_search_locations, f"{info.name}.")

    names = []
    for package in PACKAGES:
        if spec := importlib.util.find_spec(package):
            names += [package, *below(spec.submodule_search_locations, f"{package}.")]
    return names


@pytest.mark.parametrize("name", modules())
def test_docstrings_of(name, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    module = importlib.import_module(name)
    examples = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report: list[str] = []
    for test in examples:
        torch.manual_seed(0)
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
