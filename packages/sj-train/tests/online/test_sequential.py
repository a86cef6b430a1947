import copy

import pytest
import torch
from torch import nn

from sj_train.online import OTTTLIFNode, OTTTSequential

ALPHA = 4.0


class Spike(torch.autograd.Function):
    """Heaviside with the derivative of sigma(4 x), written for the oracle."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        p = torch.sigmoid(ALPHA * ctx.saved_tensors[0])
        return g * ALPHA * p * (1 - p)


def soft_lif(currents, tau, decay_input):
    """Spikes of a LIF with detached soft reset: the whole graph over time, for BPTT."""
    v, spikes = torch.zeros_like(currents[0]), []
    for x in currents:
        h = v + (x - v) / tau if decay_input else v - v / tau + x
        s = Spike.apply(h - 1.0)
        v = h - s.detach()
        spikes.append(s)
    return torch.stack(spikes)


def accumulate(net, x_seq, g_seq):
    """Weight gradients of sum_t <y[t], g[t]>, one backward per step."""
    for x, g in zip(x_seq, g_seq, strict=True):
        (net(x) * g).sum().backward()
        for module in net.modules():
            if hasattr(module, "reset"):
                module.detach()


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("tau", [1.5, 2.0, 7.0])
@pytest.mark.parametrize("bias", [True, False])
def test_traced_layer_has_the_weight_gradient_of_bptt(tau, decay_input, bias):
    torch.manual_seed(0)
    T, N = 25, 3
    linear = nn.Linear(6, 4, bias=bias).double()
    nn.init.uniform_(linear.weight, 0.2, 1.2)
    net = OTTTSequential(
        OTTTLIFNode(tau=tau), linear, OTTTLIFNode(tau=tau, decay_input=decay_input)
    )
    x_seq = torch.rand(T, N, 6, dtype=torch.float64)
    g_seq = torch.randn(T, N, 4, dtype=torch.float64)
    accumulate(net, x_seq, g_seq)

    spikes = soft_lif(x_seq, tau, False)
    assert 0.1 < spikes.mean() < 1.0
    weight = linear.weight.detach().clone().requires_grad_()
    out = soft_lif(spikes @ weight.T + (linear.bias.detach() if bias else 0.0), tau, decay_input)
    assert 0.05 < out.mean() < 1.0
    (want,) = torch.autograd.grad((out * g_seq).sum(), [weight])
    torch.testing.assert_close(linear.weight.grad, want, rtol=0, atol=1e-12 * want.abs().max())

    if bias:
        # its bias gradient is the sum of the instantaneous ones, which is not that of BPTT
        v, total = torch.zeros(N, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
        for x, g in zip(linear(spikes).detach(), g_seq, strict=True):
            h = v + (x - v) / tau if decay_input else v - v / tau + x
            p = torch.sigmoid(ALPHA * (h - 1.0))
            total += (g * ALPHA * p * (1 - p) / (tau if decay_input else 1.0)).sum(0)
            v = h - (h >= 1.0).double()
        torch.testing.assert_close(linear.bias.grad, total, rtol=0, atol=1e-10)


@pytest.mark.parametrize("conv", [True, False])
def test_traced_input_has_the_weight_gradient_of_bptt(conv):
    torch.manual_seed(1)
    T, N, tau = 12, 2, 3.0
    layer = (nn.Conv2d(2, 3, 3, padding=1) if conv else nn.Linear(5, 3)).double()
    shape = (2, 6, 6) if conv else (5,)
    net = OTTTSequential(layer, OTTTLIFNode(tau=tau), input_trace=True)
    x_seq = 2 * torch.rand(T, N, *shape, dtype=torch.float64)
    g_seq = torch.randn(T, *layer(x_seq[0]).shape, dtype=torch.float64)
    accumulate(net, x_seq, g_seq)
    twin = copy.deepcopy(layer)
    out = soft_lif(torch.stack([twin(x) for x in x_seq]), tau, False)
    (want,) = torch.autograd.grad((out * g_seq).sum(), [twin.weight])
    torch.testing.assert_close(layer.weight.grad, want, rtol=0, atol=1e-12 * want.abs().max())


def test_without_input_trace_the_first_layer_learns_from_its_input():
    torch.manual_seed(2)
    T, N, tau = 9, 3, 2.0
    layer = nn.Linear(5, 4).double()
    net = OTTTSequential(layer, OTTTLIFNode(tau=tau))
    x_seq = 2 * torch.rand(T, N, 5, dtype=torch.float64)
    g_seq = torch.randn(T, N, 4, dtype=torch.float64)
    accumulate(net, x_seq, g_seq)
    v, want = torch.zeros(N, 4, dtype=torch.float64), torch.zeros(4, 5, dtype=torch.float64)
    for x, g in zip(x_seq, g_seq, strict=True):
        h = v - v / tau + layer(x).detach()
        p = torch.sigmoid(ALPHA * (h - 1.0))
        want += (g * ALPHA * p * (1 - p)).T @ x
        v = h - (h >= 1.0).double()
    torch.testing.assert_close(layer.weight.grad, want, rtol=0, atol=1e-12)


def test_two_layers_by_the_equations_of_the_paper():
    torch.manual_seed(3)
    T, N, lam = 10, 4, 1 - 1 / 2.5
    first, second = nn.Linear(6, 5).double(), nn.Linear(5, 3).double()
    nn.init.uniform_(second.weight, -0.5, 1.0)
    net = OTTTSequential(first, OTTTLIFNode(tau=2.5), second, OTTTLIFNode(tau=2.5))
    x_seq = 2 * torch.rand(T, N, 6, dtype=torch.float64)
    g_seq = torch.randn(T, N, 3, dtype=torch.float64)
    accumulate(net, x_seq, g_seq)

    w1, b1, w2, b2 = (p.detach() for p in net.parameters())
    u1 = torch.zeros(N, 5, dtype=torch.float64)
    u2, a1 = torch.zeros(N, 3, dtype=torch.float64), torch.zeros_like(u1)
    d1, d2 = torch.zeros_like(w1), torch.zeros_like(w2)

    def slope(u):
        p = torch.sigmoid(ALPHA * (u - 1.0))
        return ALPHA * p * (1 - p)

    for x, g in zip(x_seq, g_seq, strict=True):
        u1 = lam * u1 + x @ w1.T + b1
        s1 = (u1 >= 1.0).double()
        a1 = lam * a1 + s1
        u2 = lam * u2 + s1 @ w2.T + b2
        g2 = g * slope(u2)
        d2 += g2.T @ a1
        d1 += (slope(u1) * (g2 @ w2)).T @ x
        u1, u2 = u1 - s1, u2 - (u2 >= 1.0).double()
    torch.testing.assert_close(second.weight.grad, d2, rtol=0, atol=1e-12)
    torch.testing.assert_close(first.weight.grad, d1, rtol=0, atol=1e-12)


BETWEEN = [
    nn.AvgPool2d(2),
    nn.MaxPool2d(2),
    nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Identity()),
    nn.Dropout(0.4),
    nn.Sequential(nn.MaxPool2d(2), nn.Dropout(0.4)),
]


@pytest.mark.parametrize("between", BETWEEN)
def test_weightless_modules_hand_on_the_trace_of_what_they_put_out(between):
    """Whatever stands between node and layer: the layer's weight gradient stays that of BPTT."""
    torch.manual_seed(4)
    T, N, tau = 8, 2, 2.0
    between = copy.deepcopy(between)
    features = between(torch.rand(N, 3, 4, 4)).flatten(1).shape[1]
    linear = nn.Linear(features, 4).double()
    nn.init.uniform_(linear.weight, -0.2, 0.4)
    net = OTTTSequential(OTTTLIFNode(tau=tau), between, nn.Flatten(), linear, OTTTLIFNode(tau=tau))
    x_seq = torch.rand(T, N, 3, 4, 4, dtype=torch.float64)
    g_seq = torch.randn(T, N, 4, dtype=torch.float64)
    state = torch.get_rng_state()
    accumulate(net, x_seq, g_seq)

    torch.set_rng_state(state)
    inputs = torch.stack([between(s).flatten(1) for s in soft_lif(x_seq, tau, False)])
    weight = linear.weight.detach().clone().requires_grad_()
    out = soft_lif(inputs @ weight.T + linear.bias.detach(), tau, False)
    (want,) = torch.autograd.grad((out * g_seq).sum(), [weight])
    assert want.abs().max() > 0
    torch.testing.assert_close(linear.weight.grad, want, rtol=0, atol=1e-12 * want.abs().max())


def test_nested_containers_are_walked_through():
    torch.manual_seed(7)
    layers = [nn.Linear(4, 5), OTTTLIFNode(), nn.Dropout(0.5), nn.Linear(5, 3), OTTTLIFNode()]
    flat = OTTTSequential(*layers)
    deep = OTTTSequential(
        nn.Sequential(*copy.deepcopy(layers[:2])),
        OTTTSequential(copy.deepcopy(layers[2]), nn.Sequential(*copy.deepcopy(layers[3:]))),
    )
    x_seq, g_seq = 3 * torch.rand(6, 2, 4), torch.randn(6, 2, 3)
    for net in (flat, deep):
        torch.manual_seed(8)
        accumulate(net, x_seq, g_seq)
    for a, b in zip(flat.parameters(), deep.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_a_block_of_the_users_own():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)

        def forward(self, x):
            return self.conv(x) + x

    torch.manual_seed(9)
    block, tau = Block().double(), 2.0
    net = OTTTSequential(OTTTLIFNode(tau=tau), block, OTTTLIFNode(tau=tau))
    x_seq = torch.rand(6, 1, 2, 4, 4, dtype=torch.float64)
    g_seq = torch.randn(6, 1, 2, 4, 4, dtype=torch.float64)
    accumulate(net, x_seq, g_seq)
    twin = copy.deepcopy(block)
    spikes = soft_lif(x_seq, tau, False)
    out = soft_lif(torch.stack([twin(s) for s in spikes]), tau, False)
    (want,) = torch.autograd.grad((out * g_seq).sum(), [twin.conv.weight])
    torch.testing.assert_close(block.conv.weight.grad, want, rtol=0, atol=1e-12)
