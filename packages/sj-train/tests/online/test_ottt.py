import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sj_core.neuron import IFNode, LIFNode
from sj_train.online import OTTTLIFNode, OTTTSequential, SLTTLIFNode, ottt_online_training


def reset(net):
    for module in net.modules():
        if hasattr(module, "reset"):
            module.reset()


def make(seed=0):
    torch.manual_seed(seed)
    return OTTTSequential(
        nn.Linear(5, 6), OTTTLIFNode(), nn.Linear(6, 3), LIFNode(decay_input=False, v_reset=None)
    ).double()


def data(seed=1, n=4, t=7):
    torch.manual_seed(seed)
    x = 3 * torch.rand(n, t, 5, dtype=torch.float64)
    return x, torch.rand(n, t, 3, dtype=torch.float64)


def step_by_the_equations(w, x, state, target):
    """Gradients of one step of `make()` by the equations of the paper; moves `state` on."""
    w1, b1, w2, b2 = w
    u1 = 0.5 * state["u1"] + x @ w1.T + b1
    s1 = (u1 >= 1).double()
    state["a"] = 0.5 * state["a"] + s1
    u2 = 0.5 * state["u2"] + s1 @ w2.T + b2
    s2 = (u2 >= 1).double()
    loss = ((s2 - target) ** 2).mean()

    def slope(u):
        p = torch.sigmoid(4 * (u - 1))
        return 4 * p * (1 - p)

    g2 = 2 * (s2 - target) / s2.numel() * slope(u2)
    g1 = (g2 @ w2) * slope(u1)
    state["u1"], state["u2"] = u1 - s1, u2 - s2
    return [g1.T @ x, g1.sum(0), g2.T @ state["a"], g2.sum(0)], loss, s2


@pytest.mark.parametrize("online", [True, False])
def test_training_by_the_equations_of_the_paper(online):
    net = make()
    x_seq, target_seq = data()
    w = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    loss, y = ottt_online_training(net, optimizer, x_seq, target_seq, F.mse_loss, online)

    state = {"u1": torch.zeros(4, 6).double(), "u2": torch.zeros(4, 3).double()}
    state["a"] = torch.zeros(4, 6).double()
    total, summed = 0.0, [torch.zeros_like(p) for p in w]
    for t in range(7):
        grads, l, s = step_by_the_equations(w, x_seq[:, t], state, target_seq[:, t])
        total += l
        assert torch.equal(y[:, t], s)
        if online:
            w = [p - 0.3 * g for p, g in zip(w, grads, strict=True)]
        else:
            summed = [a + g for a, g in zip(summed, grads, strict=True)]
    if not online:
        w = [p - 0.3 * g for p, g in zip(w, summed, strict=True)]
    assert y.sum() > 0
    assert y.shape == (4, 7, 3)
    assert not y.requires_grad
    assert not loss.requires_grad
    torch.testing.assert_close(loss, total, rtol=1e-12, atol=0)
    for a, b in zip(net.parameters(), w, strict=True):
        torch.testing.assert_close(a.detach(), b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("online", [True, False])
def test_optimizer_steps(online):
    net, (x_seq, target_seq) = make(), data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    steps = []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    net[0].weight.grad = torch.full((6, 5), 1e6).double()  # a stale gradient must not count
    before = net[0].weight.detach().clone()
    ottt_online_training(net, optimizer, x_seq, target_seq, F.mse_loss, online)
    assert len(steps) == (7 if online else 1)
    assert (net[0].weight - before).abs().max() < 10


@pytest.mark.parametrize("last", [LIFNode(), IFNode(), OTTTLIFNode(), SLTTLIFNode(), nn.Identity()])
def test_any_last_layer(last):
    torch.manual_seed(2)
    net = OTTTSequential(nn.Linear(5, 6), OTTTLIFNode(), nn.Linear(6, 3), copy.deepcopy(last))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):  # the second sequence goes on from the state of the first
        x = torch.rand(4, 7, 5)
        loss, y = ottt_online_training(net, optimizer, x, torch.rand(4, 7, 3), F.mse_loss, True)
        assert y.shape == (4, 7, 3)
        for _, memory in net.named_memories():
            assert not (isinstance(memory, torch.Tensor) and memory.requires_grad)
    assert loss.isfinite()


def test_a_bare_node_gives_its_spike():
    node = OTTTLIFNode()
    scale = nn.Parameter(torch.ones(3))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.node = scale, node

        def forward(self, x):
            return self.node(self.scale * x)

    x = torch.rand(2, 5, 3)
    _, y = ottt_online_training(
        Net(), torch.optim.SGD([scale], 0.0), x, torch.rand(2, 5, 3), F.mse_loss, True
    )
    v = torch.zeros(2, 3)
    for t in range(5):
        h = v - v / 2 + x[:, t]
        assert torch.equal(y[:, t], (h >= 1).float())
        v = h - y[:, t]


def test_class_targets_and_images():
    torch.manual_seed(3)
    net = OTTTSequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        OTTTLIFNode(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    x = torch.rand(8, 5, 1, 4, 4)
    target = torch.randint(10, (8, 1)).expand(8, 5)
    losses = []
    for _ in range(30):
        loss, y = ottt_online_training(net, optimizer, x, target, F.cross_entropy, True)
        losses.append(loss.item())
        reset(net)
    assert y.shape == (8, 5, 10)
    assert losses[-1] < 0.5 * losses[0]
    assert net[1].num_batches_tracked == 150


def test_frozen_parameters_stay():
    net, (x_seq, target_seq) = make(), data()
    net[0].requires_grad_(False)
    frozen = net[0].weight.clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    moving = net[2].weight.detach().clone()
    ottt_online_training(net, optimizer, x_seq, target_seq, F.mse_loss, True)
    assert torch.equal(net[0].weight, frozen)
    assert net[0].weight.grad is None
    assert not torch.equal(net[2].weight, moving)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((2, 3, 5), (2, 4, 3), "[N, T]"),
        ((2, 3, 5), (3, 3, 3), "[N, T]"),
        ((2,), (2,), "[N, T]"),
        ((2, 0, 5), (2, 0, 3), "time step"),
        ((0, 2, 5), (0, 2, 3), "time step"),
    ],
)
def test_bad_shapes(x, y, message):
    net = make().float()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError) as info:
        ottt_online_training(net, optimizer, torch.rand(x), torch.rand(y), F.mse_loss, True)
    assert message in str(info.value)
    assert str(info.value).endswith(".")


def test_a_net_that_takes_sequences_is_refused():
    net = nn.Sequential(nn.Linear(5, 3), LIFNode(step_mode="m"))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"set_step_mode\(model, 's'\)"):
        ottt_online_training(
            net, optimizer, torch.rand(2, 3, 5), torch.rand(2, 3, 3), F.mse_loss, True
        )
