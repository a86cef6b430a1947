"""Converted neurons against the closed form, the three-module form and a loop in plain Python."""

import copy
import math
import pickle

import pytest
import torch

from sj_convert import Converter
from sj_convert.modules import VoltageScaler
from sj_convert.neuron import BurstIFNode, ScaledIFNode, SignedIFNode
from sj_core import functional
from sj_core.neuron import IFNode

BACKENDS = ["torch", "auto"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("T", [1, 3, 8, 17])
def test_closed_form_for_a_constant_input(T, backend):
    theta = torch.tensor(0.7, dtype=torch.float64)
    a = (
        torch.rand(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(T)) * 1.4
        - 0.3
    )
    node = ScaledIFNode(theta, v_init=0.5, step_mode="m", backend=backend)
    mean = node(a.expand(T, -1, -1)).mean(0)
    expected = (T * a / theta).round().clamp(0, T) * theta / T
    torch.testing.assert_close(mean, expected, rtol=1e-12, atol=1e-12)
    inside = (a >= 0) & (a <= theta)
    assert ((mean - a).abs()[inside] <= theta / (2 * T) + 1e-12).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6,), (3, 6), (3, 6, 4), (3, 6, 4, 5), (2, 6, 2, 3, 2)])
@pytest.mark.parametrize("node", [ScaledIFNode, SignedIFNode, BurstIFNode])
def test_step_modes_agree_bit_for_bit(node, shape, dtype, backend):
    x = torch.randn(9, *shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    theta = torch.tensor(0.6) if len(shape) < 2 else torch.linspace(0.2, 1.1, 6)
    one = node(theta, v_init=0.25, backend=backend)
    seq = node(theta, v_init=0.25, backend=backend, step_mode="m")
    a = torch.stack([one(s) for s in x])
    b = torch.cat([seq(x[:4]), seq(x[4:])])
    assert torch.equal(a, b)
    assert a.dtype == dtype
    assert torch.equal(one.v, seq.v)
    assert a.abs().sum() > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_per_channel_is_each_channel_alone(backend):
    x = torch.randn(9, 3, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    thetas = [0.25, 0.5, 1.0, 2.0]
    node = ScaledIFNode(torch.tensor(thetas), v_init=0.5, step_mode="m", backend=backend)
    y = node(x)
    for c, theta in enumerate(thetas):
        alone = ScaledIFNode(theta, v_init=0.5, step_mode="m", backend=backend)
        assert torch.equal(y[:, :, c], alone(x[:, :, c]))


@pytest.mark.parametrize("v_init", [0.0, 0.5])
def test_same_spikes_as_scaler_if_scaler(v_init):
    theta = 0.25  # a power of two: scaling is exact, so the spikes must be the same
    x = torch.randn(40, 3, 7, generator=torch.Generator().manual_seed(5))
    middle = IFNode(v_threshold=1.0, v_reset=None, step_mode="m")
    middle.v = v_init
    expected = VoltageScaler(theta)(middle(VoltageScaler(1 / theta)(x)))
    assert torch.equal(ScaledIFNode(theta, v_init=v_init, step_mode="m")(x), expected)


def plain(kind, x, theta, v, G=5):
    """One neuron in Python floats (float64)."""
    out, count = [], 0
    for value in x:
        h = v + value
        if kind == "signed":
            s = 1 if h >= theta else -1 if h < 0 and count > 0 else 0
        else:
            s = min(max(math.floor(h / theta), 0), G)
        count += s
        v = h - s * theta
        out.append(s * theta)
    return out


@pytest.mark.parametrize(("kind", "cls"), [("signed", SignedIFNode), ("burst", BurstIFNode)])
def test_signed_and_burst_against_plain_python(kind, cls):
    x = torch.randn(60, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 3
    y = cls(0.75, v_init=0.5, step_mode="m").double()(x)
    for n in range(4):
        for c in range(3):
            expected = plain(kind, x[:, n, c].tolist(), 0.75, 0.375)
            assert y[:, n, c].tolist() == pytest.approx(expected)
    assert (y < 0).any() == (kind == "signed")
    assert (y > 0.75).any() == (kind == "burst")


def test_signed_repairs_what_an_uneven_arrival_broke():
    x = torch.tensor([[3.0], [-3.0], [0.0], [0.0], [0.4]])  # sum 0.4: rounds to no spike
    assert ScaledIFNode(1.0, v_init=0.5, step_mode="m")(x).sum().item() > 0
    assert SignedIFNode(1.0, v_init=0.5, step_mode="m")(x).sum().item() == 0


@pytest.mark.parametrize("cls", [ScaledIFNode, SignedIFNode, BurstIFNode])
def test_copies_state_and_reset(cls):
    x = torch.rand(6, 2, 3)
    node = cls(torch.tensor([0.3, 0.5, 0.9]), v_init=0.5, step_mode="m")
    first = node(x)
    twins = [copy.deepcopy(node), pickle.loads(pickle.dumps(node))]
    second = node(x)
    for twin in twins:
        assert torch.equal(twin(x), second)
        twin.reset()
        assert torch.equal(twin(x), first)
    assert set(node.state_dict()) == {"v_threshold"}
    fresh = cls(torch.ones(3), v_init=0.5, step_mode="m")
    fresh.load_state_dict(node.state_dict())
    assert torch.equal(fresh(x), first)
    with pytest.raises(RuntimeError, match="reset_net"):
        node(torch.rand(6, 5, 3))


def test_gradient_passes_like_that_of_an_if_node():
    x = torch.rand(5, 2, 3, dtype=torch.float64)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    ScaledIFNode(1.0, scaled=False, step_mode="m", backend="torch").double()(a).sum().backward()
    IFNode(1.0, v_reset=None, step_mode="m", backend="torch")(b).sum().backward()
    torch.testing.assert_close(a.grad, b.grad)


def test_bad_arguments():
    for bad in (0.0, -1.0, torch.tensor([1.0, 0.0]), torch.ones(2, 2), float("nan")):
        with pytest.raises(ValueError, match="`v_threshold`"):
            ScaledIFNode(bad)
    with pytest.raises(ValueError, match="`most_spikes`"):
        BurstIFNode(most_spikes=0)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("neuron", ["if", "signed", "burst"])
def test_no_neuron_exceeds_the_ceiling_of_its_relu(neuron, fused):
    ann = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU6())
    x = torch.linspace(-3, 15, 40).unsqueeze(1)
    snn = Converter([x], neuron=neuron, fused=fused, v_init=0.5)(ann)
    functional.set_step_mode(snn, "m")
    T = 50
    assert (snn(x.expand(T, 40, 1)).mean(0) - ann(x)).abs().max() <= 6 / (2 * T) + 1e-5
