"""Parallel spiking neurons against sums over time written out, and their modes."""

import pytest
import torch
from torch import nn

from sj_core import functional, neuron

T, K = 6, 3


def spikes(weight, bias, x):
    h = torch.zeros_like(x)
    for t in range(len(x)):
        for i in range(len(x)):
            h[t] += weight[t, i] * x[i]
        h[t] += bias[t]
    return (h >= 0).to(x.dtype), h


def trained(node):
    node = node.double()
    node.bias.data.uniform_(-1.0, 0.2)
    return node


def test_psn_is_a_product_over_time():
    node = trained(neuron.PSN(T))
    x = torch.randn(T, 2, 3, dtype=torch.float64)
    expected, _ = spikes(node.weight.detach(), node.bias.detach().flatten(), x)
    assert torch.equal(node(x), expected)
    assert list(dict(node.named_parameters())) == ["weight", "bias"]
    assert node.weight.shape == (T, T)
    assert neuron.PSN(T).bias.tolist() == [[-1.0]] * T


@pytest.mark.parametrize("lambda_", [0.0, 0.3, 1.0])
def test_masked_psn_weighs_its_mask_by_lambda(lambda_):
    node = trained(neuron.MaskedPSN(K, T, lambda_init=lambda_))
    x = torch.randn(T, 2, 3, dtype=torch.float64)
    mask = torch.zeros(T, T, dtype=torch.float64)
    for t in range(T):
        for i in range(T):
            mask[t, i] = float(t - K < i <= t)
    weight = (lambda_ * mask + (1 - lambda_)) * node.weight.detach()
    expected, _ = spikes(weight, node.bias.detach().flatten(), x)
    assert torch.equal(node(x), expected)
    torch.testing.assert_close(node.masked_weight(), weight)


def test_sliding_psn_shares_its_weights_and_halves_them_backwards():
    node = neuron.SlidingPSN(4, step_mode="m")
    assert node.weight.tolist() == [0.125, 0.25, 0.5, 1.0]
    assert node.bias.tolist() == [-1.0]
    node = trained(node)
    x = torch.randn(9, 5, dtype=torch.float64)
    weight = torch.zeros(9, 9, dtype=torch.float64)
    for t in range(9):
        for j in range(min(4, t + 1)):
            weight[t, t - j] = node.weight.detach()[3 - j]
    expected, _ = spikes(weight, node.bias.detach().expand(9), x)
    assert torch.equal(node(x), expected)


def test_a_sliding_psn_of_known_weights_draws_nothing():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    neuron.SlidingPSN(K)
    assert torch.equal(torch.rand(3), expected)


def test_gradients_are_those_of_the_sum():
    for node in (neuron.PSN(T), neuron.MaskedPSN(K, T, 0.4), neuron.MaskedPSN(K, T, 1.0)):
        node.double()
        node.surrogate_function.spiking = False
        x = torch.randn(T, 2, dtype=torch.float64, requires_grad=True)

        def run(x, weight, bias, node=node):
            node.reset()
            return torch.func.functional_call(node, {"weight": weight, "bias": bias}, x)

        assert torch.autograd.gradcheck(run, (x, node.weight, node.bias))


@pytest.mark.parametrize(
    "make", [lambda: neuron.MaskedPSN(K, T, 1.0), lambda: neuron.SlidingPSN(K, step_mode="m")]
)
def test_the_state_carries_over_chunks(make):
    node = make()
    node.bias.data.fill_(-0.2)
    x = torch.randn(T, 2, 3)
    whole = node(x)
    node.reset()
    chunks = functional.chunk_multi_step_forward(2, x, node)
    assert torch.equal(whole, chunks)


def test_a_masked_psn_starts_anew_after_t_steps():
    node = neuron.MaskedPSN(K, T, 1.0)
    node.bias.data.fill_(-0.2)
    x = torch.randn(T, 2, 3)
    assert torch.equal(node(x), node(x))


def test_only_some_have_single_steps():
    with pytest.raises(ValueError, match=r"`step_mode` \(='s'\) of PSN must be 'm'"):
        neuron.PSN(T).step_mode = "s"
    node = neuron.MaskedPSN(K, T)
    with pytest.raises(ValueError, match=r"MaskedPSN needs `lambda_` \(=0\.0\) to be 1"):
        node.step_mode = "s"
    assert node.step_mode == "m"
    node.lambda_ = 1
    node.step_mode = "s"
    node.lambda_ = 0.5
    with pytest.raises(ValueError, match=r"`lambda_` \(=0\.5\)"):
        node(torch.zeros(2))
    with pytest.raises(ValueError, match=r"`lambda_` \(=2\) must be in \[0, 1\]"):
        node.lambda_ = 2


def test_wrong_lengths_are_named():
    for node in (neuron.PSN(T), neuron.MaskedPSN(K, T), neuron.MaskedPSN(K, T, 1.0)):
        with pytest.raises(ValueError, match=r"\(7, 2\).*must have `T` \(=6\) steps"):
            node(torch.zeros(7, 2))


def test_native_by_name_is_refused():
    with pytest.raises((ValueError, ImportError), match=r"PSN|sj-kernels"):
        neuron.PSN(T, backend="native")


def test_a_masked_psn_saves_what_training_has_made_of_lambda():
    """Under the name that it has in SpikingJelly's state dicts."""
    node = trained(neuron.MaskedPSN(K, T))
    node.lambda_ = 0.7
    fresh = neuron.MaskedPSN(K, T)
    fresh.load_state_dict(node.state_dict())
    assert fresh.lambda_ == 0.7
    x = torch.randn(T, 3)
    assert torch.equal(fresh(x), node(x))
    masks = {"mask0": torch.ones(T, T), "mask1": torch.ones(T, T)}  # saved there, too
    theirs = {**node.state_dict(), **masks, "_lambda_": torch.tensor(0.25)}
    fresh.load_state_dict(theirs)
    assert fresh.lambda_ == 0.25
    with pytest.raises(ValueError, match=r"`lambda_` \(=1.5\)"):
        fresh.load_state_dict({**theirs, "_lambda_": torch.tensor(1.5)})
    assert fresh.state_dict()["_lambda_"].item() == fresh.lambda_ == 0.25


@pytest.mark.parametrize(
    "move", [nn.Module.half, nn.Module.double, lambda m: m.to("meta").to_empty(device="cpu")]
)
def test_lambda_is_saved_exactly_wherever_the_weights_go(move):
    node = move(neuron.MaskedPSN(K, T, lambda_init=0.7))
    assert node.state_dict()["_lambda_"].item() == 0.7
    fresh = neuron.MaskedPSN(K, T)
    fresh.load_state_dict(node.state_dict())
    assert fresh.lambda_ == 0.7


@pytest.mark.parametrize(
    "build",
    [
        lambda: neuron.PSN(4),
        lambda: neuron.MaskedPSN(2, 4),
        lambda: neuron.MaskedPSN(2, 4, lambda_init=1.0),
        lambda: neuron.SlidingPSN(2, step_mode="m"),
    ],
)
def test_shapes_are_told_on_the_meta_device(build):
    y = build().to("meta")(torch.empty(4, 2, 3, device="meta"))
    assert y.is_meta
    assert y.shape == (4, 2, 3)
