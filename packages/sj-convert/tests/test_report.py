"""What has no spiking form raises with node, line and remedy, or is listed; all else passes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sj_convert import Converter
from sj_core import functional


class Apply(nn.Module):
    """Linear, then a function of the signal."""

    def __init__(self, fn, module=None):
        super().__init__()
        self.fc = nn.Conv2d(3, 4, 1)
        self.fn = fn
        self.extra = module or nn.Identity()
        self.scale = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x):
        x = F.relu(self.fc(x))
        return self.fn(self, x)


@pytest.fixture
def x():
    return torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))


NO_FORM = {
    "gelu": (lambda s, x: F.gelu(x), "gelu", "ReLU"),
    "silu": (lambda s, x: F.silu(x), "silu", "ReLU"),
    "sigmoid": (lambda s, x: torch.sigmoid(x), "sigmoid", "summed over time"),
    "method": (lambda s, x: x.tanh(), "tanh", "ReLU"),
    "softmax": (lambda s, x: F.softmax(x, 1), "softmax", "summed over time"),
    "log_softmax": (lambda s, x: x.log_softmax(1), "log_softmax", "summed over time"),
    "layer_norm": (lambda s, x: F.layer_norm(x, (6,)), "layer_norm", "BatchNorm"),
    "gate": (lambda s, x: x * x.mean((2, 3), keepdim=True), "mul", "product"),
    "square": (lambda s, x: x * x, "mul", "product"),
    "power": (lambda s, x: x**2, "pow", "ReLU"),
    "quotient": (lambda s, x: 1 / (x + 1), "truediv", "product"),
    "leaky": (lambda s, x: F.leaky_relu(x), "leaky_relu", "ReLU"),
    "clamp": (lambda s, x: x.clamp(-1, 1), "clamp", "ReLU"),
    "hardtanh": (lambda s, x: F.hardtanh(x), "hardtanh", "ReLU"),
    "maximum": (lambda s, x: torch.maximum(x, -x), "maximum", "b + F.relu(a - b)"),
    "amax": (lambda s, x: x.amax((2, 3)), "amax", "adaptive_max_pool2d"),
    "prelu": (lambda s, x: F.prelu(x, s.scale.flatten()), "prelu", "F.relu(x) - a * F.relu(-x)"),
    "abs": (lambda s, x: x.abs(), "abs", "F.relu(x) + F.relu(-x)"),
    "hardsigmoid": (lambda s, x: F.hardsigmoid(x), "hardsigmoid", "F.relu6(x + 3) / 6"),
    "new": (lambda s, x: x + x.new_ones(4, 4, 6), "new_ones", "by the batch, `x.size(0)`"),
    "argmax": (lambda s, x: x.argmax(1), "argmax", "summed over time"),
    "bilinear": (lambda s, x: F.bilinear(x, x, torch.ones(2, 6, 6)), "bilinear", "product"),
    "lp_pool": (lambda s, x: F.lp_pool2d(x, 2, 2), "lp_pool2d", "by the mean"),
    "indices": (lambda s, x: F.max_pool2d(x, 2, return_indices=True)[0], "max_pool2d", "without"),
}


@pytest.mark.parametrize("case", list(NO_FORM))
def test_functions_without_spiking_form(case, x):
    fn, name, remedy = NO_FORM[case]
    with pytest.raises(ValueError) as caught:
        Converter([x])(Apply(fn))
    message = str(caught.value)
    assert name in message
    assert remedy in message
    assert "test_report.py:" in message
    assert "strict=False" in message
    assert message.endswith(".")


CURES = {
    "leaky_relu": (
        lambda x: F.leaky_relu(x, 0.1),
        lambda x, a=0.1: F.relu(x) - a * F.relu(-x),
    ),
    "abs": (torch.abs, lambda x: F.relu(x) + F.relu(-x)),
    "hardtanh": (
        lambda x: F.hardtanh(x, -0.7, 0.4),
        lambda x, low=-0.7, high=0.4: F.hardtanh(x - low, 0, high - low) + low,
    ),
    "hardsigmoid": (F.hardsigmoid, lambda x: F.relu6(x + 3) / 6),
}


@pytest.mark.parametrize("name", list(CURES))
def test_cures_are_the_same_function_and_convert(name):
    refused, cure = CURES[name]
    x = torch.linspace(-5, 5, 41, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(cure(x), refused(x))

    class Cured(nn.Module):
        def forward(self, x):
            return cure(x)

    snn = Converter([x], mode="max", v_init=0.5)(Cured())
    functional.set_step_mode(snn, "m")
    assert (snn(x.expand(256, *x.shape)).mean(0) - refused(x)).abs().max() < 10 / 256


MODULES = [
    nn.GELU(), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.Softmax(1), nn.LayerNorm(6),
    nn.GroupNorm(2, 4), nn.LeakyReLU(), nn.PReLU(), nn.ELU(), nn.Hardswish(), nn.Softplus(),
    nn.Hardtanh(), nn.LPPool2d(2, 2), nn.LocalResponseNorm(2), nn.Softmax2d(), nn.InstanceNorm2d(4),
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=lambda m: type(m).__name__)
def test_modules_without_spiking_form(module, x):
    ann = Apply(lambda s, x: s.extra(x), module)
    name = type(module).__name__
    with pytest.raises(ValueError, match=rf"`extra` \({name}\) at .*test_report\.py:\d+ "):
        Converter([x])(ann)
    snn = Converter([x], strict=False)(ann)
    (entry,) = snn.conversion_report
    assert (entry.node, entry.operation) == ("extra", name)
    assert "test_report.py" in entry.line
    assert entry.remedy in str(entry)
    # It acts on the value of each step, in both step modes.
    one = torch.stack([snn(x) for _ in range(3)])
    functional.reset_net(snn)
    functional.set_step_mode(snn, "m")
    torch.testing.assert_close(snn(x.expand(3, *x.shape)), one)


# torch is about to move its quantization elsewhere.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_layers_are_to_be_converted_before(x):
    ann = Apply(lambda s, x: s.extra(x), torch.ao.nn.quantized.dynamic.Linear(6, 6))
    with pytest.raises(
        ValueError, match=r"`extra` \(Linear\) at .*: convert the network before it"
    ):
        Converter([x])(ann)


LINEAR = {
    "sum": lambda s, x: x + torch.add(x, x, alpha=2) - x.sub(0.5),
    "inplace": lambda s, x: x.add_(1.0).mul_(2.0),
    "constants": lambda s, x: (x * s.scale / 3 + 1) * 0.5,
    "cat": lambda s, x: torch.cat([x, -x], 1),
    "stack": lambda s, x: torch.stack((x, 2 * x), dim=1).sum(1),
    "view": lambda s, x: x.view(x.size(0), x.shape[1], -1).mean(-1),
    "flatten": lambda s, x: torch.flatten(x, 1),
    "reshape": lambda s, x: x.reshape(len_of(x), -1),
    "permute": lambda s, x: x.permute(0, 2, 3, 1).contiguous().transpose(1, 3),
    "mean": lambda s, x: x.mean([2, 3]),
    "mean-negative": lambda s, x: torch.mean(x, dim=(-2, -1), keepdim=True),
    "chunk": lambda s, x: x.chunk(2, dim=1)[1] + x.split(2, 1)[0],
    "new": lambda s, x: torch.cat([x, x.new_ones(x.size(0), 2, 4, 6) / 2], 1),
    "new-full": lambda s, x: x + x.new_full((x.shape[0], 1, 1, 6), 0.3) - torch.full_like(x, 0.1),
    "slice": lambda s, x: x[:, 1:, ::2, -1],
    "shuffle": lambda s, x: x.view(x.size(0), 2, 2, x.size(2), -1).transpose(1, 2).flatten(1, 2),
    "avg": lambda s, x: F.avg_pool2d(x, 2) + F.adaptive_avg_pool2d(x, (2, 3)),
    "up": lambda s, x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
    "pad": lambda s, x: F.pad(x, (1, 1, 0, 2)),
    "dropout": lambda s, x: F.dropout(x, 0.5, s.training),
    "conv": lambda s, x: F.conv2d(x, s.scale.expand(4, 4, 1, 1), s.scale.flatten(), padding=1),
    "linear": lambda s, x: F.linear(x, s.scale.view(1, 4).expand(6, 4)[:, :1].expand(6, 6)),
    "squeeze": lambda s, x: x.mean(3, keepdim=True).squeeze(3).unsqueeze(1),
    "module": lambda s, x: nn.functional.pixel_shuffle(x, 2),
}  # fmt: skip


def len_of(x):
    return x.shape[0]


@pytest.mark.parametrize("case", list(LINEAR))
def test_linear_operations_pass_in_both_step_modes(case, x):
    torch.manual_seed(0)
    ann = Apply(LINEAR[case]).double().eval()
    x = x.double()
    snn = Converter([x.clone()], mode="max", v_init=0.5)(ann)
    assert snn.conversion_report == []
    T = 64
    with torch.no_grad():
        expected = ann(x.clone())
        one = torch.stack([snn(x.clone()) for _ in range(T)])
        functional.reset_net(snn)
        functional.set_step_mode(snn, "m")
        seq = snn(x.expand(T, *x.shape).contiguous())
    torch.testing.assert_close(seq, one)
    # One layer of neurons: its error, theta/(2T), passes through a linear map of modest gain.
    assert (seq.mean(0) - expected).abs().max() < 8 * ann(x.clone()).abs().max() / T


LAYERS = [
    nn.ConvTranspose2d(4, 2, 2, 2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten(),
    nn.Flatten(2), nn.Unflatten(1, (2, 2)), nn.Upsample(scale_factor=2), nn.PixelShuffle(2),
    nn.ZeroPad2d(1), nn.ReflectionPad2d(1), nn.Linear(6, 3), nn.BatchNorm2d(4), nn.Dropout2d(0.3),
    nn.Unfold(2), nn.UpsamplingNearest2d(scale_factor=2), nn.ChannelShuffle(2),
]  # fmt: skip


@pytest.mark.parametrize("module", LAYERS, ids=lambda m: repr(m).split("(")[0])
def test_linear_layers_pass_in_both_step_modes(module, x):
    torch.manual_seed(0)
    ann = Apply(lambda s, x: s.extra(x), module).eval()
    snn = Converter([x], mode="max", v_init=0.5)(ann)
    with torch.no_grad():
        one = torch.stack([snn(x) for _ in range(16)])
        functional.reset_net(snn)
        functional.set_step_mode(snn, "m")
        seq = snn(x.expand(16, *x.shape))
        torch.testing.assert_close(seq, one)
        assert (seq.mean(0) - ann(x)).abs().max() < 0.2 * ann(x).abs().max()


def test_control_flow_names_the_line_and_what_to_do(x):
    def branch(s, x):
        return x if x.sum() > 0 else -x

    with pytest.raises(
        ValueError, match=r"`ann` \(Apply\) cannot be traced: .*control flow.*"
    ) as e:
        Converter([x])(Apply(branch))
    assert "test_report.py:" in str(e.value)
    assert "x if x.sum() > 0 else -x" in str(e.value)
    assert "write the choice" in str(e.value)
    assert e.value.__cause__ is not None
