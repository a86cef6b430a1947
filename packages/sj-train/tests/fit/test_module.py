import itertools
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")

from sj_core import functional, neuron
from sj_train.fit import FitConfig, SpikingClassifier
from sj_train.fit.module import _compiled_call, lr_scale


def classifier(shape=(1, 8, 8), classes=10, **settings):
    torch.manual_seed(0)
    return SpikingClassifier(FitConfig(**settings).to_dict(), list(shape), classes)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 20), (2, 5, 5)])
@pytest.mark.parametrize("encoder", ["direct", "poisson", "latency"])
def test_evidence_for_each_class_at_each_step(model, shape, encoder):
    net = classifier(shape, 7, model=model, encoder=encoder, time_steps=3, width=4)
    y_seq = net(torch.rand(2, *shape))
    assert y_seq.shape == (3, 2, 7)
    y_seq.mean(0).sum().backward()
    for name, parameter in net.net.named_parameters():
        assert parameter.grad is not None, name


def test_each_call_starts_from_a_reset_network():
    net = classifier(model="cnn", width=4).eval()
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(net(x), net(x))
    assert net(x[:2]).shape == (4, 2, 10)


def test_many_steps_at_once_are_the_steps_one_by_one():
    net = classifier(model="cnn", width=4, time_steps=5).eval()
    x = torch.rand(2, 1, 8, 8)
    together = net(x)
    functional.reset_net(net.net)
    functional.set_step_mode(net.net, "s")
    one_by_one = torch.stack([net.net(x) for _ in range(5)])
    torch.testing.assert_close(together, one_by_one)


@pytest.mark.parametrize("model", ["mlp", "cnn", "vgg", "resnet", "rnn"])
def test_the_whole_network_is_compiled_as_one_and_once_for_any_batch(monkeypatch, model):
    if model == "rnn":
        pytest.importorskip("sj_rnn")
    graphs = []

    def backend(graph, example):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    _compiled_call.cache_clear()
    net = classifier(model=model, width=2, time_steps=2, compile=True)
    plain = classifier(model=model, width=2, time_steps=2)
    # Below 16 images at once torch takes another convolution, which is a graph of its own.
    for size in (16, 16, 9, 8):
        x = torch.rand(size, 1, 8, 8)
        y, expected = net(x), plain(x)
        y.sum().backward()
        expected.sum().backward()
        torch.testing.assert_close(y, expected)
        for mine, theirs in zip(net.net.parameters(), plain.net.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad)
        # Between batches the counted spikes are taken.
        torch.testing.assert_close(net.rates.take(), plain.rates.take())
    assert len(graphs) == 1
    assert list(net.state_dict()) == list(plain.state_dict())
    _compiled_call.cache_clear()


def test_settings_reach_the_neurons():
    net = classifier(tau=3.5, v_threshold=0.7, v_reset=None, surrogate="sigmoid", backend="torch")
    nodes = [m for m in net.net.modules() if isinstance(m, neuron.LIFNode)]
    assert len(nodes) == 5
    for node in nodes:
        assert (node.tau, node.v_threshold, node.v_reset) == (3.5, 0.7, None)
        assert type(node.surrogate_function).__name__ == "Sigmoid"
        assert node.backend == "torch"
        assert node.detach_reset
    assert len({id(node.surrogate_function) for node in nodes}) == 5


@pytest.mark.parametrize("name", ["if", "lif", "plif"])
def test_neurons_by_name(name):
    net = classifier(model="mlp", neuron=name, width=8, tau=3.0)
    assert torch.isfinite(net(torch.rand(2, 1, 8, 8))).all()
    if name == "plif":
        node = next(m for m in net.net.modules() if isinstance(m, neuron.ParametricLIFNode))
        assert node.w.item() == pytest.approx(-math.log(2.0))


def test_the_tet_loss_is_the_papers():
    net = classifier(method="tet", tet_lambda=0.2)
    y_seq, target = torch.randn(4, 6, 10), torch.randint(10, (6,))
    each = torch.stack([F.cross_entropy(y, target) for y in y_seq])
    expected = 0.8 * each.mean() + 0.2 * ((y_seq - 1) ** 2).mean()
    torch.testing.assert_close(net.method.loss(y_seq, target), expected)


def test_the_bptt_loss_is_the_cross_entropy_of_the_mean():
    net = classifier()
    y_seq, target = torch.randn(4, 6, 10), torch.randint(10, (6,))
    expected = -y_seq.mean(0).log_softmax(1)[range(6), target].mean()
    torch.testing.assert_close(net.method.loss(y_seq, target), expected)


def test_the_learning_rate_rises_then_falls_to_zero():
    scales = [lr_scale(step / 1000) for step in range(1001)]
    assert scales[0] == pytest.approx(0.05)
    assert max(scales) == pytest.approx(scales[100]) == 1.0
    assert scales[-1] == pytest.approx(0.0)
    assert all(a < b for a, b in itertools.pairwise(scales[:101]))
    assert all(a > b for a, b in itertools.pairwise(scales[100:]))


def test_only_weights_decay():
    net = classifier(neuron="plif", weight_decay=0.3)
    decayed, free = net.configure_optimizers().param_groups
    assert decayed["weight_decay"] == 0.3
    assert free["weight_decay"] == 0.0
    assert all(p.ndim > 1 for p in decayed["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(list(net.net.parameters()))
