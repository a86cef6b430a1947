import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")

from sj_core import functional, neuron, surrogate
from sj_train.fit import ConfigError, FitConfig, SpikingClassifier
from sj_train.fit.models import build_model, build_twin
from sj_train.fit.models.resnet import SEWBlock
from sj_train.fit.neurons import NEURONS, neuron_classes, neuron_factory, surrogate_classes
from sj_train.fit.spikes import spiking_layers


def model(shape=(1, 8, 8), classes=6, **settings):
    torch.manual_seed(0)
    net = build_model(FitConfig(**settings), shape, classes)
    functional.set_step_mode(net, "m")
    return net


@pytest.mark.parametrize("name", ["mlp", "cnn", "vgg", "resnet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 24), (2, 5, 5), (1, 1, 9)])
def test_every_model_takes_every_image(name, shape):
    net = model(shape, model=name, width=4)
    y = net(torch.rand(3, 2, *shape))
    assert y.shape == (3, 2, 6)
    y.square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("name", ["mlp", "cnn", "vgg", "resnet"])
def test_both_step_modes_agree(name):
    net = model(model=name, width=4).eval()
    x_seq = torch.rand(4, 3, 1, 8, 8) * 2
    together = net(x_seq)
    functional.reset_net(net)
    functional.set_step_mode(net, "s")
    torch.testing.assert_close(torch.stack([net(x) for x in x_seq]), together)


@pytest.mark.parametrize("name", ["mlp", "cnn", "vgg", "resnet"])
def test_the_twin_has_relus_where_the_network_has_neurons(name):
    config = FitConfig(model=name, width=4)
    twin, net = build_twin(config, (1, 8, 8), 6), build_model(config, (1, 8, 8), 6)
    assert twin(torch.rand(2, 1, 8, 8)).shape == (2, 6)
    theirs = [type(m) for m in twin.modules() if not list(m.children())]
    nodes = set(spiking_layers(net).values())
    ours = [type(m) for m in net.modules() if m in nodes or not list(m.children())]
    ours = [kind for kind in ours if "surrogate" not in kind.__module__]
    for one, other in zip(theirs, ours, strict=True):
        assert one is nn.ReLU if issubclass(other, neuron.BaseNode) else issubclass(other, one)
    assert not any("sj_core" in type(m).__module__ for m in twin.modules())


def test_a_silent_branch_makes_a_block_the_identity():
    block = SEWBlock(3, 3, 1, lambda: neuron.IFNode(v_threshold=1e9, step_mode="m"))
    functional.set_step_mode(block, "m")
    x = torch.randint(2, (4, 2, 3, 5, 5)).float()
    assert torch.equal(block(x), x)


def test_a_block_adds_spikes_to_spikes():
    block = SEWBlock(2, 4, 2, lambda: neuron.IFNode(v_threshold=0.1, step_mode="m"))
    functional.set_step_mode(block, "m")
    y = block(torch.randint(2, (6, 3, 2, 8, 8)).float())
    assert y.shape == (6, 3, 4, 4, 4)
    assert set(y.unique().tolist()) <= {0.0, 1.0, 2.0}
    assert 2.0 in y


def test_every_neuron_of_the_list_is_there_and_runs():
    assert neuron_classes().keys() == NEURONS.keys()
    for name in NEURONS:
        net = model(model="mlp", width=8, neuron=name)
        nodes = [m for m in net if type(m) is neuron_classes()[name]]
        assert len(nodes) == 2, name
        assert torch.isfinite(net(torch.rand(4, 5, 1, 8, 8))).all(), name


def test_every_surrogate_of_the_list_gives_a_gradient():
    assert {"atan", "sigmoid", "piecewise_quadratic", "erf", "rect"} <= surrogate_classes().keys()
    for name in surrogate_classes():
        net = model(model="mlp", width=8, surrogate=name)
        net(torch.rand(4, 5, 1, 8, 8)).square().mean().backward()
        assert torch.isfinite(net[1].weight.grad).all(), name


def test_surrogates_have_the_names_of_the_functions_of_sj_core():
    for name, kind in surrogate_classes().items():
        assert callable(getattr(surrogate, name)), kind


@pytest.mark.parametrize("name", sorted(NEURONS))
def test_online_rules_refuse_just_the_neurons_that_take_whole_sequences(name):
    net = model(model="mlp", width=8, neuron=name)
    try:
        functional.set_step_mode(net, "s")
    except ValueError:
        with pytest.raises(ConfigError, match=rf"`neuron` \(={name}\) takes whole sequences"):
            model(model="mlp", width=8, neuron=name, method="sltt")
    else:
        model(model="mlp", width=8, neuron=name, method="sltt")


def test_settings_without_an_argument_do_not_reach_a_neuron():
    node = neuron_factory(FitConfig(neuron="if", tau=5.0, v_threshold=2.0))()
    assert node.v_threshold == 2.0
    assert not hasattr(node, "tau")


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ConfigError, match=r"`model` \(=cnn\) needs images.*\[7\]"):
        model((7,), model="cnn")
    assert model((7,), model="mlp")(torch.rand(2, 3, 7)).shape == (2, 3, 6)
    with pytest.raises(ConfigError, match="takes whole sequences"):
        model(model="rnn", method="fptt")
    with pytest.raises(ConfigError, match="no plain sequence"):
        model(model="resnet", method="ottt")


def test_the_recurrent_model_reads_its_sequence():
    pytest.importorskip("sj_rnn", reason="the model rnn needs sj-rnn")
    net = SpikingClassifier(FitConfig(model="rnn", width=16).to_dict(), [1, 8, 8], 10)
    x = torch.rand(3, 1, 8, 8)
    y = net(x)
    assert y.shape == (4, 3, 10)
    assert torch.equal(net(x), y)
    assert net.rates.take().item() > 0
    x_seq = torch.rand(4, 3, 1, 8, 8)
    changed = x_seq.clone()
    changed[2] = 0
    one, other = net.run(x_seq), net.run(changed)
    assert torch.equal(one[:2], other[:2])
    assert not torch.equal(one[2:], other[2:])


def test_the_recurrent_model_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sj_rnn", None)
    with pytest.raises(ImportError, match="pip install sj-rnn"):
        model(model="rnn")
