import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")

from sj_train.fit import FitConfig, SpikingClassifier
from sj_train.fit.checkpoint import read_checkpoint
from sj_train.fit.cli import main
from sj_train.fit.data import load_data

SMALL = ["--model", "mlp", "--width", "32", "--time-steps", "3", "--batch-size", "64"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    status = main(["fit", *SMALL, "--epochs", "3", "--no-progress", "--output", str(run)])
    assert status == 0
    return run


def test_the_run_folder_holds_everything(finished):
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert {
        "config.json",
        "metrics.csv",
        "results.json",
        "figure.png",
        "checkpoints/last.ckpt",
        "checkpoints/previous.ckpt",
        "checkpoints/best.ckpt",
    } <= names
    assert not [name for name in names if name.endswith(".tmp")]
    assert FitConfig.load(finished / "config.json").width == 32


def test_the_reported_accuracy_is_that_of_the_best_checkpoint(finished):
    config = FitConfig.load(finished / "config.json")
    content = read_checkpoint(finished / "checkpoints" / "best.ckpt")
    net = SpikingClassifier(**content["hyper_parameters"])
    net.load_state_dict(content["state_dict"])
    net.eval()
    test = load_data(config).test
    with torch.no_grad():
        right = (net(test.x).mean(0).argmax(1) == test.y).sum().item()
    results = json.loads((finished / "results.json").read_text())
    assert results["test_accuracy"] == pytest.approx(right / len(test.y))
    assert results["parameters"] == 64 * 32 + 32 * 32 + 4 * 32 + 32 * 10 + 10


def test_the_best_checkpoint_is_that_of_the_best_validation(finished):
    with (finished / "metrics.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    results = json.loads((finished / "results.json").read_text())
    assert results["best_epoch"] == best["epoch"]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert all(0 < row["train_rate"] < 1 for row in rows)


def test_the_figure_is_a_picture(finished):
    image = pytest.importorskip("PIL.Image", reason="needs the extra sj-train[fit]")
    with image.open(finished / "figure.png") as picture:
        assert picture.size[0] > 1200
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


def test_the_same_seed_gives_the_same_weights_and_another_one_others(tmp_path):
    weights = []
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        argv = ["fit", *SMALL, "--epochs", "1", "--seed", seed, "--encoder", "poisson"]
        assert main([*argv, "--no-progress", "--output", str(tmp_path / name)]) == 0
        weights.append(read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt"))
    first, same, other = (content["state_dict"] for content in weights)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["net.1.weight"], other["net.1.weight"])


def test_progress_shows_loss_accuracy_and_rate(tmp_path, capsys):
    assert main(["fit", *SMALL, "--epochs", "2", "--output", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 2
    for number, line in enumerate(epochs, 1):
        assert line.startswith(f"epoch {number}/2 100% |")
        for word in ("20/20", "loss=", "acc=", "rate=", "val_acc="):
            assert word in line
    assert lines[-2].startswith("test accuracy ")
    assert lines[-1] == f"figure: {tmp_path / 'run' / 'figure.png'}"


def test_an_output_that_holds_a_run_is_left_alone(finished, capsys):
    before = (finished / "config.json").read_bytes()
    assert main(["fit", *SMALL, "--epochs", "1", "--output", str(finished)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (finished / "config.json").read_bytes() == before


def test_runs_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["fit", *SMALL, "--epochs", "1", "--no-progress"]) == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["digits-mlp-lif-bptt-001", "digits-mlp-lif-bptt-002"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bptt", "tet"])
def test_digits_are_learnt(tmp_path, method):
    run = tmp_path / "run"
    argv = ["fit", "--data", "digits", "--model", "cnn", "--neuron", "lif", "--time-steps", "4"]
    argv += ["--epochs", "20", "--method", method]
    assert main([*argv, "--no-progress", "--output", str(run)]) == 0
    results = json.loads((run / "results.json").read_text())
    assert results["test_accuracy"] >= 0.98


@pytest.mark.parametrize("precision", ["64", "bf16-mixed"])
def test_other_precisions_learn(tmp_path, precision):
    run = tmp_path / "run"
    argv = ["fit", *SMALL, "--epochs", "3", "--precision", precision, "--no-progress"]
    assert main([*argv, "--output", str(run)]) == 0
    content = read_checkpoint(run / "checkpoints" / "last.ckpt")
    expected = torch.float64 if precision == "64" else torch.float32
    assert content["state_dict"]["net.1.weight"].dtype == expected
    assert content["history"][-1]["train_loss"] < content["history"][0]["train_loss"]
    assert (run / "figure.png").exists()


def test_the_number_of_workers_changes_nothing(tmp_path):
    weights = []
    for workers in ("0", "2"):
        run = tmp_path / workers
        argv = ["fit", *SMALL, "--epochs", "1", "--workers", workers, "--encoder", "poisson"]
        assert main([*argv, "--no-progress", "--output", str(run)]) == 0
        weights.append(read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
# While it traces, the compiler of torch uses what torch deprecates, and looks at gradients.
@pytest.mark.filterwarnings("ignore")
def test_the_compiled_network_learns_the_same(tmp_path):
    results = []
    for flag in ("--no-compile", "--compile"):
        run = tmp_path / flag
        argv = ["fit", *SMALL, "--epochs", "1", flag, "--no-progress", "--output", str(run)]
        assert main(argv) == 0
        results.append(read_checkpoint(run / "checkpoints" / "last.ckpt"))
    eager, compiled = (content["history"][0] for content in results)
    assert list(results[0]["state_dict"]) == list(results[1]["state_dict"])
    assert compiled["train_loss"] == pytest.approx(eager["train_loss"], rel=0.02)
    assert compiled["train_rate"] == pytest.approx(eager["train_rate"], rel=0.02)


@pytest.mark.slow
def test_two_processes_train_test_and_resume(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "sj_train", "fit"]
    settings = [*SMALL, "--batch-size", "16", "--epochs", "3", "--no-progress"]
    devices = ["--device", "cpu", "--devices", "2", "--strategy", "ddp", "--output", str(run)]
    options = {"capture_output": True, "text": True, "timeout": 200}
    options["env"] = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *settings, *devices], **options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    whole = read_checkpoint(run / "checkpoints" / "last.ckpt")
    # The whole test set is counted once, by two processes with unequal shares.
    accuracy = json.loads((run / "results.json").read_text())["test_accuracy"]
    assert accuracy * 359 == pytest.approx(round(accuracy * 359), abs=1e-3)
    assert main(["eval", str(run)]) == 0
    assert json.loads((run / "eval.json").read_text())["test_accuracy"] == pytest.approx(accuracy)
    shutil.copyfile(run / "checkpoints" / "previous.ckpt", run / "checkpoints" / "last.ckpt")
    done = subprocess.run([*command, "--resume", str(run), "--no-progress"], **options)
    assert done.returncode == 0, done.stderr
    again = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert again["history"] == whole["history"]
    for name, value in whole["state_dict"].items():
        assert torch.equal(again["state_dict"][name], value), name
