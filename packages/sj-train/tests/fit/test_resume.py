import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")

from sj_train.fit import FitConfig
from sj_train.fit.checkpoint import read_checkpoint
from sj_train.fit.cli import main

SETTINGS = ["--model", "cnn", "--width", "4", "--encoder", "poisson", "--time-steps", "3"]
SETTINGS += ["--batch-size", "32", "--epochs", "4", "--seed", "11", "--no-progress"]
COMMAND = [sys.executable, "-m", "sj_train", "fit", *SETTINGS]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    # Sums are only the same bit for bit with the same number of threads.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def hear_interrupts():
    # A shell that runs the tests in the background has its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(run, *more):
    return subprocess.Popen(
        [*COMMAND, *more, "--output", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=hear_interrupts,
    )


def wait_for_epoch(run, epoch, process):
    metrics = run / "metrics.csv"
    until = time.monotonic() + 120
    while not metrics.exists() or len(metrics.read_text().splitlines()) <= epoch:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.002)


def last(run):
    return read_checkpoint(run / "checkpoints" / "last.ckpt")


def resume(run):
    assert main(["fit", "--resume", str(run), "--no-progress"]) == 0


def without_time(content):
    return {name: value for name, value in content.items() if name != "loops"}


def assert_same(one, other, where=""):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{number}]")
    else:
        assert one == other, where


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert main(["fit", *SETTINGS, "--output", str(run)]) == 0
    return run


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_run_ends_with_the_same_weights_bit_for_bit(tmp_path, uninterrupted, epoch):
    run = tmp_path / "run"
    process = start(run)
    wait_for_epoch(run, epoch, process)
    process.kill()
    process.communicate()
    resume(run)
    ours, theirs = last(run), last(uninterrupted)
    assert_same(without_time(ours), without_time(theirs))
    assert (run / "metrics.csv").read_text() == (uninterrupted / "metrics.csv").read_text()
    best = [read_checkpoint(path / "checkpoints" / "best.ckpt") for path in (run, uninterrupted)]
    assert_same(best[0]["state_dict"], best[1]["state_dict"])


def test_a_damaged_checkpoint_is_named_and_the_one_before_leads_to_the_same_weights(
    tmp_path, uninterrupted, capsys
):
    run = tmp_path / "run"
    process = start(run)
    wait_for_epoch(run, 2, process)
    process.kill()
    process.communicate()
    path = run / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    resume(run)
    assert "last.ckpt` is damaged" in capsys.readouterr().out
    assert_same(last(run)["state_dict"], last(uninterrupted)["state_dict"])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_keeps_the_checkpoint_and_says_how_to_go_on(
    tmp_path, uninterrupted, number, status
):
    run = tmp_path / "run"
    process = start(run)
    wait_for_epoch(run, 1, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert said.strip().splitlines()[-1] == f"Stopped. Go on with: sj-train fit --resume {run}"
    assert "Traceback" not in said
    resume(run)
    assert_same(last(run)["state_dict"], last(uninterrupted)["state_dict"])


def test_a_run_that_goes_on_is_not_resumed_beside_it(tmp_path, uninterrupted, capsys):
    pytest.importorskip("fcntl", reason="locks files as POSIX does")
    run = tmp_path / "run"
    process = start(run)
    wait_for_epoch(run, 1, process)
    process.send_signal(signal.SIGSTOP)
    assert main(["fit", "--resume", str(run), "--no-progress"]) == 2
    complaint = f"`{run}` is being trained by another process: wait for its end, or stop it."
    assert capsys.readouterr().err == f"sj-train fit: error: {complaint}\n"
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert_same(last(run)["state_dict"], last(uninterrupted)["state_dict"])


def test_a_full_disk_is_named_with_the_way_to_go_on(tmp_path, uninterrupted, capsys):
    resource = pytest.importorskip("resource", reason="limits the size of files as POSIX does")
    run = tmp_path / "run"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        assert main(["fit", *SETTINGS, "--output", str(run)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    path = run / "checkpoints" / "next.ckpt"
    complaint = f"sj-train fit: error: `{path}` cannot be written (File too large)."
    cure = f"Go on with: sj-train fit --resume {run}"
    assert capsys.readouterr().err == f"{complaint} {cure}\n"
    resume(run)
    assert_same(last(run)["state_dict"], last(uninterrupted)["state_dict"])


@pytest.mark.slow
def test_a_killed_process_of_several_ends_the_run_and_it_goes_on(tmp_path):
    run = tmp_path / "run"
    process = start(run, "--device", "cpu", "--devices", "2", "--strategy", "ddp")
    wait_for_epoch(run, 1, process)
    others = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not others.exists():
        pytest.skip("needs Linux, to find the other process")
    os.kill(int(others.read_text().split()[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    lost = "sj-train fit: error: Another process of the run has ended."
    # Gloo warns before, where the machine's own name has no address, as in many containers.
    assert said.strip().splitlines()[-1] == f"{lost} Go on with: sj-train fit --resume {run}"
    assert "Traceback" not in said
    # Not in this process, whose environment a strategy changes.
    again = [*COMMAND[:4], "--resume", str(run), "--no-progress"]
    subprocess.run(again, env=ENVIRONMENT, check=True, timeout=200)
    assert last(run)["history"][-1]["epoch"] == 4


def test_a_finished_run_can_be_resumed_without_harm(uninterrupted, capsys):
    before = last(uninterrupted)
    resume(uninterrupted)
    assert re.search(r"test accuracy \d", capsys.readouterr().out)
    assert_same(last(uninterrupted)["state_dict"], before["state_dict"])


def test_a_number_of_epochs_given_anew_is_kept(tmp_path, uninterrupted):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    argv = ["fit", "--resume", str(run), "--epochs", "5", "--no-progress"]
    assert main(argv) == 0
    assert FitConfig.load(run / "config.json").epochs == 5
    assert last(run)["history"][-1]["epoch"] == 5


def test_a_failed_start_changes_no_setting(tmp_path, uninterrupted, capsys):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    dataclasses.replace(FitConfig.load(run / "config.json"), width=6).save(run / "config.json")
    before = (run / "config.json").read_text()
    argv = ["fit", "--resume", str(run), "--epochs", "9", "--workers", "1", "--no-progress"]
    assert main(argv) == 2
    assert "does not fit the settings of its run" in capsys.readouterr().err
    assert (run / "config.json").read_text() == before


def test_a_checkpoint_of_another_network_is_named(tmp_path, uninterrupted, capsys):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    dataclasses.replace(FitConfig.load(run / "config.json"), width=6).save(run / "config.json")
    for argv in (["fit", "--no-progress", "--resume", str(run)], ["eval", str(run)]):
        assert main(argv) == 2
        assert "does not fit the settings of its run" in capsys.readouterr().err


def test_other_settings_are_refused(uninterrupted, capsys):
    assert main(["fit", "--resume", str(uninterrupted), "--lr", "0.1"]) == 2
    assert "`--lr` (=0.1) cannot be changed when a run is resumed" in capsys.readouterr().err
    assert main(["fit", "--resume", str(uninterrupted), "--output", "x"]) == 2
    assert "`--output`" in capsys.readouterr().err


def test_the_settings_of_the_run_may_be_given_once_more(uninterrupted):
    assert main(["fit", *SETTINGS, "--resume", str(uninterrupted)]) == 0
