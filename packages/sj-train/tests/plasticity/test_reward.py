import math

import numpy as np
import pytest
import torch
from torch import nn

from sj_core import neuron
from sj_train.plasticity import MSTDPETLearner, MSTDPLearner

TAU_PRE, TAU_POST, TAU_TRACE = 2.5, 0.8, 3.0


class Replay(nn.Module):
    """Stands for a neuron: puts out spikes given beforehand."""

    def __init__(self, spikes):
        super().__init__()
        self.spikes = iter(spikes)

    def forward(self, x):
        return next(self.spikes)


def wires(synapse, sizes_out):
    """(weight index, place before, place behind) of every connection; stride 1, no padding."""
    if isinstance(synapse, nn.Linear):
        o, i = synapse.weight.shape
        return [((a, b), (b,), (a,)) for a in range(o) for b in range(i)]
    found = []
    for index in np.ndindex(*synapse.weight.shape):
        for place in np.ndindex(*sizes_out):
            before = [p + k for p, k in zip(place, index[2:], strict=True)]
            found.append((index, (index[1], *before), (index[0], *place)))
    return found


def dw_by_loop(synapse, pre, post, reward, f_pre, f_post, with_trace):
    """dW of every step `[T, *weight]`, per synapse and per sample; reward `[T, N]`."""
    w = synapse.weight.detach().numpy()
    T, N = pre.shape[:2]
    dw = np.zeros((T, *w.shape))
    for n in range(N):
        a, b = np.zeros(pre.shape[2:]), np.zeros(post.shape[2:])
        zeta, z = np.zeros_like(w), np.zeros_like(w)
        for t in range(T):
            z = z * math.exp(-1 / TAU_TRACE) + zeta / TAU_TRACE
            dw[t] += reward[t, n] * (z if with_trace else zeta)
            a = a * math.exp(-1 / TAU_PRE) + pre[t, n]
            b = b * math.exp(-1 / TAU_POST) + post[t, n]
            zeta = np.zeros_like(w)
            for index, i, j in wires(synapse, post.shape[3:]):
                zeta[index] += f_post(w[index]) * a[i] * post[t, n][j]
                zeta[index] -= f_pre(w[index]) * b[j] * pre[t, n][i]
    return dw


def make(cls, step_mode, synapse, sn, **functions):
    taus = (TAU_PRE, TAU_POST, TAU_TRACE) if cls is MSTDPETLearner else (TAU_PRE, TAU_POST)
    return cls(step_mode, synapse, sn, *taus, **functions)


LAYERS = [
    (lambda: nn.Linear(4, 3), (4,)),
    (lambda: nn.Conv1d(2, 3, 2), (2, 5)),
    (lambda: nn.Conv2d(2, 3, (2, 3)), (2, 4, 4)),
]
FUNCTIONS = [{}, {"f_pre": lambda w: 0.3, "f_post": lambda w: (1 - w) ** 2}]


@pytest.mark.parametrize("cls", [MSTDPLearner, MSTDPETLearner])
@pytest.mark.parametrize(("build", "shape"), LAYERS)
@pytest.mark.parametrize("functions", FUNCTIONS)
@pytest.mark.parametrize("per_sample", [True, False])
def test_equals_a_loop_over_synapses(cls, build, shape, functions, per_sample):
    torch.manual_seed(0)
    synapse = build().double()
    T, N = 5, 3
    shape_post = synapse(torch.zeros(1, *shape).double()).shape[1:]
    rng = np.random.default_rng(1)
    pre = (rng.random((T, N, *shape)) < 0.5).astype(float)
    post = (rng.random((T, N, *shape_post)) < 0.5).astype(float)
    reward = rng.normal(size=(T, N)) if per_sample else np.repeat(rng.normal(size=(T, 1)), N, 1)
    identity = {"f_pre": lambda w: w, "f_post": lambda w: w}
    want = dw_by_loop(
        synapse, pre, post, reward, **{**identity, **functions}, with_trace=cls is MSTDPETLearner
    )
    sn = Replay(torch.tensor(post))
    learner = make(cls, "s", synapse, sn, **functions)
    for t in range(T):
        sn(synapse(torch.tensor(pre[t])))
        r = torch.tensor(reward[t]) if per_sample else float(reward[t, 0])
        got = learner.step(r, on_grad=False)
        np.testing.assert_allclose(got, want[t], rtol=0, atol=1e-12)
    assert not want[0].any()
    assert want.any()

    # the same in one call on the whole sequence
    sequence = make(cls, "m", synapse, nn.Identity(), **functions)
    sequence.pre_records.append(torch.tensor(pre))
    sequence.post_records.append(torch.tensor(post))
    r = torch.tensor(reward if per_sample else reward[:, 0])
    got = sequence.step(r, on_grad=False, scale=0.5)
    np.testing.assert_allclose(got, 0.5 * want.sum(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cls", [MSTDPLearner, MSTDPETLearner])
def test_an_optimizer_adds_dw_to_the_weight(cls):
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(4, 3), neuron.IFNode())
    nn.init.uniform_(net[0].weight, 0.2, 1.0)
    learner = make(cls, "s", net[0], net[1])
    optimizer = torch.optim.SGD([net[0].weight], lr=1.0)
    for t in range(4):
        before = net[0].weight.detach().clone()
        kept = learner.eligibility
        net((torch.rand(2, 4) < 0.7).float())
        optimizer.zero_grad()
        reward = torch.tensor([1.0, -0.5])
        assert learner.step(reward, scale=0.1) is None
        optimizer.step()
        if cls is MSTDPLearner and t:
            want = 0.1 * (reward.view(2, 1, 1) * kept).sum(0)
            torch.testing.assert_close(net[0].weight.detach() - before, want)
    assert not torch.equal(net[0].weight, before)


def test_eligibility_trace_reaches_back():
    """One pairing at t = 0 and one reward at t = k: e^(-(k-1)/tau)/tau of it is learnt."""
    for k in (1, 2, 5):
        synapse = nn.Linear(1, 1, bias=False).double()
        train = torch.zeros(k + 1, 1, 1, dtype=torch.float64)
        train[0] = 1.0
        sn = Replay(train)
        learner = MSTDPETLearner(
            "s", synapse, sn, 2.0, 2.0, 4.0, f_pre=lambda w: 0.0, f_post=lambda w: 1.0
        )
        total = 0.0
        for t, x in enumerate(train):
            sn(synapse(x))
            total += learner.step(float(t == k), on_grad=False).item()
        assert total == pytest.approx(math.exp(-(k - 1) / 4.0) / 4.0, rel=1e-12)


@pytest.mark.parametrize("cls", [MSTDPLearner, MSTDPETLearner])
def test_unbatched_spikes_and_reset(cls):
    synapse = nn.Linear(3, 2)
    sn = nn.ReLU()
    learner = make(cls, "s", synapse, sn)
    for n in ((), (), (4,)):
        if n:
            sn(synapse(torch.rand(*n, 3)))
            with pytest.raises(RuntimeError, match="4 samples"):
                learner.step(1.0)
            learner.reset()
        sn(synapse(torch.rand(*n, 3)))
        assert learner.step(1.0, on_grad=False).shape == (2, 3)
    names = dict(learner.named_memories())
    assert set(names) == {"trace_pre", "trace_post", "eligibility"} | (
        {"trace_e"} if cls is MSTDPETLearner else set()
    )


@pytest.mark.parametrize("cls", [MSTDPLearner, MSTDPETLearner])
def test_bad_use(cls):
    synapse, sn = nn.Linear(3, 2), nn.ReLU()
    learner = make(cls, "s", synapse, sn)
    assert learner.step(1.0, on_grad=False) is None
    sn(synapse(torch.rand(4, 3))), sn(synapse(torch.rand(4, 3)))
    with pytest.raises(RuntimeError, match="2 steps are recorded"):
        learner.step(1.0)
    learner.reset()
    for shape in ((3,), (4, 1), (1, 4)):
        sn(synapse(torch.rand(4, 3)))
        with pytest.raises(ValueError, match=r"`reward` \(shape .*\) must be a number or \[4\]\."):
            learner.step(torch.ones(shape))
        learner.reset()
    with pytest.raises(ValueError, match=r"`tau_pre` \(=0.0\) must be finite and greater than 0\."):
        cls("s", synapse, sn, 0.0, *([2.0] * (2 if cls is MSTDPETLearner else 1)))
    with pytest.raises(TypeError, match="`synapse`"):
        make(cls, "s", nn.ReLU(), sn)
    if cls is MSTDPETLearner:
        with pytest.raises(ValueError, match="`tau_trace`"):
            cls("s", synapse, sn, 2.0, 2.0, -1.0)
