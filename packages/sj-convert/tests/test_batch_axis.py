"""Operations across the batch: step by step and as a sequence they are the same network."""

import pytest
import torch
from torch import nn

from sj_convert import Converter
from sj_core import functional


class Apply(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.fn = fn

    def features(self, x):
        return torch.relu(self.conv(x))

    def forward(self, x):
        return self.fn(self, x)


def siamese(s, x):
    a, b = s.features(torch.cat([x, x.flip(3)], 0)).chunk(2, 0)
    return a - b


W = torch.ones(2, 5, dtype=torch.float64)
ACROSS = {
    "siamese": siamese,
    "cat": lambda s, x: torch.cat([s.features(x), s.features(-x)]),
    "stack": lambda s, x: torch.stack([s.features(x), s.features(-x)]),
    "unbind": lambda s, x: torch.stack(s.features(x).unbind(0)),
    "slice": lambda s, x: s.features(x)[1:3],
    "entry": lambda s, x: s.features(x)[0],
    "picked": lambda s, x: s.features(x)[[0, 2], :, 1],
    "centred": lambda s, x: s.features(x) - s.features(x).mean(0, keepdim=True),
    "mean": lambda s, x: s.features(x).mean(),
    "mean of -4": lambda s, x: torch.mean(s.features(x), dim=(-4, -1)),
    "sum": lambda s, x: torch.sum(s.features(x)),
    "flip": lambda s, x: s.features(x).flip(0, 2),
    "roll": lambda s, x: torch.roll(s.features(x), 1, dims=0),
    "transpose": lambda s, x: s.features(x).transpose(1, -4),
    "permute": lambda s, x: s.features(x).permute(1, 0, 2, 3),
    "t": lambda s, x: s.features(x).flatten(1).t(),
    "repeat": lambda s, x: s.features(x).repeat(2, 1, 1, 1),
    "unsqueeze": lambda s, x: s.features(x).unsqueeze(0),
    "product": lambda s, x: W @ s.features(x).flatten(1),
}
WITHIN = {
    "cat": lambda s, x: torch.cat([s.features(x), s.features(-x)], dim=1),
    "unbind": lambda s, x: torch.stack(s.features(x).unbind(1), 1),
    "chunk": lambda s, x: torch.cat(tensors=s.features(x).chunk(2, 1), dim=2),
    "last": lambda s, x: s.features(x)[..., 0],
    "inserted": lambda s, x: s.features(x)[:, None],
    "permute": lambda s, x: torch.permute(s.features(x), (0, 3, 1, 2)),
    "flip": lambda s, x: s.features(x).flip(2, 3),
    "repeat": lambda s, x: s.features(x).repeat(1, 2, 1, 1),
    "view": lambda s, x: s.features(x).view(-1, 4 * 12),
}


@pytest.mark.parametrize("case", [*ACROSS, *(f"{name} within" for name in WITHIN)])
def test_both_step_modes_give_the_same(case):
    torch.manual_seed(0)
    name = case.removesuffix(" within")
    ann = Apply((ACROSS if name == case else WITHIN)[name]).double().eval()
    x = torch.randn(5, 3, 2, 6, dtype=torch.float64)
    snn = Converter([x], mode="max", v_init=0.5)(ann)
    assert any(getattr(m, "by_step", False) for m in snn.modules()) == (name == case)
    T = 32
    with torch.no_grad():
        one = torch.stack([snn(x) for _ in range(T)])
        functional.reset_net(snn)
        functional.set_step_mode(snn, "m")
        seq = snn(x.expand(T, *x.shape))
        torch.testing.assert_close(seq, one)
        expected = ann(x)
        assert (seq.mean(0) - expected).abs().max() < 2 * expected.abs().max() / T
        functional.reset_net(snn)
        assert snn(x.expand(0, *x.shape)).shape == (0, *expected.shape)


def test_a_size_cannot_stand_for_one_step():
    ann = Apply(lambda s, x: s.features(x)[: x.size(0) // 2])
    with pytest.raises(ValueError, match=r"`getitem` .*test_batch_axis\.py:.*`chunk` and `cat`"):
        Converter([torch.rand(4, 3, 2, 6)])(ann)
