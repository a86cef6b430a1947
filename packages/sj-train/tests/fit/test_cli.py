import dataclasses
import importlib.util
import os
import subprocess
import sys

import pytest

from sj_train.fit import FitConfig
from sj_train.fit.cli import build_parser, main

with_convert = pytest.mark.skipif(
    importlib.util.find_spec("sj_convert") is None, reason="needs sj-convert"
)


def fail(capsys, *argv):
    """Exit status and the one line of the complaint."""
    try:
        status = main(argv)
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return status, captured.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["COMMAND"]),
        (["fly"], ["fly"]),
        (["fit", "--epochs", "0"], ["`--epochs` (=0)", "at least 1"]),
        (["fit", "--epochs", "many"], ["--epochs", "many"]),
        (["fit", "--bogus", "1"], ["--bogus"]),
        (["fit", "--time-steps", "-1"], ["`--time-steps` (=-1)"]),
        (["fit", "--data", "nowhere.npz"], ["`--data` (=nowhere.npz)", "digits"]),
        (["fit", "--neuron", "foo"], ["`--neuron` (=foo)", "lif"]),
        (["fit", "--surrogate", "foo"], ["`--surrogate` (=foo)", "atan"]),
        (["fit", "--model", "foo"], ["`--model` (=foo)", "cnn"]),
        (["fit", "--method", "foo"], ["`--method` (=foo)", "bptt"]),
        (["fit", "--device", "abacus"], ["`--device` (=abacus)", "cpu"]),
        (["fit", "--strategy", "foo"], ["`--strategy` (=foo)"]),
        (["fit", "--resume", "nowhere"], ["nowhere/config.json", "missing"]),
        (["fit", "--tau", "0.5"], ["`--tau` (=0.5)", "greater than 1"]),
        (["fit", "--neuron", "psn", "--method", "sltt"], ["`--neuron` (=psn)", "step by step"]),
        (["fit", "--data", ""], ["`--data` (=)", "digits"]),
        (["fit", "--device", "cpu", "--precision", "16-mixed"], ["16-mixed", "bf16-mixed on"]),
        (["fit", "--output", ""], ["`--output` (=)", "name a folder"]),
        (["fit", "--output", "file/run"], ["`--output` (=file/run)", "Not a directory"]),
        (["fit", "--resume", ""], ["`--resume` (=)", "folder of a run"]),
        (["eval", "file"], ["`file` is no run folder"]),
        (["eval", ""], ["`RUN` (=)", "name the folder of a run"]),
        (["convert", ""], ["`RUN` (=)", "name the folder of a run"]),
        (["eval", "odd"], ["`odd/config.json` cannot be read (Is a directory)", "`sj-train fit`"]),
        (["fit", "--resume", "odd"], ["`odd/config.json` cannot be read (Is a directory)"]),
        (["eval", "x" * 300], ["x/config.json` cannot be read (File name too long)"]),
        (["fit", "--width", str(2**63)], [f"`--width` (={2**63})", "below 2**63"]),
        (["fit", "--batch-size", str(2**70)], [f"`--batch-size` (={2**70})", "below 2**63"]),
        (["fit", "--seed", str(2**64)], [f"`--seed` (={2**64})", "below 2**64"]),
        (["fit", "--v-threshold", "-1e-3"], ["`--v-threshold` (=-0.001)", "positive"]),
        (["fit", "--v-reset", "1"], ["`--v-reset` (=1.0) must be below `--v-threshold` (=1.0)."]),
        (["fit", "--v-reset", "nan"], ["`--v-threshold` (=1.0) and finite"]),
        (["fit", "--sltt-k", "5"], ["`--sltt-k` (=5) must not exceed `--time-steps` (=4)."]),
        (["fit", "--compile", "--method", "ottt"], ["`--compile` must be off for ottt, "]),
        (["fit", "--v-reset", "-inf"], ["`--v-reset` (=-inf)", "finite"]),
        (["fit", "--lr", "-.5E+2"], ["`--lr` (=-50.0)", "positive"]),
        pytest.param(["convert", "file"], ["`file` is no run folder"], marks=with_convert),
    ],
)
def test_bad_arguments_give_one_line_and_status_2(capsys, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "odd" / "config.json").mkdir(parents=True)
    status, line = fail(capsys, *argv)
    assert status == 2
    for word in words:
        assert word in line
    if "nope" not in argv:
        assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("argv", "had"),
    [
        (["--compile"], "--no-compile"),
        (["--no-augment"], "--augment"),
        (["--batch-size", "8"], "--batch-size auto"),
        (["--v-reset", "0"], "--v-reset none"),
        (["--method", "tet"], "--method bptt"),
        (["--lr", "0.1", "--model", "cnn"], "--lr 0.002"),
    ],
)
def test_what_a_resumed_run_cannot_change_is_named_as_it_is_typed(capsys, tmp_path, argv, had):
    FitConfig(v_reset=None).save(tmp_path / "config.json")
    status, line = fail(capsys, "fit", "--resume", str(tmp_path), *argv)
    assert status == 2
    assert line.startswith(f"sj-train fit: error: `{argv[0]}` ")
    assert line.endswith(f"which has `{had}`.\n")


@with_convert
def test_a_setting_that_nobody_typed_is_the_runs(capsys, tmp_path):
    FitConfig(encoder="poisson").save(tmp_path / "config.json")
    status, line = fail(capsys, "convert", str(tmp_path))
    assert status == 2
    assert f"The run `{tmp_path}` does not suit: `encoder` (=poisson) must be direct" in line
    FitConfig(data="nowhere.npz").save(tmp_path / "config.json")
    status, line = fail(capsys, "fit", "--resume", str(tmp_path))
    assert status == 2
    assert f"The run `{tmp_path}` does not suit: `data` (=nowhere.npz) must be one of" in line


def test_a_neuron_without_a_kernel_is_named(capsys, tmp_path, monkeypatch):
    pytest.importorskip("sj_kernels")
    monkeypatch.chdir(tmp_path)
    status, line = fail(capsys, "fit", "--backend", "native", "--neuron", "klif")
    assert status == 2
    assert line.startswith("sj-train fit: error: `--backend` (=native) cannot run KLIFNode: ")
    assert not list(tmp_path.iterdir())


def test_a_failed_start_leaves_no_run_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fail(capsys, "fit", "--neuron", "foo")
    fail(capsys, "fit", "--data", "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (["--sltt-k", "2"], "--method bptt"),
        (["--tet-lambda", "0.1", "--method", "fptt"], "--method fptt"),
        (["--fptt-alpha", "0.1", "--method", "tet"], "--method tet"),
        (["--online", "--method", "fptt"], "--method fptt"),
        (["--image-size", "16"], "--data digits"),
        (["--tau", "3", "--neuron", "if"], "--neuron if"),
        (["--tau", "3", "--neuron", "glif"], "--neuron glif"),
        (["--v-reset", "none", "--neuron", "psn"], "--neuron psn"),
    ],
)
def test_what_has_no_effect_is_said_so_and_the_run_goes_on(capsys, tmp_path, argv, cause):
    settings = ["fit", "--model", "mlp", "--width", "4", "--time-steps", "2", "--epochs", "1"]
    assert main([*settings, *argv, "--no-progress", "--output", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    warning = f"sj-train fit: warning: `{argv[0]}` has no effect with `{cause}`.\n"
    assert said.err == warning
    assert "test accuracy" in said.out


def test_more_workers_than_cores_are_said_to_be_in_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5}, raising=False)
    settings = ["fit", "--model", "mlp", "--width", "4", "--time-steps", "2", "--epochs", "1"]
    argv = [*settings, "--workers", "2", "--no-progress", "--output", str(tmp_path / "run")]
    assert main(argv) == 0
    excess = "`--workers` (=2) exceeds the cores here (1): they wait for each other."
    assert capsys.readouterr().err == f"sj-train fit: warning: {excess}\n"


def test_no_memory_is_one_line(capsys, tmp_path):
    argv = ["fit", "--model", "mlp", "--time-steps", str(10**12), "--no-progress"]
    assert main([*argv, "--output", str(tmp_path / "run")]) == 1
    complaint = "out of memory: take a smaller `--batch-size`, `--time-steps` or `--width`."
    assert capsys.readouterr().err == f"sj-train fit: error: {complaint}\n"


def test_flags_are_the_fields_of_the_settings():
    argv = []
    for spec in dataclasses.fields(FitConfig):
        flag = "--" + spec.name.replace("_", "-")
        argv += [flag] if isinstance(spec.default, bool) else [flag, str(spec.default)]
    args = vars(build_parser().parse_args(["fit", *argv]))
    for spec in dataclasses.fields(FitConfig):
        expected = True if isinstance(spec.default, bool) else spec.default
        assert args[spec.name] == expected
        assert type(args[spec.name]) is type(expected)
    assert build_parser().parse_args(["fit", "--v-reset", "none"]).v_reset is None
    assert build_parser().parse_args(["fit", "--no-augment"]).augment is False


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "sj_train", "fit", "--epochs", "0"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "sj-train fit: error: `--epochs` (=0) must be at least 1."


def test_help_is_quick_and_whole():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sj_train", "fit", "--help"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    for spec in dataclasses.fields(FitConfig):
        assert "--" + spec.name.replace("_", "-") in done.stdout
    assert "lightning" not in done.stderr
