import json

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")

from sj_train.fit import ConfigError, FitConfig
from sj_train.fit.cli import main
from sj_train.fit.convert import TwinClassifier, report, twin_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    argv = ["fit", "--model", "cnn", "--width", "8", "--epochs", "6", "--no-progress"]
    assert main([*argv, "--output", str(folder)]) == 0
    return folder


def test_conversion_is_close_to_its_ann(run, capsys):
    pytest.importorskip("sj_convert", reason="needs sj-convert")
    assert main(["convert", str(run), "--time-steps", "8", "--no-progress"]) == 0
    printed = capsys.readouterr().out
    results = json.loads((run / "convert.json").read_text())
    assert len(results["accuracy_over_time"]) == 8
    assert len(results["trained_accuracy_over_time"]) == 4
    assert results["ann_accuracy"] > 0.9
    assert results["accuracy_over_time"][-1] >= results["ann_accuracy"] - 0.02
    assert (run / "convert.png").stat().st_size > 10_000
    assert f"ANN   {100 * results['ann_accuracy']:7.2f} %" in printed
    # The twin is kept: a second conversion does not train again.
    trained = (run / "ann" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert main(["convert", str(run), "--time-steps", "2", "--no-progress"]) == 0
    assert "ANN twin of an earlier conversion" in capsys.readouterr().out
    assert (run / "ann" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == trained


def test_the_twin_sees_each_image_once():
    config = twin_config(FitConfig(width=4, time_steps=6))
    twin = TwinClassifier(config.to_dict(), [1, 8, 8], 10).eval()
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(twin(x), twin.net(x).unsqueeze(0))


def test_what_has_no_twin_is_refused(capsys, run):
    with pytest.raises(ConfigError, match="must be direct"):
        twin_config(FitConfig(encoder="poisson"))
    assert main(["convert", str(run), "--time-steps", "0"]) == 2
    assert "`--time-steps` (=0) must be at least 1." in capsys.readouterr().err


def test_sequences_have_no_twin(capsys, tmp_path, monkeypatch):
    pytest.importorskip("sj_convert", reason="needs sj-convert")
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).random((40, 3, 1, 4, 4), np.float32)
    np.savez("set.npz", x=x, y=np.arange(40) % 2)
    argv = ["fit", "--data", "set.npz", "--time-steps", "3", "--model", "mlp", "--width", "4"]
    assert main([*argv, "--epochs", "1", "--no-progress", "--output", "run"]) == 0
    capsys.readouterr()
    assert main(["convert", "run"]) == 2
    rule = "`data` (=set.npz) holds sequences, which an ANN twin cannot see."
    assert capsys.readouterr().err == (
        f"sj-train convert: error: The run `run` does not suit: {rule}\n"
    )


def test_convert_says_what_it_needs(monkeypatch, capsys, run):
    monkeypatch.setitem(__import__("sys").modules, "sj_convert", None)
    assert main(["convert", str(run)]) == 2
    assert "pip install sj-convert" in capsys.readouterr().err


def test_the_report_compares_step_by_step():
    lines = report(
        {
            "ann_accuracy": 0.98,
            "accuracy_over_time": [0.5, 0.97, 0.98],
            "trained_accuracy_over_time": [0.9, 0.99],
        }
    ).splitlines()
    assert lines[1].split() == ["1", "50.00", "%", "-48.00", "90.00", "%"]
    assert lines[3].split() == ["3", "98.00", "%", "+0.00", "-"]
    assert lines[4].split() == ["ANN", "98.00", "%"]
