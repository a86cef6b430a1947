"""BatchNorm folding against the unfolded network, in float64, and where it must not happen."""

import copy

import pytest
import torch
from torch import fx, nn

from sj_convert import Converter
from sj_convert.fuse import fold_batch_norm


def statistics(bn):
    generator = torch.Generator().manual_seed(0)
    n = bn.num_features
    bn.running_mean.copy_(torch.randn(n, generator=generator))
    bn.running_var.copy_(torch.rand(n, generator=generator) + 0.1)
    if bn.weight is not None:
        with torch.no_grad():
            bn.weight.copy_(torch.randn(n, generator=generator))
            bn.bias.copy_(torch.randn(n, generator=generator))
    return bn


PAIRS = [
    (lambda b: nn.Conv1d(4, 6, 3, bias=b), nn.BatchNorm1d, (4, 9)),
    (lambda b: nn.Conv2d(4, 6, 3, 2, 1, groups=2, bias=b), nn.BatchNorm2d, (4, 7, 8)),
    (
        lambda b: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", bias=b),
        nn.BatchNorm2d,
        (4, 7, 8),
    ),
    (lambda b: nn.Conv3d(4, 6, 2, dilation=2, bias=b), nn.BatchNorm3d, (4, 4, 5, 6)),
    (lambda b: nn.ConvTranspose1d(4, 6, 3, 2, bias=b), nn.BatchNorm1d, (4, 9)),
    (lambda b: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, bias=b), nn.BatchNorm2d, (4, 5, 6)),
    (lambda b: nn.ConvTranspose3d(4, 6, 2, bias=b), nn.BatchNorm3d, (4, 3, 4, 5)),
    (lambda b: nn.Linear(4, 6, bias=b), nn.BatchNorm1d, (4,)),
]  # fmt: skip


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("build", "norm", "shape"), PAIRS)
def test_folded_equals_pair(build, norm, shape, bias, affine):
    torch.manual_seed(0)
    layer, bn = build(bias).double(), statistics(norm(6, eps=1e-3, affine=affine).double()).eval()
    before = [p.clone() for p in layer.parameters()]
    x = torch.randn(3, *shape, dtype=torch.float64)
    folded = fold_batch_norm(layer, bn)
    torch.testing.assert_close(folded(x), bn(layer(x)), rtol=1e-10, atol=1e-10)
    assert type(folded) is type(layer)
    assert all(torch.equal(a, b) for a, b in zip(before, layer.parameters(), strict=True))
    gm = Converter.fuse(fx.symbolic_trace(nn.Sequential(layer, bn)))
    assert [n.target for n in gm.graph.nodes if n.op == "call_module"] == ["0"]
    torch.testing.assert_close(gm(x), bn(layer(x)), rtol=1e-10, atol=1e-10)


class Shared(nn.Module):
    """One convolution read twice, another called twice, one BatchNorm called twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.bn1, self.bn2, self.bn3 = (statistics(nn.BatchNorm2d(3)) for _ in range(3))

    def forward(self, x):
        y = self.a(x)
        y = self.bn1(y) + y
        y = self.bn2(self.b(self.b(y)))
        return self.bn3(self.c(y)) + self.bn3(y)


def test_other_users_prevent_folding():
    net = Shared().eval()
    x = torch.rand(2, 3, 4, 4)
    gm = Converter.fuse(fx.symbolic_trace(copy.deepcopy(net)))
    torch.testing.assert_close(gm(x), net(x))
    called = [str(n.target) for n in gm.graph.nodes if n.op == "call_module"]
    assert called == ["a", "bn1", "b", "b", "bn2", "c", "bn3"]


def test_batch_norm_over_another_axis_than_the_features_stays():
    net = nn.Sequential(nn.Linear(4, 5), statistics(nn.BatchNorm1d(5)), nn.ReLU()).eval()
    x = torch.rand(3, 5, 4)
    with torch.no_grad():
        snn = Converter([x], mode="max")(net)
        out = torch.stack([snn(x) for _ in range(200)]).mean(0)
        assert (out - net(x)).abs().max() < 0.02 * net(x).max()


def test_computed_weights_are_left_alone():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 1))
    net = nn.Sequential(layer, statistics(nn.BatchNorm2d(3)), nn.ReLU()).eval()
    x = torch.rand(2, 2, 4, 4)
    gm = Converter.fuse(fx.symbolic_trace(copy.deepcopy(net)))
    torch.testing.assert_close(gm(x), net(x))


def test_without_running_statistics_nothing_is_folded():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    gm = Converter.fuse(fx.symbolic_trace(net))
    assert len([n for n in gm.graph.nodes if n.op == "call_module"]) == 2
    with pytest.raises(ValueError, match=r"BatchNorm2d.*track_running_stats=True"):
        Converter([torch.rand(2, 1, 3, 3)])(net)
