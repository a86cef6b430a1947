import copy
import pickle

import pytest
import torch

from sj_core import surrogate
from sj_train.online import OTTTLIFNode, SLTTLIFNode

SETTINGS = [
    {},
    {"tau": 3.5, "decay_input": True},
    {"tau": 1.5, "decay_input": False, "v_threshold": 0.7},
    {"tau": 4, "v_reset": -0.2},
    {"tau": 4, "v_reset": None, "decay_input": True},
]


def lif_by_loop(x_seq, node):
    """Spikes and traces of one neuron, from the equations, in Python floats."""
    rest = 0.0 if node.v_reset is None else node.v_reset
    v, a, spikes, traces = rest, 0.0, [], []
    for x in x_seq:
        h = v + (x - (v - rest)) / node.tau if node.decay_input else v - (v - rest) / node.tau + x
        s = float(h >= node.v_threshold)
        v = h - s * node.v_threshold if node.v_reset is None else (node.v_reset if s else h)
        a = (1 - 1 / node.tau) * a + s
        spikes.append(s)
        traces.append(a)
    return spikes, traces


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("cls", [OTTTLIFNode, SLTTLIFNode])
def test_forward_and_trace(cls, settings):
    torch.manual_seed(0)
    node = cls(**settings)
    x_seq = 2 * torch.rand(20, 3, 4, dtype=torch.float64)
    want = [lif_by_loop(x_seq[:, i, j].tolist(), node) for i in range(3) for j in range(4)]
    spikes = torch.tensor([s for s, _ in want], dtype=torch.float64).T.view(20, 3, 4)
    traces = torch.tensor([a for _, a in want], dtype=torch.float64).T.view(20, 3, 4)
    out = [node(x) for x in x_seq]
    if cls is OTTTLIFNode:
        assert all(type(y) is tuple for y in out)
        assert torch.equal(torch.stack([s for s, _ in out]), spikes)
        torch.testing.assert_close(torch.stack([a for _, a in out]), traces, rtol=0, atol=1e-12)
        assert not out[-1][1].requires_grad
    else:
        assert torch.equal(torch.stack(out), spikes)
    node.reset()
    node.eval()
    assert torch.equal(torch.stack([node(x) for x in x_seq]), spikes)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("cls", [OTTTLIFNode, SLTTLIFNode])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_gradient_is_the_instantaneous_one(cls, settings, detach_reset):
    torch.manual_seed(1)
    alpha = 2.5
    node = cls(**settings, surrogate_function=surrogate.Sigmoid(alpha), detach_reset=detach_reset)
    x_seq = (2 * torch.rand(6, 5, dtype=torch.float64)).requires_grad_()
    g = torch.randn(6, 5, dtype=torch.float64)
    spikes, voltages = [], []
    for x in x_seq:
        before = node.v if isinstance(node.v, torch.Tensor) else torch.full_like(x, node.v)
        voltages.append(before.detach())
        y = node(x)
        spikes.append(y[0] if cls is OTTTLIFNode else y)
    (torch.stack(spikes) * g).sum().backward()
    rest = 0.0 if node.v_reset is None else node.v_reset
    v, x = torch.stack(voltages), x_seq.detach()
    if node.decay_input:
        h, dh = v + (x - (v - rest)) / node.tau, 1 / node.tau
    else:
        h, dh = v - (v - rest) / node.tau + x, 1.0
    p = torch.sigmoid(alpha * (h - node.v_threshold))
    torch.testing.assert_close(x_seq.grad, g * alpha * p * (1 - p) * dh, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_the_state_in_float32(dtype):
    node = OTTTLIFNode(tau=50.0)
    for _ in range(30):
        spike, trace = node(torch.ones(2, 3, dtype=dtype))
    assert spike.dtype == trace.dtype == dtype
    assert node.v.dtype == node.trace.dtype == torch.float32
    want = sum(0.98**k for k in range(30))
    torch.testing.assert_close(node.trace, torch.full((2, 3), want), rtol=1e-5, atol=0)


def test_defaults():
    ottt, sltt = OTTTLIFNode(), SLTTLIFNode()
    for node in (ottt, sltt):
        assert node.tau == 2.0
        assert node.v_threshold == 1.0
        assert node.detach_reset is True
        assert isinstance(node.surrogate_function, surrogate.Sigmoid)
    assert (ottt.decay_input, ottt.v_reset) == (False, None)
    assert (sltt.decay_input, sltt.v_reset) == (True, 0.0)


@pytest.mark.parametrize("cls", [OTTTLIFNode, SLTTLIFNode])
def test_bad_arguments(cls):
    with pytest.raises(ValueError, match=r"`tau` \(=1.0\) must be greater than 1\."):
        cls(tau=1.0)
    with pytest.raises(ValueError, match=cls.__name__):
        cls(step_mode="m")
    node = cls()
    with pytest.raises(ValueError, match=cls.__name__):
        node.step_mode = "m"


def test_state_resets_copies_and_stays_out_of_the_state_dict():
    node = OTTTLIFNode()
    node(torch.ones(2, 3, requires_grad=True))
    assert not node.state_dict()
    for twin in (copy.deepcopy(node), pickle.loads(pickle.dumps(node))):
        assert torch.equal(twin.v, node.v)
        assert torch.equal(twin.trace, node.trace)
    with pytest.raises(RuntimeError, match="reset_net"):
        node(torch.ones(4, 3))
    node.reset()
    assert node.trace == 0.0
    assert node(torch.ones(4, 3))[1].shape == (4, 3)
