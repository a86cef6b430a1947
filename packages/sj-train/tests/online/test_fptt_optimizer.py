import copy

import pytest
import torch
from torch import nn

from sj_train.online import FPTT


def make(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def losses(net, n, seed=1):
    torch.manual_seed(seed)
    data = [(torch.rand(3, 4).double(), torch.rand(3, 2).double()) for _ in range(n)]
    return [lambda x=x, y=y: ((net(x) - y) ** 2).mean() for x, y in data]


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.3),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
}


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.1, 0.9), (3.0, 1.0)])
def test_the_four_update_lines(make_optimizer, alpha, beta):
    net, twin = make(), make()
    fptt = FPTT(make_optimizer(net.parameters()), alpha, beta)
    w = list(twin.parameters())
    optimizer = make_optimizer(w)
    lam = [torch.zeros_like(p) for p in w]
    mean = [p.detach().clone() for p in w]
    for _ in range(2):
        for ours, theirs in zip(losses(net, 5), losses(twin, 5), strict=True):
            got = fptt.step(ours())
            penalised = theirs()
            for p, l, m in zip(w, lam, mean, strict=True):
                penalised = penalised - (p * l).sum() + alpha / 2 * ((p - m) ** 2).sum()
            optimizer.zero_grad()
            penalised.backward()
            optimizer.step()
            w_now = [p.detach() for p in w]
            lam = [l - alpha * (p - m) for l, p, m in zip(lam, w_now, mean, strict=True)]
            mean = [
                (1 - beta) * m + beta * p - beta / alpha * l
                for m, p, l in zip(mean, w_now, lam, strict=True)
            ]
            assert got.item() == pytest.approx(penalised.item(), rel=1e-10)
            assert not got.requires_grad
            for p, q in zip(net.parameters(), w, strict=True):
                torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)
        fptt.end_sequence()
        for p, q, m in zip(net.parameters(), w, mean, strict=True):
            q.data.copy_(m)
            torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)
        lam = [torch.zeros_like(p) for p in w]


def test_state_saves_and_loads(tmp_path):
    net = make()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    fptt = FPTT(optimizer, 0.5, 0.7)
    stream = losses(net, 6)
    for loss in stream[:3]:
        fptt.step(loss())
    torch.save([net.state_dict(), optimizer.state_dict(), fptt.state_dict()], tmp_path / "state")
    saved = copy.deepcopy(fptt.state_dict())

    other = make(seed=5)
    again = torch.optim.SGD(other.parameters(), lr=0.3, momentum=0.9)
    resumed = FPTT(again, 0.1)
    weights, inner, state = torch.load(tmp_path / "state", weights_only=True)
    other.load_state_dict(weights)
    again.load_state_dict(inner)
    resumed.load_state_dict(state)
    assert (resumed.alpha, resumed.beta) == (0.5, 0.7)
    for loss, twin in zip(stream[3:], losses(other, 6)[3:], strict=True):
        assert fptt.step(loss()).item() == resumed.step(twin()).item()
    fptt.end_sequence(), resumed.end_sequence()
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
    # a saved state does not follow later steps
    for a, b in zip(saved["averages"], state["averages"], strict=True):
        assert torch.equal(a, b)


def test_frozen_unused_and_foreign_parameters_stay():
    net = make()
    net.unused = nn.Parameter(torch.ones(2).double())
    net[0].weight.requires_grad_(False)
    inside = [net[0].weight, net[0].bias, net.unused]
    fptt = FPTT(torch.optim.AdamW(inside, lr=0.1, weight_decay=0.5), 0.5)
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    for loss in losses(net, 3):
        fptt.step(loss())
    assert net[2].weight.grad is None
    fptt.end_sequence()
    moved = {n for n, p in net.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"0.bias"}


def test_a_wholly_frozen_net_stays_as_it_is():
    w = nn.Parameter(torch.ones(2), requires_grad=False)
    x = torch.ones(2, requires_grad=True)
    fptt = FPTT(torch.optim.SGD([w], lr=0.1), alpha=1.0)
    assert fptt.step((w * x).sum()).item() == 2.0
    fptt.end_sequence()
    assert w.tolist() == [1.0, 1.0]
    assert x.grad is None


def test_parameters_added_later():
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([a], lr=0.1)
    fptt = FPTT(optimizer, 1.0)
    fptt.step(a.square().sum())
    optimizer.add_param_group({"params": [b]})
    fptt.step((a * b).sum())
    # its first step is a plain one: W = Wbar, lambda = 0; dl/db is a after its first step
    assert b.item() == pytest.approx(1 - 0.1 * 0.8, abs=1e-7)
    assert len(fptt.state_dict()["averages"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0.0}, "`alpha` (=0.0)"),
        ({"alpha": float("nan")}, "`alpha` (=nan)"),
        ({"alpha": 1.0, "beta": 0.0}, "`beta` (=0.0)"),
        ({"alpha": 1.0, "beta": 1.5}, "`beta` (=1.5)"),
    ],
)
def test_bad_arguments(arguments, message):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ValueError) as info:
        FPTT(optimizer, **arguments)
    assert message in str(info.value)
    assert str(info.value).endswith(".")


def test_a_state_of_other_parameters_is_refused():
    small = FPTT(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), 1.0)
    large = FPTT(torch.optim.SGD([nn.Parameter(torch.ones(3))], lr=0.1), 1.0)
    with pytest.raises(ValueError, match=r"`state\['averages'\]`"):
        large.load_state_dict(small.state_dict())
