import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")

from sj_train.fit import FitConfig
from sj_train.fit.checkpoint import read_checkpoint
from sj_train.fit.cli import main
from sj_train.fit.evaluate import load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    argv = ["fit", "--model", "mlp", "--width", "32", "--epochs", "2", "--no-progress"]
    assert main([*argv, "--output", str(folder)]) == 0
    return folder


def test_a_run_is_loaded_with_its_best_weights(run):
    module, data = load_run(run)
    best = read_checkpoint(run / "checkpoints" / "best.ckpt")["state_dict"]
    for name, value in module.state_dict().items():
        assert torch.equal(value, best[name])
    assert len(data.splits.test) == 359


def test_eval_prints_what_the_weights_give(run, capsys):
    assert main(["eval", str(run)]) == 0
    printed = capsys.readouterr().out
    module, data = load_run(run)
    module.eval()
    test = data.splits.test
    with torch.no_grad():
        evidence = module(test.x)
    results = json.loads((run / "eval.json").read_text())
    for step in range(1, 5):
        right = (evidence[:step].mean(0).argmax(1) == test.y).float().mean().item()
        assert results["accuracy_over_time"][step - 1] == pytest.approx(right)
        assert f"{step:9d}   {100 * right:6.2f} %" in printed
    fitted = json.loads((run / "results.json").read_text())
    assert results["test_accuracy"] == fitted["test_accuracy"]
    assert results["test_accuracy"] == pytest.approx(results["accuracy_over_time"][-1])
    assert list(results["firing_rates"]) == ["1 linear", "2 linear"]


def test_a_folder_that_cannot_be_written_costs_a_warning_alone(run, capsys, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("eval.json"))
    # Neither the owner's rights nor a superuser's can put a file in place of a folder.
    (folder / "eval.json").mkdir()
    assert main(["eval", str(folder)]) == 0
    said = capsys.readouterr()
    assert said.out.count("%") == 5  # in total, and after each of four steps
    start = f"sj-train eval: warning: `{folder / 'eval.json'}` cannot be written ("
    assert said.err.startswith(start)
    assert said.err.count("\n") == 1


def test_the_rate_of_the_network_is_that_of_its_layers(run):
    results = json.loads((run / "eval.json").read_text())
    # Both layers have 32 neurons, so the mean over neurons is the mean over layers.
    rates = list(results["firing_rates"].values())
    assert results["firing_rate"] == pytest.approx(sum(rates) / 2, rel=1e-4)


def test_a_run_of_a_gpus_precision_is_tested_on_the_cpu(run, capsys, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    config = FitConfig.load(folder / "config.json")
    dataclasses.replace(config, precision="16-mixed").save(folder / "config.json")
    assert main(["eval", str(run)]) == 0
    wanted = capsys.readouterr()
    assert main(["eval", str(folder), "--device", "cpu"]) == 0
    assert capsys.readouterr() == wanted
    assert wanted.err == ""


def test_data_that_have_changed_are_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).random((60, 5), np.float32)
    np.savez("set.npz", x=x, y=np.arange(60) % 2)
    argv = ["fit", "--data", "set.npz", "--model", "mlp", "--width", "4", "--epochs", "1"]
    assert main([*argv, "--no-progress", "--output", "run"]) == 0
    for x_now, classes in ((x, 3), (x[:, :4], 2)):
        np.savez("set.npz", x=x_now, y=np.arange(60) % classes)
        capsys.readouterr()
        assert main(["eval", "run"]) == 2
        said = capsys.readouterr().err
        now = f"samples of shape [{x_now.shape[1]}], {classes} classes"
        assert f"`set.npz` ({now}) has changed since" in said
        assert said.count("\n") == 1


def test_what_is_no_run_is_named(capsys, tmp_path):
    assert main(["eval", str(tmp_path)]) == 2
    assert "config.json` is missing" in capsys.readouterr().err
    assert main(["convert", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_without_its_best_checkpoint_is_named(run, capsys, tmp_path):
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    assert main(["eval", str(tmp_path)]) == 2
    assert "best.ckpt` is missing" in capsys.readouterr().err
