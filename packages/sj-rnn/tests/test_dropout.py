"""Dropout between layers."""

import pytest
import torch
from torch import nn

from sj_rnn import SpikingVanillaRNN

pytestmark = pytest.mark.usefixtures("gates")

KINDS = ["lstm", "gru", "vanilla"]


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_after_every_layer_but_the_last(kind, nets):
    torch.manual_seed(13)
    net = nets.make(kind, 3, 4, 3, dropout_p=1.0)
    # All dropped: layers 2 and 3 see zeros whatever x is, and the last output is not dropped.
    seen = []
    for cell in net.cells:
        cell.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net(torch.randn(2, 5, 3))
    zero = [bool((x == 0).all()) for x in seen]
    assert sorted(zero) == [False] * 2 + [True] * 4
    net.eval()
    seen.clear()
    net(torch.randn(2, 5, 3))
    assert len(seen) == 6


def collect_inputs(net, x):
    """Inputs ``[T, N, *]`` that the second layer saw."""
    seen = []
    handle = net.cells[1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net(x)
    handle.remove()
    return torch.stack(seen)


@pytest.mark.parametrize("invariant", [False, True])
def test_dropout_masks_over_time(invariant):
    torch.manual_seed(14)
    p = 0.5
    net = SpikingVanillaRNN(3, 200, 2, True, p, invariant)
    for parameter in net.cells[0].parameters():
        nn.init.constant_(parameter, 1.0)  # every unit fires at every step
    x = torch.ones(6, 4, 3)
    seen = collect_inputs(net, x)
    assert set(seen.unique().tolist()) == {0.0, 2.0}  # inverted dropout: 1/(1-p)
    assert abs((seen == 0).float().mean().item() - p) < 0.06
    same = all(torch.equal(seen[t], seen[0]) for t in range(1, 6))
    assert same is invariant
    assert not torch.equal(seen[:, 0], seen[:, 1])  # sequences of a batch have their own
    assert not torch.equal(collect_inputs(net, x)[0], seen[0])  # new for each forward
    net.eval()
    assert collect_inputs(net, x).eq(1).all()
