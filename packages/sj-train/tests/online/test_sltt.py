import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sj_core.neuron import LIFNode
from sj_train.online import SLTTLIFNode, sltt_online_training


class Spike(torch.autograd.Function):
    """Heaviside with the derivative of sigma(4 x), written for the oracle."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        p = torch.sigmoid(4 * ctx.saved_tensors[0])
        return g * 4 * p * (1 - p)


def bptt_with_v_detached(layers, x_seq):
    """Outputs `[N, T, *]` of Linear-LIF layers, as one graph in which V[t-1] is cut."""
    states, out = [0.0] * len(layers), []
    for t in range(x_seq.shape[1]):
        s = x_seq[:, t]
        for i, (w, b) in enumerate(layers):
            v = states[i]
            v = v.detach() if isinstance(v, torch.Tensor) else v
            h = v + (s @ w.T + b - v) / 2.0
            s = Spike.apply(h - 1.0)
            states[i] = (1 - s) * h
        out.append(s)
    return torch.stack(out, 1)


def make(node=SLTTLIFNode):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), node(), nn.Linear(6, 3), node()).double()
    nn.init.uniform_(net[0].weight, 0.0, 1.0)
    nn.init.uniform_(net[2].weight, -0.5, 1.5)
    return net


def data(t=9):
    torch.manual_seed(1)
    return (
        2 * torch.rand(4, t, 5, dtype=torch.float64),
        torch.rand(4, t, 3, dtype=torch.float64),
    )


@pytest.mark.parametrize("node", [SLTTLIFNode, LIFNode])
def test_equals_bptt_with_v_detached(node):
    net, (x_seq, target_seq) = make(node), data()
    leaves = [p.detach().clone().requires_grad_() for p in net.parameters()]
    out = bptt_with_v_detached([leaves[:2], leaves[2:]], x_seq)
    assert 0.1 < out.mean() < 0.9
    want_loss = sum(F.mse_loss(out[:, t], target_seq[:, t]) for t in range(9))
    want = torch.autograd.grad(want_loss, leaves)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    loss, y = sltt_online_training(net, optimizer, x_seq, target_seq, F.mse_loss, online=False)
    assert torch.equal(y, out.detach())
    torch.testing.assert_close(loss, want_loss.detach(), rtol=1e-12, atol=0)
    for p, g in zip(net.parameters(), want, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=0, atol=1e-13)


def test_weight_gradient_is_the_sum_over_time_of_instantaneous_products():
    net, (x_seq, target_seq) = make(), data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    w1, b1, w2, b2 = (p.detach() for p in net.parameters())
    sltt_online_training(net, optimizer, x_seq, target_seq, F.mse_loss, online=False)
    v1 = torch.zeros(4, 6, dtype=torch.float64)
    v2, dw2 = torch.zeros(4, 3, dtype=torch.float64), torch.zeros_like(w2)
    for t in range(9):
        h1 = v1 + (x_seq[:, t] @ w1.T + b1 - v1) / 2
        s1 = (h1 >= 1).double()
        h2 = v2 + (s1 @ w2.T + b2 - v2) / 2
        s2 = (h2 >= 1).double()
        p = torch.sigmoid(4 * (h2 - 1))
        g = 2 * (s2 - target_seq[:, t]) / 12 * 4 * p * (1 - p) / 2
        dw2 += g.T @ s1
        v1, v2 = (1 - s1) * h1, (1 - s2) * h2
    torch.testing.assert_close(net[2].weight.grad, dw2, rtol=0, atol=1e-13)


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_sltt_k_learns_at_k_random_steps(online, k):
    net, (x_seq, target_seq) = make(), data()
    at, learned, drawn = [], [], []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    optimizer.register_step_post_hook(lambda *_: at.append(1))

    def f_loss_t(y, target):
        learned.append(y.requires_grad)
        return F.mse_loss(y, target)

    full, y_full = sltt_online_training(make(), optimizer, x_seq, target_seq, F.mse_loss, False)
    for seed in range(20):
        torch.manual_seed(seed)
        at.clear(), learned.clear()
        for node in (net[1], net[3]):
            node.reset()
        loss, y = sltt_online_training(net, optimizer, x_seq, target_seq, f_loss_t, online, k=k)
        assert len(at) == (k if online else 1)
        assert len(learned) == 9
        assert sum(learned) == k
        drawn.append(tuple(learned))
        # the forward is that of every step
        assert torch.equal(y, y_full)
        torch.testing.assert_close(loss, full)
    assert len(set(drawn)) > (1 if k < 9 else 0)


def test_sltt_k_sums_the_gradients_of_its_steps():
    net, (x_seq, target_seq) = make(), data()
    leaves = [p.detach().clone().requires_grad_() for p in net.parameters()]
    out = bptt_with_v_detached([leaves[:2], leaves[2:]], x_seq)
    chosen = []

    def f_loss_t(y, target):
        chosen.append(y.requires_grad)
        return F.mse_loss(y, target)

    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    sltt_online_training(net, optimizer, x_seq, target_seq, f_loss_t, online=False, k=4)
    loss = sum(F.mse_loss(out[:, t], target_seq[:, t]) for t in range(9) if chosen[t])
    for p, g in zip(net.parameters(), torch.autograd.grad(loss, leaves), strict=True):
        torch.testing.assert_close(p.grad, g, rtol=0, atol=1e-13)


@pytest.mark.parametrize("k", [0, 10, -1])
def test_k_out_of_range(k):
    net, (x_seq, target_seq) = make(), data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    with pytest.raises(ValueError, match=r"`k` \(=-?\d+\) must be from 1 to T \(=9\)\."):
        sltt_online_training(net, optimizer, x_seq, target_seq, F.mse_loss, True, k=k)


@pytest.mark.parametrize("k", [2.0, True, "2"])
def test_k_of_a_wrong_type(k):
    net, (x_seq, target_seq) = make(), data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    with pytest.raises(TypeError, match="`k`"):
        sltt_online_training(net, optimizer, x_seq, target_seq, F.mse_loss, True, k=k)
