"""Constants laid out over the batch: tokens, scales, and what sizes of the input shape."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sj_convert import Converter
from sj_core import functional


class Tokens(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3, padding=1)
        self.token = nn.Parameter(torch.rand(1, 1, 4))
        self.place = nn.Parameter(torch.rand(1, 20, 4))
        self.gain = nn.Parameter(torch.rand(4))
        self.fn = fn

    def forward(self, x):
        return self.fn(self, F.relu(self.conv(x)).transpose(1, 2))


LAID_OUT = {
    "expand": lambda s, x: torch.cat([s.token.expand(x.shape[0], -1, -1), x], 1),
    "size": lambda s, x: torch.cat((s.token.expand(x.size(0), 1, x.size(2)), x), dim=1)[:, 0],
    "repeat": lambda s, x: torch.cat([s.token.repeat(x.size()[0], 1, 1), x], 1),
    "tile": lambda s, x: x + torch.tile(s.token, (x.shape[0], 1, 1)),
    "view": lambda s, x: x + s.gain.view(1, 1, 4).expand(x.shape[0], x.shape[1], 4),
    "product": lambda s, x: x * s.token.expand(x.size(0), -1, -1),
    "constant first": lambda s, x: (s.token.expand(x.size(0), -1, -1) * 2).relu() - x,
    "slice": lambda s, x: x * s.place[:, : x.size(1)] + s.place[:, : x.shape[1]],
    "turned": lambda s, x: x.mean(1).T,
}


@pytest.mark.parametrize("recommended", [False, True])
@pytest.mark.parametrize("case", list(LAID_OUT))
def test_constants_over_the_batch(case, recommended):
    torch.manual_seed(0)
    ann = Tokens(LAID_OUT[case]).double().eval()
    x = torch.randn(3, 2, 7, dtype=torch.float64)
    convert = Converter.recommended([x], T=64) if recommended else Converter([x], v_init=0.5)
    snn = convert(ann)
    with torch.no_grad():
        for given in (x, x[:1], torch.cat([x, x])):
            expected = ann(given)
            functional.reset_net(snn)
            functional.set_step_mode(snn, "s")
            steps = torch.stack([snn(given) for _ in range(64)])
            functional.reset_net(snn)
            functional.set_step_mode(snn, "m")
            whole = snn(given.expand(64, *given.shape))
            torch.testing.assert_close(whole, steps)
            assert (whole.mean(0) - expected).abs().max() < 3 * expected.abs().max() / 64
        functional.reset_net(snn)
        assert snn(x[None][:0]).shape == (0, *ann(x).shape)


def test_a_product_of_signals_is_refused_still():
    ann = Tokens(lambda s, x: x * x.mean(1, keepdim=True).expand(x.size(0), 7, 4))
    with pytest.raises(ValueError, match="product of two signals"):
        Converter([torch.randn(3, 2, 7)])(ann)
