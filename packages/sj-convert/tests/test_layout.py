"""Converted networks run channels-last on the CPU; nothing but time depends on it."""

import pytest
import torch
from torch import nn

from sj_convert import Converter
from sj_convert.pooling import RunningMaxPool
from sj_core import functional


class Viewing(nn.Module):
    """Flattens with `view`, which no channels-last activation allows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6 * 4 * 4, 5)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return self.head(x.view(x.size(0), -1))


@pytest.fixture
def converted():
    torch.manual_seed(0)
    ann, x = Viewing().eval(), torch.rand(4, 3, 8, 8)
    return ann, Converter.recommended([x], T=8, progress=False)(ann), x


def test_a_view_of_an_activation_converts(converted):
    ann, snn, x = converted
    single = [snn(x) for _ in range(8)]
    functional.reset_net(snn)
    functional.set_step_mode(snn, "m")
    whole = snn(x.expand(8, *x.shape))
    torch.testing.assert_close(torch.stack(single), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(whole.mean(0), ann(x), rtol=0.1, atol=0.1)


def test_weights_are_channels_last_and_the_original_is_not(converted):
    ann, snn, _ = converted
    (conv,) = (m for m in snn.modules() if isinstance(m, nn.Conv2d))
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert ann.conv.weight.is_contiguous()
    assert torch.equal(conv.weight, ann.conv.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_running_max_pool_keeps_the_layout(dtype):
    x = torch.rand(5, 2, 3, 6, 6).to(dtype)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (5, 2))
    pool, other = (RunningMaxPool(nn.MaxPool2d(2), step_mode="m") for _ in range(2))
    for _ in range(2):  # the second sequence goes on from the first
        want, got = pool(x), other(last)
        assert torch.equal(want, got)
        assert want.is_contiguous()
        assert got[0].is_contiguous(memory_format=torch.channels_last)
    other.reset()
    other.step_mode = "s"
    steps = [other(step) for step in x]
    other.reset()
    other.step_mode = "m"
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        again = other(leaf)
        again.sum().backward()
    assert torch.equal(torch.stack(steps), again)
    assert leaf.grad.shape == x.shape


@pytest.mark.parametrize("progress", [True, False])
def test_no_bar_where_there_is_no_terminal(progress, capsys):
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    Converter.recommended([torch.rand(16, 4)], T=4, progress=progress)(net)
    assert capsys.readouterr().err == ""
