import os
import pickle
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")

from sj_train.fit import RunError
from sj_train.fit.checkpoint import (
    AtomicCheckpointIO,
    RunCheckpoint,
    duplicate,
    load_weights,
    newest_intact,
    read_checkpoint,
)
from sj_train.fit.errors import WriteError
from sj_train.fit.figure import save_figure
from sj_train.fit.history import write_whole


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    for number, name in enumerate(("best.ckpt", "previous.ckpt", "last.ckpt")):
        content = {"state_dict": {"w": torch.full((200,), float(number))}, "epoch": number}
        content |= {"hyper_parameters": {}, "history": [{"epoch": number}]}
        AtomicCheckpointIO().save_checkpoint(content, folder / name)
    return tmp_path / "run"


def test_what_is_written_is_read(run):
    content = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert torch.equal(content["state_dict"]["w"], torch.full((200,), 2.0))
    assert sorted(os.listdir(run / "checkpoints")) == ["best.ckpt", "last.ckpt", "previous.ckpt"]


def test_a_failed_write_leaves_the_old_file(run, monkeypatch):
    path = run / "checkpoints" / "last.ckpt"
    before = path.read_bytes()

    def full_disk(content, file):
        file.write(b"half a checkpoint")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {}}, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("write", ["a checkpoint", "a copy", "a text", "a picture"])
def test_what_cannot_be_written_is_named_and_leaves_the_old_file_alone(run, write):
    resource = pytest.importorskip("resource", reason="limits the size of files as POSIX does")
    folder = run / "checkpoints"
    path, names = folder / "last.ckpt", sorted(os.listdir(folder))
    before = path.read_bytes()
    large = torch.rand(40_000)
    (run / "large").write_bytes(bytes(200_000))

    picture = SimpleNamespace(savefig=lambda file, format: file.write_bytes(bytes(200_000)))
    writes = {
        "a checkpoint": lambda: AtomicCheckpointIO().save_checkpoint({"w": large}, path),
        "a copy": lambda: duplicate(run / "large", path),
        "a text": lambda: write_whole(path, "x" * 200_000),
        "a picture": lambda: save_figure(picture, path),
    }
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(WriteError, match=r"last\.ckpt` cannot be written \(File too large\)\."):
            writes[write]()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert sorted(os.listdir(folder)) == names


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip(path):
    # In the middle of the stored weights, where no structure tells.
    data = bytearray(path.read_bytes())
    position = data.find(torch.full((4,), 2.0).numpy().tobytes()) + 100
    data[position] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def foreign(path):
    torch.save([1, 2], path)


def of_no_epoch(path):
    torch.save({**torch.load(path, weights_only=True), "history": []}, path)


def without_weights(path):
    torch.save({**torch.load(path, weights_only=True), "state_dict": None}, path)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def hostile(path):
    torch.save({"state_dict": {}, "payload": Payload()}, path)


@pytest.mark.parametrize(
    "damage", [cut, flip, empty, foreign, of_no_epoch, without_weights, hostile]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    run, damage, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = run / "checkpoints" / "last.ckpt"
    damage(path)
    with pytest.raises(RunError, match=r"last.ckpt` is damaged"):
        read_checkpoint(path)
    found, complaints = newest_intact(run)
    assert found == run / "checkpoints" / "previous.ckpt"
    assert len(complaints) == 1
    assert "last.ckpt` is damaged" in complaints[0]
    assert not (tmp_path / "executed").exists()


def test_what_training_cannot_go_on_from_is_named(run):
    path = run / "checkpoints" / "last.ckpt"
    read_checkpoint(path)
    with pytest.raises(RunError, match=r"last.ckpt` is damaged: it holds no `optimizer_states`"):
        AtomicCheckpointIO().load_checkpoint(path)


def test_the_newest_is_taken_when_all_are_well(run):
    assert newest_intact(run) == (run / "checkpoints" / "last.ckpt", [])


def test_what_may_not_be_read_is_not_replaced_by_a_new_start(run, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "previous.ckpt")
    assert newest_intact(run)[0] == run / "checkpoints" / "last.ckpt"
    cut(run / "checkpoints" / "last.ckpt")
    with pytest.raises(RunError, match=r"previous.ckpt` may not be read"):
        newest_intact(run)


def test_a_run_without_any_readable_checkpoint_starts_anew(run):
    for name in ("last", "previous", "best"):
        cut(run / "checkpoints" / f"{name}.ckpt")
    found, complaints = newest_intact(run)
    assert found is None
    assert len(complaints) == 3
    shutil.rmtree(run / "checkpoints")
    assert newest_intact(run) == (None, [])
    with pytest.raises(RunError, match=r"last.ckpt` is missing"):
        read_checkpoint(run / "checkpoints" / "last.ckpt")


def test_a_duplicate_is_a_file_of_its_own(tmp_path):
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("old")
    duplicate(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").write_text("changed")
    assert (tmp_path / "b").read_text() == "one"


def test_the_hostile_checkpoint_would_have_run_its_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Payload()))
    assert (tmp_path / "executed").exists()


def test_a_kill_at_any_moment_between_two_files_leaves_the_best_checkpoint(tmp_path, monkeypatch):
    class Trainer:
        is_global_zero = True

        def save_checkpoint(self, path):
            history = [dict(row) for row in module.history]
            content = {"state_dict": {}, "hyper_parameters": {}, "history": history}
            AtomicCheckpointIO().save_checkpoint({**content, "best": callback.best}, path)

    module = SimpleNamespace(history=[{"epoch": 1, "val_accuracy": 0.5}])
    callback = RunCheckpoint(tmp_path)
    callback.on_train_epoch_end(Trainer(), module)
    module.history.append({"epoch": 2, "val_accuracy": 0.9})
    best = tmp_path / "checkpoints" / "best.ckpt"
    replace = os.replace
    renamed, limit = 0, 0

    def killed(source, target):
        nonlocal renamed
        if renamed == limit:
            raise KeyboardInterrupt
        renamed += 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    while True:
        renamed = 0
        callback.best = [0.5, 0.0]
        try:
            callback.on_train_epoch_end(Trainer(), module)
        except KeyboardInterrupt:
            found, complaints = newest_intact(tmp_path)
            assert complaints == []
            # What a run goes on from never counts a best epoch whose checkpoint is not there.
            going_on = read_checkpoint(found)
            assert read_checkpoint(best)["history"][-1]["val_accuracy"] >= going_on["best"][0]
        else:
            break
        limit += 1
    assert limit > 3
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["history"][-1]["epoch"] == 2


def test_weights_of_another_network_are_no_weights_of_a_run(tmp_path):
    content = {"state_dict": nn.Linear(2, 3).state_dict()}
    with pytest.raises(RunError, match=r"best.ckpt` does not fit the settings"):
        load_weights(nn.Linear(4, 3), content, tmp_path / "best.ckpt")
