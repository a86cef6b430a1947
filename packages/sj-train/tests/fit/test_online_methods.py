import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")

from sj_core import layer, neuron
from sj_train.fit import ConfigError, FitConfig, SpikingClassifier
from sj_train.fit.checkpoint import read_checkpoint
from sj_train.fit.cli import main
from sj_train.fit.methods import build_method
from sj_train.online import OTTTLIFNode, OTTTSequential

SMALL = ["--model", "mlp", "--width", "64", "--time-steps", "4", "--batch-size", "16"]


def harness(net, lr=0.5):
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    return SimpleNamespace(net=net, device=torch.device("cpu"), optimizers=lambda: optimizer)


@pytest.mark.parametrize("method", ["ottt", "sltt"])
def test_without_memory_the_step_is_that_of_the_mean_loss_over_time(method):
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(3, 5), nn.Tanh(), layer.Linear(5, 4))
    x_seq, target = torch.randn(6, 7, 3), torch.randint(4, (7,))
    outputs = torch.stack([net(x) for x in x_seq])
    expected_loss = torch.stack([F.cross_entropy(y, target) for y in outputs]).mean()
    gradients = torch.autograd.grad(expected_loss, list(net.parameters()))
    expected = [p.detach() - 0.5 * g for p, g in zip(net.parameters(), gradients, strict=True)]
    rule = build_method(FitConfig(method=method, time_steps=6))
    loss, y_seq = rule.step(harness(net), x_seq, target)
    torch.testing.assert_close(loss, expected_loss.detach())
    torch.testing.assert_close(y_seq, outputs.detach())
    for parameter, value in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value)


def test_fptt_carries_the_running_average_from_batch_to_batch():
    # One weight, one step per sequence, no memory: the update by hand, with g_0 = 0 each time:
    # w <- w - lr (l'(w) + alpha (w - m)), then m <- (m + w)/2 - l'(w)/(2 alpha) at the new w.
    net = nn.Sequential(nn.Linear(1, 2, bias=False).double())
    net[0].weight.data = torch.tensor([[0.3], [-0.2]], dtype=torch.float64)
    w = m = net[0].weight.detach().clone()
    rule = build_method(FitConfig(method="fptt", time_steps=1, fptt_alpha=0.8))
    owner = harness(net, lr=0.1)

    def gradient(w, x):
        p = (w @ x).softmax(0)
        return torch.outer(p - torch.tensor([0.0, 1.0], dtype=torch.float64), x)

    for value in (1.5, -0.7):
        x = torch.tensor([value], dtype=torch.float64)
        w = w - 0.1 * (gradient(w, x) + 0.8 * (w - m))
        m = (m + w) / 2 - gradient(w, x) / 1.6
        rule.step(owner, x.view(1, 1, 1), torch.tensor([1]))
    torch.testing.assert_close(net[0].weight.detach(), w)
    torch.testing.assert_close(rule.running_average[0], m)


def test_fptt_reports_the_outputs_before_each_step():
    net = nn.Sequential(layer.Linear(3, 4))
    before = [p.detach().clone() for p in net.parameters()]
    x_seq, target = torch.randn(1, 5, 3), torch.randint(4, (5,))
    rule = build_method(FitConfig(method="fptt", time_steps=1))
    loss, y_seq = rule.step(harness(net), x_seq, target)
    y = F.linear(x_seq[0], *before)
    torch.testing.assert_close(y_seq[0], y)
    torch.testing.assert_close(loss, F.cross_entropy(y, target))


def test_ottt_takes_its_own_neuron_and_container():
    net = SpikingClassifier(FitConfig(method="ottt", tau=3.0).to_dict(), [1, 8, 8], 10).net
    assert isinstance(net, OTTTSequential)
    nodes = [m for m in net.modules() if isinstance(m, neuron.BaseNode)]
    assert len(nodes) == 5
    assert all(type(node) is OTTTLIFNode and node.tau == 3.0 for node in nodes)
    with pytest.raises(ConfigError, match="must be lif for ottt"):
        SpikingClassifier(FitConfig(method="ottt", neuron="if").to_dict(), [1, 8, 8], 10)


@pytest.mark.parametrize(
    ("field", "value"),
    [("clip", 1.0), ("devices", 2), ("compile", True), ("precision", "16-mixed")],
)
def test_what_online_rules_cannot_do_is_refused(field, value):
    with pytest.raises(ConfigError, match=rf"`{field}` .* for sltt"):
        FitConfig(method="sltt", **{field: value})


@pytest.mark.parametrize(
    "settings",
    [
        ["--method", "bptt", "--optimizer", "sgd", "--lr", "0.1", "--clip", "1"],
        ["--method", "tet", "--neuron", "plif", "--encoder", "poisson"],
        ["--method", "ottt", "--encoder", "latency"],
        ["--method", "ottt", "--online", "--lr", "0.001"],
        ["--method", "sltt", "--sltt-k", "2", "--encoder", "poisson"],
        ["--method", "fptt", "--encoder", "poisson"],
    ],
    ids=" ".join,
)
def test_every_rule_learns_and_goes_on_from_a_checkpoint_bit_for_bit(tmp_path, settings):
    run = tmp_path / "run"
    argv = ["fit", *SMALL, *settings, "--epochs", "3", "--no-progress", "--output", str(run)]
    assert main(argv) == 0
    checkpoints = run / "checkpoints"
    whole = read_checkpoint(checkpoints / "last.ckpt")
    history = whole["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["train_accuracy"] > 0.3  # of ten classes
    assert 0 < history[-1]["train_rate"] < 1
    shutil.copyfile(checkpoints / "previous.ckpt", checkpoints / "last.ckpt")
    assert main(["fit", "--resume", str(run), "--no-progress"]) == 0
    again = read_checkpoint(checkpoints / "last.ckpt")
    assert again["history"] == history
    for name, value in whole["state_dict"].items():
        assert torch.equal(again["state_dict"][name], value), name


@pytest.mark.parametrize("method", ["ottt", "sltt", "fptt"])
@pytest.mark.parametrize("steps", ["1", "3"])
def test_a_last_batch_of_one_sample_stops_nothing(tmp_path, method, steps):
    # 60 samples: 42 to train, 41 and 1.
    x = np.random.default_rng(0).random((60, 5), dtype=np.float32)
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(60) % 3)
    argv = ["fit", "--data", str(tmp_path / "set.npz"), "--model", "mlp", "--method", method]
    argv += ["--time-steps", steps, "--batch-size", "41", "--epochs", "2", "--no-progress"]
    assert main([*argv, "--output", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "figure.png").exists()
