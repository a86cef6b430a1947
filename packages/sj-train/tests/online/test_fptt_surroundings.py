"""What two forwards per step of FPTT leave alone: states, statistics, draws, other parameters."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from sj_core.neuron import IFNode, LIFNode
from sj_train.online import fptt_online_training, fptt_online_training_init_w_ra


def test_state_carried_on_is_that_of_the_first_forward():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(5, 4), LIFNode())
    twin = copy.deepcopy(net)
    seen = []
    net.register_forward_hook(lambda m, i, o: seen.append(net[1].v.detach().clone()))
    optimizer = torch.optim.SGD(net.parameters(), lr=5.0)
    w_ra = fptt_online_training_init_w_ra(optimizer)
    x_seq = torch.rand(1, 2, 5)
    fptt_online_training(net, optimizer, x_seq, torch.rand(1, 2, 4), F.mse_loss, 0.5, w_ra)
    twin(x_seq[0])
    assert len(seen) == 2
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(net[1].v, twin[1].v.detach())
    assert not net[1].v.requires_grad


def test_statistics_and_random_streams_move_once_per_step():
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), IFNode())
    net.generator = torch.Generator().manual_seed(9)
    dropped, inputs = [], []
    net[2].register_forward_hook(lambda m, i, o: dropped.append(o.detach() != 0))
    net[1].register_forward_pre_hook(lambda m, i: inputs.append(i[0].detach()))
    net.register_forward_pre_hook(lambda m, i: torch.rand(1, generator=m.generator) and None)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    w_ra = fptt_online_training_init_w_ra(optimizer)
    T = 5
    torch.manual_seed(3)
    fptt_online_training(
        net, optimizer, torch.rand(T, 8, 5), torch.rand(T, 8, 4), F.mse_loss, 0.5, w_ra
    )
    after = torch.rand(3)
    torch.manual_seed(3)
    torch.rand(T, 8, 5), torch.rand(T, 8, 4)
    masks = [F.dropout(torch.ones(8, 4), 0.5) != 0 for _ in range(T)]
    assert torch.equal(after, torch.rand(3))
    assert torch.equal(
        torch.rand(1, generator=net.generator),
        torch.rand(T + 1, generator=torch.Generator().manual_seed(9))[-1:],
    )
    assert len(dropped) == 2 * T
    for t, mask in enumerate(masks):
        assert torch.equal(dropped[2 * t], mask)
        assert torch.equal(dropped[2 * t + 1], mask)
    assert net[1].num_batches_tracked == T
    mean = torch.zeros(4)
    for u in inputs[::2]:
        mean = 0.9 * mean + 0.1 * u.mean(0)
    torch.testing.assert_close(net[1].running_mean, mean)


def test_second_forward_starts_from_the_buffers_before_the_first():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(()))
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            self.count = self.count + 1  # a new tensor, not one changed in place
            return self.w * x * self.count

    net, seen = Counting(), []
    net.register_forward_hook(lambda m, i, o: seen.append(m.count.item()))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    w_ra = fptt_online_training_init_w_ra(optimizer)
    fptt_online_training(net, optimizer, torch.ones(3, 1), torch.ones(3, 1), F.mse_loss, 1.0, w_ra)
    assert seen == [1, 1, 2, 2, 3, 3]
    assert net.count == 3


def test_frozen_unused_and_foreign_parameters():
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(5, 4), IFNode(), nn.Linear(4, 3), IFNode())
    net.unused = nn.Parameter(torch.ones(2))
    net[0].weight.requires_grad_(False)
    inside = [net[0].weight, net[2].weight, net.unused]
    optimizer = torch.optim.AdamW(inside, lr=0.1, weight_decay=0.5)
    w_ra = fptt_online_training_init_w_ra(optimizer)
    before = [p.detach().clone() for p in net.parameters()]
    net[2].bias.grad = torch.full((3,), 7.0)
    x, y = 5 * torch.rand(4, 6, 5), torch.rand(4, 6, 3)
    fptt_online_training(net, optimizer, x, y, F.mse_loss, 0.5, w_ra)
    moved = {
        name
        for (name, p), q in zip(net.named_parameters(), before, strict=True)
        if not torch.equal(p, q)
    }
    assert moved == {"2.weight"}
    assert torch.equal(w_ra[0], net[0].weight)
    assert torch.equal(w_ra[2], torch.ones(2))
    assert not torch.equal(w_ra[1], before[2])
    assert torch.equal(net[2].bias.grad, torch.full((3,), 7.0))
    assert net[0].bias.grad is None
