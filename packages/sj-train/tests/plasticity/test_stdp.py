import itertools

import numpy as np
import pytest
import torch
from torch import nn

from sj_core import layer, neuron
from sj_train.plasticity import STDPLearner


def rasters(shape_pre, shape_post, seed=0):
    rng = np.random.default_rng(seed)
    return (
        (rng.random(shape_pre) < 0.4).astype(np.float64),
        (rng.random(shape_post) < 0.4).astype(np.float64),
    )


def connections(net_layer, sizes_in, sizes_out):
    """(weight index, place before, place behind) of every single connection of a layer."""
    if isinstance(net_layer, nn.Linear):
        for o, i in itertools.product(range(net_layer.out_features), range(net_layer.in_features)):
            yield (o, i), (i,), (o,)
        return
    axes = len(sizes_in)
    per_group_in = net_layer.in_channels // net_layer.groups
    per_group_out = net_layer.out_channels // net_layer.groups
    padding = net_layer.padding
    if padding == "same":
        padding = [
            d * (k - 1) // 2 for d, k in zip(net_layer.dilation, net_layer.kernel_size, strict=True)
        ]
    for o in range(net_layer.out_channels):
        for i in range(per_group_in):
            channel = o // per_group_out * per_group_in + i
            for kernel in itertools.product(*map(range, net_layer.kernel_size)):
                for place in itertools.product(*map(range, sizes_out)):
                    before = [
                        place[a] * net_layer.stride[a]
                        - padding[a]
                        + kernel[a] * net_layer.dilation[a]
                        for a in range(axes)
                    ]
                    if net_layer.padding_mode == "circular":
                        before = [b % size for b, size in zip(before, sizes_in, strict=True)]
                    if all(0 <= b < size for b, size in zip(before, sizes_in, strict=True)):
                        yield (o, i, *kernel), (channel, *before), (o, *place)


def stdp_by_loop(net_layer, pre, post, tau_pre, tau_post, f_pre, f_post):
    """dW of rasters `[T, N, *]`, one synapse and one sample after the other."""
    w = net_layer.weight.detach().double().numpy()
    dw = np.zeros_like(w)
    wires = list(connections(net_layer, pre.shape[3:], post.shape[3:]))
    for n in range(pre.shape[1]):
        a, b = np.zeros(pre.shape[2:]), np.zeros(post.shape[2:])
        for t in range(pre.shape[0]):
            a = a * (1 - 1 / tau_pre) + pre[t, n]
            b = b * (1 - 1 / tau_post) + post[t, n]
            for index, i, j in wires:
                dw[index] += f_post(w[index]) * a[i] * post[t, n][j]
                dw[index] -= f_pre(w[index]) * b[j] * pre[t, n][i]
    return dw


LAYERS = [
    (lambda: nn.Linear(4, 3), (4,)),
    (lambda: nn.Linear(1, 5, bias=False), (1,)),
    (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (4, 7)),
    (lambda: nn.Conv2d(2, 3, 3), (2, 5, 4)),
    (lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 5, 4)),
    (lambda: nn.Conv2d(2, 4, 3, padding="same", dilation=2, groups=2), (2, 5, 4)),
    (lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), (1, 4, 4)),
    (lambda: nn.Conv3d(1, 2, 2, padding=1), (1, 2, 3, 2)),
]
MODULATIONS = [(None, None), (lambda w: 0.5, lambda w: 2.0), (abs, lambda w: (1 - w) ** 2)]


class Replay(nn.Module):
    """Stands for a neuron: puts out spikes given beforehand."""

    def __init__(self, spikes):
        super().__init__()
        self.spikes = iter(spikes)

    def forward(self, x):
        return next(self.spikes)


def tensors(pre, post, dtype=torch.float64):
    return torch.tensor(pre, dtype=dtype), torch.tensor(post, dtype=dtype)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
@pytest.mark.parametrize(("f_pre", "f_post"), MODULATIONS)
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_equals_a_loop_over_synapses(make, shape, f_pre, f_post, step_mode):
    torch.manual_seed(0)
    synapse = make().double()
    T, N = 4, 2
    shape_post = synapse(torch.zeros(1, *shape).double()).shape[1:]
    pre, post = rasters((T, N, *shape), (T, N, *shape_post))
    functions = {} if f_pre is None else {"f_pre": f_pre, "f_post": f_post}
    identity = {"f_pre": lambda w: w, "f_post": lambda w: w}
    want = stdp_by_loop(synapse, pre, post, 2.5, 4.0, **{**identity, **functions})

    pre_t, post_t = tensors(pre, post)
    if step_mode == "s":
        sn, inputs = Replay(post_t), pre_t
    else:
        sn, inputs = Replay([post_t]), [pre_t]
    learner = STDPLearner(step_mode, synapse, sn, 2.5, 4.0, **functions)
    hidden = _flat if step_mode == "m" else (lambda layer_, x: layer_(x))
    got = torch.zeros_like(synapse.weight)
    for x in inputs:
        sn(hidden(synapse, x))
        if step_mode == "s":
            got += learner.step(on_grad=False)
    if step_mode == "m":
        got = learner.step(on_grad=False)
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=0, atol=1e-12)
    assert synapse.weight.grad is None


def _flat(synapse, x):
    """Run the layer over `[T, N, *]`; what it puts out does not matter here."""
    for hook in synapse._forward_pre_hooks.values():
        hook(synapse, (x,))
    return x


def test_records_of_several_steps_are_summed_with_the_weight_as_it_is():
    synapse = nn.Linear(3, 2).double()
    pre, post = rasters((5, 2, 3), (5, 2, 2))
    pre_t, post_t = tensors(pre, post)
    sn = Replay(post_t)
    learner = STDPLearner("s", synapse, sn, 2.0, 2.0)
    for x in pre_t:
        sn(synapse(x))
    want = stdp_by_loop(synapse, pre, post, 2.0, 2.0, lambda w: w, lambda w: w)
    np.testing.assert_allclose(learner.step(on_grad=False), want, rtol=0, atol=1e-12)
    assert learner.step(on_grad=False) is None


@pytest.mark.parametrize("in_sequences", [True, False])
def test_an_optimizer_adds_dw_to_the_weight(in_sequences):
    torch.manual_seed(1)
    mode = "m" if in_sequences else "s"
    net = nn.Sequential(
        layer.Linear(6, 4, bias=True, step_mode=mode), neuron.IFNode(step_mode=mode)
    )
    before = net[0].weight.detach().clone()
    bias = net[0].bias.detach().clone()
    learner = STDPLearner(mode, net[0], net[1], 3.0, 5.0, lambda w: 1.0, lambda w: 0.7)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    x_seq = (torch.rand(8, 3, 6) < 0.5).float()
    spikes = net(x_seq) if in_sequences else torch.stack([net(x) for x in x_seq])
    optimizer.zero_grad()
    assert learner.step(scale=0.1) is None
    optimizer.step()
    assert spikes.sum() > 0
    fixed = nn.Linear(6, 4)
    fixed.weight.data.copy_(before)
    want = stdp_by_loop(
        fixed,
        x_seq.double().numpy(),
        spikes.detach().double().numpy(),
        3.0,
        5.0,
        lambda w: 1.0,
        lambda w: 0.7,
    )
    np.testing.assert_allclose((net[0].weight - before).detach(), 0.1 * want, rtol=1e-4, atol=1e-5)
    assert torch.equal(net[0].bias, bias)


def test_gradients_accumulate():
    synapse = nn.Linear(3, 2)
    synapse.weight.grad = torch.full((2, 3), 5.0)
    sn = Replay([torch.ones(1, 2)])
    learner = STDPLearner("s", synapse, sn, 2.0, 2.0, lambda w: 0.0, lambda w: 1.0)
    sn(synapse(torch.ones(1, 3)))
    learner.step(scale=2.0)
    assert torch.equal(synapse.weight.grad, torch.full((2, 3), 3.0))


def test_a_pair_of_spikes_by_hand():
    """Before 3 steps ahead of behind: potentiation by the decayed trace, and the reverse."""
    for first, sign, tau in (("pre", 1.0, 4.0), ("post", -1.0, 8.0)):
        synapse = nn.Linear(1, 1, bias=False).double()
        early, late = torch.zeros(2, 5, 1, 1, dtype=torch.float64)
        early[0], late[3] = 1.0, 1.0
        pre, post = (early, late) if first == "pre" else (late, early)
        sn = Replay(post)
        learner = STDPLearner("s", synapse, sn, 4.0, 8.0, lambda w: 1.0, lambda w: 1.0)
        for x in pre:
            sn(synapse(x))
        got = learner.step(on_grad=False).item()
        assert got == pytest.approx(sign * (1 - 1 / tau) ** 3, rel=1e-12)


def test_unbatched_bool_and_half_precision_spikes():
    synapse = nn.Linear(3, 2)
    weight = synapse.weight.detach().clone()
    for dtype in (torch.bool, torch.float16, torch.bfloat16, torch.int64):
        out = torch.tensor([1, 0]).to(dtype)
        sn = Replay([out])
        learner = STDPLearner("s", synapse, sn, 2.0, 2.0)
        learner._record_pre(synapse, (torch.tensor([1, 0, 1]).to(dtype),))
        sn(None)
        got = learner.step(on_grad=False)
        learner.close()
        assert got.dtype == torch.float32
        # row 0: w * a_i - w * a_j s_i = 0 where both fired, columns 0 and 2; else nothing
        torch.testing.assert_close(got, torch.zeros(2, 3))
        assert torch.equal(synapse.weight, weight)


@pytest.mark.parametrize("make", [lambda: nn.Linear(4, 3), lambda: nn.Conv1d(4, 3, 1)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_learn_in_float32(make, dtype):
    torch.manual_seed(3)
    synapse = make().to(dtype)
    sizes = () if isinstance(synapse, nn.Linear) else (5,)
    pre, post = rasters((6, 50, 4, *sizes), (6, 50, 3, *sizes))
    learner = STDPLearner("m", synapse, nn.Identity(), 20.0, 20.0)
    learner.pre_records.append(torch.tensor(pre, dtype=dtype))
    learner.post_records.append(torch.tensor(post, dtype=dtype))
    got = learner.step(on_grad=False)
    assert got.dtype == dtype
    want = stdp_by_loop(synapse, pre, post, 20.0, 20.0, lambda w: w, lambda w: w)
    bound = torch.finfo(dtype).eps
    np.testing.assert_allclose(got.double().numpy(), want, rtol=bound, atol=1e-4)
