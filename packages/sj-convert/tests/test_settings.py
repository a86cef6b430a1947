"""Settings and loaders of a converter, and what their values do."""

import warnings

import pytest
import torch
from convert_zoo import ZOO, mean_output, randomised
from torch import nn

from sj_convert import Converter, VoltageScaler, accuracy_over_time
from sj_core import functional


@pytest.fixture
def images():
    return torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(7))


def test_recommended_settings():
    converter = Converter.recommended([torch.rand(2, 2)], 8)
    expected = {
        "mode": "mse", "momentum": None, "channel_wise": True, "fused": True, "neuron": "if",
        "v_init": 0.5, "max_pool": "running", "bias_correction": True, "T": 8, "strict": True,
    }  # fmt: skip
    assert {name: getattr(converter, name) for name in expected} == expected
    assert Converter.recommended([], 4, neuron="signed").neuron == "signed"


def test_defaults():
    converter = Converter([torch.rand(2, 2)])
    expected = {
        "device": None, "mode": "Max", "momentum": 0.1, "fuse_flag": True, "strict": True,
        "channel_wise": False, "fused": False, "neuron": "if", "v_init": 0.0,
        "max_pool": "running", "bias_correction": False, "T": None,
    }  # fmt: skip
    assert {name: getattr(converter, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"mode": "median"}, ValueError, r"`mode` .*'max'.*'99\.9%'.*\(0, 1\].*'mse'"),
        ({"mode": 0}, ValueError, "`mode`"),
        ({"mode": "mse"}, ValueError, r"`T` \(=None\).*mode='mse'"),
        ({"bias_correction": True}, ValueError, r"`T` \(=None\).*bias_correction"),
        ({"T": 0}, ValueError, r"`T` \(=0\)"),
        ({"T": 2.0}, TypeError, "`T`"),
        ({"momentum": 2}, ValueError, "`momentum`"),
        ({"neuron": "lif"}, ValueError, "`neuron` .*'if', 'signed' or 'burst'"),
        ({"max_pool": "avg"}, ValueError, "`max_pool` .*'running'.*'gate'"),
        ({"v_init": 1.0}, ValueError, "`v_init`"),
        ({"v_init": "half"}, TypeError, "`v_init`"),
    ],
)
def test_bad_settings(settings, error, match):
    with pytest.raises(error, match=match) as caught:
        Converter([torch.rand(2, 2)], **settings)
    assert str(caught.value).endswith(".")


def test_bad_loaders():
    ann = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(ValueError, match=r"`dataloader` gave no batch"):
        Converter([])(ann)
    with pytest.raises(TypeError, match=r"`dataloader` gave a batch of type str"):
        Converter(["x"])(ann)
    with pytest.raises(ValueError, match="finite"):
        Converter([torch.full((1, 2), float("nan"))])(ann)


def test_no_warning_on_the_usual_way(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        snn = Converter([images])(randomised(ZOO["densenet"]()))
        functional.set_step_mode(snn, "m")
        snn(images.expand(2, *images.shape))


def test_silent_relu_is_named_and_harmless(images):
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
    with torch.no_grad():
        ann[2].bias.fill_(-100.0)
    x = torch.rand(5, 4)
    for fused in (False, True):
        with pytest.warns(UserWarning, match="ReLU `3` never fires"):
            snn = Converter([x], fused=fused)(ann)
        y = mean_output(snn, x, 8)
        assert torch.equal(y, torch.zeros(5, 3))
        half = snn.half()
        functional.reset_net(half)
        assert half(x.half().expand(4, 5, 4)).isfinite().all()


def test_order_of_the_batches_does_not_matter_without_momentum():
    torch.manual_seed(0)
    ann = randomised(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))
    batches = [torch.randn(n, 4) * n for n in (3, 11, 5)]
    for mode in ("max", "99%", 0.5, "mse"):
        scales = []
        for order in (batches, batches[::-1]):
            snn = Converter(order, mode=mode, momentum=None, T=4)(ann)
            scales.append([m.scale for m in snn.modules() if isinstance(m, VoltageScaler)])
        for a, b in zip(*scales, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("gain", [1e-9, 1e9])
def test_the_scale_of_the_input_is_free(gain, fused):
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    x = torch.rand(20, 4)
    unit = mean_output(Converter([x], channel_wise=True, fused=fused)(ann), x, 8)
    other = mean_output(Converter([x * gain], channel_wise=True, fused=fused)(ann), x * gain, 8)
    torch.testing.assert_close(other / gain, unit, rtol=0.2, atol=0.01)


def test_a_channel_that_hardly_fires_stands_half_precision():
    ann = nn.Sequential(nn.Identity(), nn.ReLU())
    x = torch.tensor([[1.0, 1e-9, -1.0], [0.5, 0.0, -2.0]])
    snn = Converter([x], channel_wise=True)(ann).half()
    y = mean_output(snn, x.half(), 8)
    assert torch.equal(y[:, 0], torch.tensor([1.0, 0.5], dtype=torch.half))
    assert not y[:, 1:].any()


@pytest.mark.parametrize(
    "settings",
    [{}, {"fused": False}, {"neuron": "signed"}, {"max_pool": "gate"}, {"mode": "99%"}],
)
def test_a_default_device_changes_nothing(settings, images):
    # 'meta' holds no data: whatever were made there would fail.
    ann, labels = randomised(ZOO["vgg-max"]()), torch.arange(12) % 10

    def outcome():
        snn = Converter.recommended([images], T=4, **settings)(ann)
        y = mean_output(snn, images, 4)
        return y, accuracy_over_time(snn, [(images, labels)], 4)

    wanted = outcome()
    with torch.device("meta"):
        found = outcome()
    assert torch.equal(found[0], wanted[0])
    assert found[1] == wanted[1]


def test_loaders_without_data():
    ann = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(ValueError, match="gave no batch"):
        Converter([torch.rand(0, 2)])(ann)
    Converter([torch.rand(0, 2), torch.rand(3, 2)])(ann)
    for loader in (torch.rand(3, 2), None, 3):
        with pytest.raises(TypeError, match=r"`dataloader` .*one batch is `\[x\]`"):
            Converter(loader)
