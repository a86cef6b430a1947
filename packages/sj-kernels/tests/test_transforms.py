"""torch.func: grad, vmap over states and their composition, against loops over the eager path."""

import pytest
import torch
from kernels_reference import NEURON_PARAMS
from torch.autograd import forward_ad
from torch.func import grad, jvp, vmap
from torch.utils.checkpoint import checkpoint

from sj_kernels import ops
from sj_kernels.neuron import LIFMultiStep

SETTINGS = {
    "v_threshold": 1.0,
    "v_reset": 0.0,
    "surrogate": "ATan",
    "surrogate_params": (2.0,),
    "detach_reset": False,
}


def call(neuron, x, v, w=None, decay=None, **kwargs):
    settings = {**SETTINGS, **kwargs}
    return ops.neuron(x, v, w, neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay, **settings)


def states(neuron, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, *shape, generator=generator) + 0.6
    v = 0.3 * torch.randn(shape, generator=generator)
    w = 0.1 * torch.randn(shape, generator=generator) if neuron == "izhikevich" else None
    decay = torch.tensor([0.4]) if neuron == "plif" else None
    return x, v, w, decay


@pytest.mark.parametrize("neuron", list(NEURON_PARAMS))
def test_grad_equals_eager(neuron):
    x, v, w, decay = states(neuron, (4, 5))

    def loss(x, v):
        s, v_next, _, v_seq = call(neuron, x, v, w, decay, store_v_seq=True)
        return s.square().sum() + v_next.sum() + (v_seq**2).sum()

    leaves = [x.clone().requires_grad_(), v.clone().requires_grad_()]
    loss(*leaves).backward()
    for got, leaf in zip(grad(loss, argnums=(0, 1))(x, v), leaves, strict=True):
        assert torch.equal(got, leaf.grad)


def test_grad_of_decay():
    x, v, _, decay = states("plif", (4, 5))

    def loss(decay):
        return call("plif", x, v, None, decay)[1].square().sum()

    leaf = decay.clone().requires_grad_()
    loss(leaf).backward()
    assert torch.equal(grad(loss)(decay), leaf.grad)
    assert leaf.grad.abs() > 0


@pytest.mark.parametrize("multi_step", [True, False])
@pytest.mark.parametrize("neuron", ["if", "lif", "izhikevich", "plif"])
@pytest.mark.parametrize("in_dims", [(0, 0), (None, 0), (1, None)])
def test_vmap(neuron, in_dims, multi_step):
    x, v, w, decay = states(neuron, (4, 5))
    x = x if multi_step else x[0]
    xs = torch.stack([x, x + 0.2, x * 2], in_dims[0]) if in_dims[0] is not None else x
    vs = torch.stack([v, v + 0.2, v * 2], in_dims[1]) if in_dims[1] is not None else v

    def function(x, v):
        return call(neuron, x, v, w, decay, multi_step=multi_step)[:2]

    got = vmap(function, in_dims=in_dims)(xs, vs)
    for index in range(3):
        pick = [
            t if d is None else t.select(d, index) for t, d in zip((xs, vs), in_dims, strict=True)
        ]
        for a, b in zip(got, function(*pick), strict=True):
            assert torch.equal(a[index], b)


def test_vmap_of_channels_and_scalar_steps():
    threshold = torch.linspace(0.5, 1.5, 5)
    x = torch.randn(2, 3, 4, 5) + 0.6

    def function(x):
        return call("lif", x, 0.0, v_threshold=threshold)[0]

    got = vmap(function)(x)
    assert torch.equal(got, torch.stack([function(one) for one in x]))
    line = torch.randn(6, 7) + 0.6  # six sequences of one neuron without a batch
    got = vmap(lambda x: call("lif", x, 0.0)[0])(line)
    assert torch.equal(got, torch.stack([call("lif", one, 0.0)[0] for one in line]))


@pytest.mark.parametrize("neuron", ["lif", "plif", "izhikevich"])
def test_vmap_of_grad(neuron):
    x, v, w, decay = states(neuron, (4, 5))
    vs = torch.stack([v, v + 0.2, v * 2])

    def loss(v, decay):
        return call(neuron, x, v, w, decay)[0].square().sum()

    if neuron == "plif":
        decays = torch.tensor([[0.4], [0.5], [0.6]])
        got = vmap(grad(loss, argnums=(0, 1)))(vs, decays)
        each = [grad(loss, argnums=(0, 1))(a, b) for a, b in zip(vs, decays, strict=True)]
        for a, b in zip(got, zip(*each, strict=True), strict=True):
            torch.testing.assert_close(a, torch.stack(b))
    else:
        got = vmap(grad(lambda v: loss(v, decay)))(vs)
        assert torch.equal(got, torch.stack([grad(lambda v: loss(v, decay))(v) for v in vs]))


def test_second_derivative_is_refused():
    x = torch.randn(3, 4, requires_grad=True)
    s = call("lif", x, 0.0)[0]
    (g,) = torch.autograd.grad(s.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        g.sum().backward()


def registered(x):
    # through the dispatcher, as under torch.compile
    rest = (None, 0.0, None, 0.0, None, None, None, "lif", [0.5, 0.0, 1.0], 1.0, 0.0)
    return torch.ops.sj.neuron_forward(x, *rest, "ATan", [2.0], False, True, False, 1.0)[0]


CALLS = {
    "simple": lambda x: call("lif", x, 0.0)[0],
    "fused": lambda x: call("lif", x, 0.0, store_v_seq=True)[0],
    "registered": registered,
    "step API": lambda x: LIFMultiStep.apply(x, x[0] * 0, 1.0, 0.0, 2.0, False, 0, 0.5, False)[0],
}


@pytest.mark.parametrize("name", list(CALLS))
def test_second_derivative(name):
    """A gradient may be used in a graph, but not differentiated: not even where it is a summand."""
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (expected,) = torch.autograd.grad(CALLS[name](x).sum(), x)
    (g,) = torch.autograd.grad(CALLS[name](x).sum(), x, create_graph=True)
    assert torch.equal(g, expected)
    with pytest.raises(RuntimeError, match="no second derivative; use the torch backend"):
        (g.square().sum() + x.sum()).backward()


@pytest.mark.parametrize("name", list(CALLS))
def test_a_gradient_in_a_graph_through_a_checkpoint(name):
    """A checkpoint computes what was saved again, and hands it out once."""
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (expected,) = torch.autograd.grad(CALLS[name](x).square().sum(), x)
    s = checkpoint(CALLS[name], x, use_reentrant=False)
    (g,) = torch.autograd.grad(s.square().sum(), x, create_graph=True)
    assert torch.equal(g, expected)
    with pytest.raises(RuntimeError, match="no second derivative; use the torch backend"):
        g.sum().backward()


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", ["simple", "fused"])
def test_forward_mode_is_refused(name, requires_grad):
    """Its tangent would be dropped without a word."""
    x = torch.randn(3, 4).requires_grad_(requires_grad)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(NotImplementedError, match="forward mode; use the torch backend"):
            CALLS[name](dual)
        assert torch.equal(CALLS[name](x), CALLS[name](x.detach()))
    with pytest.raises(NotImplementedError, match="forward mode; use the torch backend"):
        jvp(CALLS[name], (x,), (torch.ones_like(x),))


@pytest.mark.parametrize("state", [False, True], ids=["x", "x and v"])
def test_batched_gradients_of_the_step_api(state):
    """`is_grads_batched` against one gradient at a time."""
    x, v, _, _ = states("lif", (4, 5))
    leaves = [x.requires_grad_(), v.requires_grad_()][: 1 + state]
    v = v if state else v.detach()
    spikes, _ = LIFMultiStep.apply(x, v, 1.0, None, 2.0, False, 0, 0.5, False)
    batch = torch.randn(3, *spikes.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(spikes, leaves, batch, is_grads_batched=True, retain_graph=True)
    for i, gradient in enumerate(batch):
        one = torch.autograd.grad(spikes, leaves, gradient, retain_graph=True)
        assert all(torch.equal(a[i], b) for a, b in zip(found, one, strict=True))
