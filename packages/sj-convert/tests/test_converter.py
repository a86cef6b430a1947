"""The converter as a whole: closed forms, thresholds by hand, what it must leave alone."""

import copy
import pickle

import pytest
import torch
from convert_zoo import ZOO, Functional, MaxVGG, mean_output, randomised
from torch import fx, nn
from torch.nn import functional as F

from sj_convert import Converter, ScaledIFNode, VoltageHook, VoltageScaler
from sj_convert.neuron import BurstIFNode, SignedIFNode
from sj_core import functional
from sj_core.neuron import IFNode


@pytest.fixture
def images():
    return torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(7))


class OneLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 20)

    def forward(self, x):
        return F.relu(self.fc(x))


@pytest.mark.parametrize("T", [1, 4, 8, 33])
@pytest.mark.parametrize("channel_wise", [False, True])
def test_one_layer_is_the_closed_form(T, channel_wise):
    torch.manual_seed(0)
    ann = OneLayer().double()
    x = torch.randn(200, 6, dtype=torch.float64)
    snn = Converter.recommended([x], T, bias_correction=False, channel_wise=channel_wise)(ann)
    theta = snn.snn_tailor.relu.v_threshold
    assert theta.shape == ((20,) if channel_wise else ())
    a = ann(x)
    expected = torch.clamp(torch.round(T * a / theta), 0, T) * theta / T
    mean = mean_output(snn, x, T)
    torch.testing.assert_close(mean, expected, rtol=1e-9, atol=1e-9)
    inside = a <= theta
    bound = (theta / (2 * T)).expand_as(a)
    assert ((mean - a).abs() <= bound + 1e-9)[inside].all()
    assert inside.double().mean() > 0.5


def test_published_modes_floor():
    torch.manual_seed(1)
    ann, x = OneLayer().double(), torch.randn(50, 6, dtype=torch.float64)
    snn = Converter([x], mode="max")(ann)
    a, T = ann(x), 10
    s = a.max()
    expected = torch.clamp(torch.floor(T * a / s + 1e-9), 0, T) * s / T
    torch.testing.assert_close(mean_output(snn, x, T), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", ["Max", "max", "99.9%", "90%", 0.5, 1])
def test_scales_by_hand(mode):
    torch.manual_seed(2)
    ann = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU())
    batches = [torch.randn(30, 3), torch.randn(7, 3)]
    snn = Converter(batches, mode=mode, momentum=0.25)(ann)
    for last, name in ((2, "1"), (4, "3")):
        s = []
        for x in batches:
            a = ann[:last](x)
            if isinstance(mode, str) and mode.endswith("%"):
                s.append(torch.quantile(a, float(mode[:-1]) / 100))
            else:
                s.append(a.max() * (mode if isinstance(mode, float) else 1))
        expected = 0.75 * s[0] + 0.25 * s[1]
        first, node, last_ = snn.snn_tailor.get_submodule(name)
        assert isinstance(first, VoltageScaler)
        assert type(node) is IFNode
        assert (node.v_threshold, node.v_reset) == (1.0, None)
        torch.testing.assert_close(first.scale, 1 / expected)
        torch.testing.assert_close(last_.scale, expected)


@pytest.mark.parametrize("name", list(ZOO))
@pytest.mark.parametrize("recommended", [False, True])
def test_every_style_converts_in_both_step_modes(name, recommended, images):
    torch.manual_seed(0)
    ann = randomised(ZOO[name]())
    if recommended:
        snn = Converter.recommended([images], T=256)(ann)
    else:
        snn = Converter([images], mode="max")(ann)
    left = (nn.ReLU, nn.Hardtanh, nn.modules.dropout._DropoutNd)
    assert not [m for m in snn.modules() if isinstance(m, left)]
    targets = " ".join(str(n.target) for n in snn.graph.nodes if "tailor" not in str(n.target))
    assert "relu" not in targets
    assert "clamp" not in targets
    assert snn.conversion_report == []
    assert not any(m.training for m in snn.modules())
    T = 256
    mean = mean_output(snn, images, T)
    with torch.no_grad():
        expected = ann(images)
    # The rate code's own error falls as 1/T: far below the spread between the classes.
    assert (mean - expected).abs().max() < 0.1 * (expected.max() - expected.min())
    functional.reset_net(snn)
    functional.set_step_mode(snn, "s")
    with torch.no_grad():
        one = torch.stack([snn(images) for _ in range(6)])
        functional.reset_net(snn)
        functional.set_step_mode(snn, "m")
        seq = snn(images.expand(6, *images.shape))
    torch.testing.assert_close(one, seq, rtol=1e-4, atol=1e-5)


def test_functional_calls_give_what_modules_give(images):
    torch.manual_seed(0)
    called = randomised(Functional())
    modular = called.net
    for settings in ({"mode": "99.9%"}, {"mode": "mse", "T": 8, "fused": True, "v_init": 0.5}):
        a = mean_output(Converter([images], **settings)(called), images, 16)
        b = mean_output(Converter([images], **settings)(modular), images, 16)
        assert torch.equal(a, b)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("recommended", [False, True])
def test_the_ann_is_left_as_it_was(training, recommended, images):
    torch.manual_seed(0)
    ann = MaxVGG()
    ann.train(training)
    ann[1].eval()  # a flag of its own
    ann[0].weight.requires_grad_(False)
    before = pickle.dumps(ann)
    state = {k: v.clone() for k, v in ann.state_dict().items()}
    ids = [id(m) for m in ann.modules()]
    random = torch.get_rng_state()
    make = Converter.recommended([images], T=4) if recommended else Converter([images])
    snn = make(ann)
    assert pickle.dumps(ann) == before
    assert all(torch.equal(v, state[k]) for k, v in ann.state_dict().items())
    assert [id(m) for m in ann.modules()] == ids
    assert torch.equal(torch.get_rng_state(), random)
    own = {p.data_ptr() for p in ann.parameters()}
    assert not any(p.data_ptr() in own for p in snn.parameters())


def test_static_steps_one_by_one(images):
    torch.manual_seed(0)
    ann = randomised(MaxVGG())
    gm = Converter.fuse(fx.symbolic_trace(copy.deepcopy(ann)))
    assert not [m for m in gm.modules() if isinstance(m, nn.BatchNorm2d)]
    gm = Converter.set_voltagehook(gm, mode="99.9%", momentum=0.1)
    hooks = [m for m in gm.modules() if isinstance(m, VoltageHook)]
    assert len(hooks) == 5
    with torch.no_grad():
        torch.testing.assert_close(gm(images), ann(images), rtol=1e-4, atol=1e-5)
    snn = Converter.replace_by_ifnode(gm)
    whole = Converter([images], mode="99.9%")(ann)
    torch.testing.assert_close(mean_output(snn, images, 8), mean_output(whole, images, 8))
    untouched = Converter.fuse(fx.symbolic_trace(ann), fuse_flag=False)
    assert [m for m in untouched.modules() if isinstance(m, nn.BatchNorm2d)]


def test_fused_neuron_spikes_like_the_three_modules(images):
    torch.manual_seed(0)
    ann = randomised(ZOO["vgg-avg"]()).double()
    x = images.double()
    for settings in ({}, {"channel_wise": True}, {"neuron": "signed"}, {"neuron": "burst"}):
        a = Converter([x], v_init=0.5, **settings)(ann)
        b = Converter([x], v_init=0.5, fused=True, **settings)(ann)
        torch.testing.assert_close(mean_output(a, x, 12), mean_output(b, x, 12))
        kinds = {"signed": SignedIFNode, "burst": BurstIFNode}
        kind = kinds.get(settings.get("neuron"), ScaledIFNode)
        assert sum(type(m) is kind for m in b.modules()) == 5
        assert not any(isinstance(m, VoltageScaler) for m in b.modules())


def test_bias_correction_gives_each_channel_its_mean(images):
    torch.manual_seed(0)
    ann = randomised(ZOO["vgg-avg"]())
    gaps = []
    for corrected in (False, True):
        snn = Converter.recommended([images], T=2, bias_correction=corrected)(ann)
        gaps.append((mean_output(snn, images, 2).mean(0) - ann(images).mean(0)).abs().mean().item())
    assert gaps[1] < 0.7 * gaps[0]


@pytest.mark.parametrize("neuron", ["signed", "burst"])
def test_bias_is_that_of_the_fused_form_where_three_modules_stand(neuron):
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3))
    ann.double()
    x = torch.randn(100, 6, dtype=torch.float64) * 3
    settings = {"mode": "90%", "v_init": 0.5, "bias_correction": True, "T": 8, "neuron": neuron}
    snns = [Converter([x], fused=fused, **settings)(ann) for fused in (True, False)]
    for layer in ("0", "2"):
        a, b = (snn.get_submodule(layer).bias for snn in snns)
        assert (a - ann.get_submodule(layer).bias).abs().max() > 1e-3
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("neuron", ["signed", "burst"])
def test_other_neurons_come_closer(neuron, images):
    torch.manual_seed(0)
    ann = randomised(ZOO["resnet"]())
    T, errors = 8, {}
    with torch.no_grad():
        expected = ann(images)
    # Thresholds that clip are what bursts repair; 'signed' repairs what comes too early.
    mode = "90%" if neuron == "burst" else "max"
    for kind in ("if", neuron):
        snn = Converter([images], mode=mode, neuron=kind, v_init=0.5, fused=True)(ann)
        errors[kind] = (mean_output(snn, images, T) - expected).abs().mean().item()
    assert errors[neuron] < errors["if"]
