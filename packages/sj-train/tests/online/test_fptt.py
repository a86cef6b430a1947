import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sj_core.base import MemoryModule
from sj_core.neuron import IFNode, LIFNode
from sj_train.online import fptt_online_training, fptt_online_training_init_w_ra


class Leaky(MemoryModule):
    """h <- h / 2 + w x, an output linear in one weight and in the state."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))
        self.register_memory("h", 0.0)

    def single_step_forward(self, x):
        self.h = 0.5 * self.h + self.w * x
        return self.h


def squared(y, target):
    return ((y - target) ** 2).sum()


def test_two_steps_by_hand():
    net = Leaky(1.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    w_ra = fptt_online_training_init_w_ra(optimizer)
    x_seq = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    target = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    fptt_online_training(net, optimizer, x_seq, target, squared, 0.5, w_ra)
    # t = 1: y = 1, dl/dw = 2; the penalty is at its minimum.  W = 1 - 0.1 * 2 = 0.8
    #        g_1 at W = 0.8 from h_0 = 0: 2 * 0.8 * 1 = 1.6
    #        Wbar = (1 + 0.8) / 2 - 1.6 / (2 * 0.5) = -0.7;  h_1 = 1 of the first forward
    # t = 2: y = 0.5 + 0.8 * 2 = 2.1, dl/dw = 2 * 1.1 * 2 = 4.4
    #        penalty: 0.5 * (0.8 + 0.7 - 1.6 / (2 * 0.5)) = -0.05
    #        W = 0.8 - 0.1 * 4.35 = 0.365
    #        g_2 at W = 0.365 from h_1 = 1: y = 1.23, 2 * 0.23 * 2 = 0.92
    #        Wbar = (-0.7 + 0.365) / 2 - 0.92 = -1.0875;  h_2 = 2.1
    assert net.w.item() == pytest.approx(0.365, abs=1e-14)
    assert w_ra[0].item() == pytest.approx(-1.0875, abs=1e-14)
    assert net.h.item() == pytest.approx(2.1, abs=1e-14)
    assert net.w.grad is None


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


def snn(w, x, state):
    """One step of Linear-LIF-Linear-IF by its equations; returns output and new state."""
    w1, b1, w2, b2 = w
    h1 = state[0] + (x @ w1.T + b1 - state[0]) / 2
    s1 = Spike.apply(h1 - 1)
    h2 = state[1] + s1 @ w2.T + b2
    s2 = Spike.apply(h2 - 1)
    return s2, [((1 - s1) * h1).detach(), ((1 - s2) * h2).detach()]


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.2),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
}


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
@pytest.mark.parametrize("alpha", [0.1, 2.0])
def test_spiking_network_by_the_update_equations(make_optimizer, alpha):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), LIFNode(), nn.Linear(6, 3), IFNode()).double()
    w = [p.detach().clone().requires_grad_() for p in net.parameters()]
    optimizer, twin = make_optimizer(net.parameters()), make_optimizer(w)
    w_ra = fptt_online_training_init_w_ra(optimizer)
    mean = [p.detach().clone() for p in w]
    for _ in range(2):
        x_seq = 3 * torch.rand(6, 4, 5, dtype=torch.float64)
        target = torch.rand(6, 4, 3, dtype=torch.float64)
        fptt_online_training(net, optimizer, x_seq, target, F.mse_loss, alpha, w_ra)
        net[1].reset(), net[3].reset()

        state: list = [0.0, 0.0]
        g = [torch.zeros_like(p) for p in w]
        for x, y in zip(x_seq, target, strict=True):
            out, new_state = snn(w, x, state)
            penalty = sum(
                ((p - m - q / (2 * alpha)) ** 2).sum() for p, m, q in zip(w, mean, g, strict=True)
            )
            twin.zero_grad()
            (F.mse_loss(out, y) + alpha / 2 * penalty).backward()
            twin.step()
            g = torch.autograd.grad(F.mse_loss(snn(w, x, state)[0], y), w)
            mean = [
                (m + p.detach()) / 2 - q / (2 * alpha) for m, p, q in zip(mean, w, g, strict=True)
            ]
            state = new_state
    for a, b in zip([*net.parameters(), *w_ra], [*w, *mean], strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-10, atol=1e-10)


def test_a_parameter_used_at_some_steps_follows_the_equations_from_then_on():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
            self.b = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

        def forward(self, x):
            return self.a * x + self.b if x > 1 else self.a * x

    net, lr, alpha = Late(), 0.1, 1.0
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    w_ra = fptt_online_training_init_w_ra(optimizer)
    x_seq = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    fptt_online_training(net, optimizer, x_seq, torch.zeros(3).double(), squared, alpha, w_ra)
    a, b, a_mean, b_mean, ga, gb = 1.0, 1.0, 1.0, 1.0, 0.0, 0.0
    for x in (1.0, 2.0, 1.0):
        used = x > 1
        y = a * x + b * used
        da = 2 * y * x + alpha * (a - a_mean - ga / (2 * alpha))
        db = 2 * y * used + alpha * (b - b_mean - gb / (2 * alpha))
        a, b = a - lr * da, b - lr * db
        y = a * x + b * used
        ga, gb = 2 * y * x, 2 * y * used
        a_mean, b_mean = (a_mean + a) / 2 - ga / (2 * alpha), (b_mean + b) / 2 - gb / (2 * alpha)
    got = [net.a.item(), net.b.item(), w_ra[0].item(), w_ra[1].item()]
    assert got == pytest.approx([a, b, a_mean, b_mean], rel=1e-12)


def test_running_averages_are_copies_in_optimizer_order_and_updated_in_place():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(
        [{"params": net[1].parameters()}, {"params": net[0].parameters(), "lr": 0.5}], lr=0.1
    )
    w_ra = fptt_online_training_init_w_ra(optimizer)
    assert type(w_ra) is list
    want = [net[1].weight, net[1].bias, net[0].weight, net[0].bias]
    for mean, p in zip(w_ra, want, strict=True):
        assert torch.equal(mean, p)
        assert mean.data_ptr() != p.data_ptr()
        assert not mean.requires_grad
    kept = list(w_ra)
    result = fptt_online_training(
        net, optimizer, torch.rand(2, 4, 2), torch.rand(2, 4, 1), F.mse_loss, 0.5, w_ra
    )
    assert result is None
    assert all(a is b for a, b in zip(w_ra, kept, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(w_ra, want, strict=True))


def test_class_targets():
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(5, 8), LIFNode(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    w_ra = fptt_online_training_init_w_ra(optimizer)
    x, target = torch.rand(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    first = None
    for _ in range(60):
        fptt_online_training(
            net,
            optimizer,
            x.expand(5, 6, 5),
            target.expand(5, 6),
            F.cross_entropy,
            0.1,
            w_ra,
        )
        net[1].reset()
        with torch.no_grad():
            loss = sum(F.cross_entropy(net(x), target).item() for _ in range(5))
        net[1].reset()
        first = loss if first is None else first
    assert loss < 0.6 * first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "`alpha` (=0.0) must be greater than 0."),
        ({"alpha": -1.0}, "`alpha` (=-1.0)"),
        ({"alpha": float("nan")}, "`alpha` (=nan)"),
        ({"w_ra": []}, "`w_ra` (of length 0)"),
        ({"w_ra": [torch.zeros(3, 2), torch.zeros(4)]}, "`w_ra[1]` (shape (4,)"),
        ({"w_ra": [torch.zeros(3, 2), torch.zeros(3).double()]}, "`w_ra[1]` (shape (3,), torch.f"),
        ({"target_seq": torch.zeros(3, 4, 3)}, "must both begin with [T]."),
        ({"x_seq": torch.zeros(0, 4, 2), "target_seq": torch.zeros(0, 4, 3)}, "time step."),
    ],
)
def test_bad_arguments(change, message):
    net = nn.Linear(2, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    arguments = {
        "model": net,
        "optimizer": optimizer,
        "x_seq": torch.zeros(2, 4, 2),
        "target_seq": torch.zeros(2, 4, 3),
        "f_loss_t": F.mse_loss,
        "alpha": 0.5,
        "w_ra": fptt_online_training_init_w_ra(optimizer),
    }
    with pytest.raises(ValueError) as info:
        fptt_online_training(**{**arguments, **change})
    assert message in str(info.value)
    assert str(info.value).endswith(".")


def test_a_net_that_takes_sequences_is_refused():
    net = nn.Sequential(nn.Linear(2, 3), IFNode(step_mode="m"))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    w_ra = fptt_online_training_init_w_ra(optimizer)
    with pytest.raises(ValueError, match="step mode of IFNode is 'm'"):
        fptt_online_training(
            net, optimizer, torch.rand(2, 4, 2), torch.rand(2, 4, 3), F.mse_loss, 0.5, w_ra
        )
