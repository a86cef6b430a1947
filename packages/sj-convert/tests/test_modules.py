"""Scales against torch.quantile, hand-computed running means and the order of the batches."""

import copy
import pickle

import pytest
import torch

from sj_convert.modules import VoltageHook, VoltageScaler


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(3)
    sizes = (7, 2, 5)
    return [
        torch.randn(n, 4, 6, 5, generator=generator).relu() * (i + 1) for i, n in enumerate(sizes)
    ]


def run(hook, batches):
    for x in batches:
        hook(x)
    return hook.scale


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["Max", "max", "MAX", "99.9%", "100%", "0.5%", 1, 1.0, 0.3, "mse"])
def test_input_is_returned_as_it_is(mode, dtype):
    x = torch.rand(3, 4, 5).to(dtype)
    hook = VoltageHook(mode=mode, T=4)
    assert hook(x) is x
    assert hook.scale.device == x.device
    assert hook.scale.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("momentum", [0.1, 0.5, 0.0, 1.0])
@pytest.mark.parametrize("mode", ["max", "99%", "37.5%", 0.7])
def test_running_scale(batches, mode, momentum):
    def statistic(x):
        if isinstance(mode, str) and mode.endswith("%"):
            return torch.quantile(x.double(), float(mode[:-1]) / 100)
        return x.double().max() * (mode if isinstance(mode, float) else 1)

    s = [statistic(x) for x in batches]
    expected = s[0]
    for s_t in s[1:]:
        expected = (1 - momentum) * expected + momentum * s_t
    hook = VoltageHook(mode=mode, momentum=momentum)
    torch.testing.assert_close(run(hook, batches).double(), expected, rtol=1e-6, atol=0)
    assert hook.num_batches_tracked.item() == 3
    assert {"scale", "num_batches_tracked"} == set(hook.state_dict())


@pytest.mark.parametrize("mode", ["max", "99.5%", 0.25, "mse"])
@pytest.mark.parametrize("channel_wise", [False, True])
def test_true_statistic_of_the_whole_loader(batches, mode, channel_wise):
    first = VoltageHook(mode=mode, momentum=None, channel_wise=channel_wise, T=8)
    second = VoltageHook(mode=mode, momentum=None, channel_wise=channel_wise, T=8)
    a, b = run(first, batches), run(second, batches[::-1])
    assert torch.equal(a, b)
    assert a.shape == ((4,) if channel_wise else ())
    whole = torch.cat(batches).double()
    rows = whole.transpose(0, 1).flatten(1) if channel_wise else whole.reshape(1, -1)
    if mode == "mse":
        return  # the optimum itself is tested beside its search
    expected = torch.quantile(rows, 0.995, dim=1) if mode == "99.5%" else rows.amax(1)
    expected = expected * (mode if isinstance(mode, float) else 1)
    torch.testing.assert_close(a.double().reshape(-1), expected, rtol=1e-6, atol=0)


def test_more_than_2_to_the_24_values():
    # torch.quantile refuses this size; the value is known: 0 .. n-1 in another order.
    n = (1 << 24) + 3
    x = torch.arange(n, dtype=torch.float64).flip(0).view(1, -1)
    hook = VoltageHook(mode="75%")
    hook(x)
    assert hook.scale.item() == 0.75 * (n - 1)


def test_percentile_by_histogram_is_close_and_ordered(monkeypatch, batches):
    monkeypatch.setattr("sj_convert.calibrate.Quantiles.exact_limit", 100)
    for channel_wise in (False, True):
        hooks = [VoltageHook(mode="99%", momentum=None, channel_wise=channel_wise) for _ in "ab"]
        a, b = run(hooks[0], batches), run(hooks[1], batches[::-1])
        assert torch.equal(a, b)
        whole = torch.cat(batches).double()
        rows = whole.transpose(0, 1).flatten(1) if channel_wise else whole.reshape(1, -1)
        exact = torch.quantile(rows, 0.99, dim=1)
        gap = rows.amax(1) * 2 * 2.0**-12 + rows.sort(1).values.diff(dim=1)[:, -20:].amax(1)
        assert ((a.double().reshape(-1) - exact).abs() <= gap).all()


def test_only_in_training_mode():
    hook = VoltageHook(scale=2.5).eval()
    hook(torch.full((3,), 9.0))
    assert hook.scale.item() == 2.5
    assert hook.num_batches_tracked.item() == 0
    hook.train()
    hook(torch.full((3,), 9.0))
    assert hook.scale.item() == 9.0


def test_no_graph_is_kept_and_the_gradient_passes():
    x = torch.rand(4, requires_grad=True)
    hook = VoltageHook()
    hook(x * 2).sum().backward()
    assert not hook.scale.requires_grad
    assert torch.equal(x.grad, torch.full((4,), 2.0))


def test_copies_keep_the_record(batches):
    hook = VoltageHook(mode="90%", momentum=None)
    run(hook, batches[:2])
    twins = [copy.deepcopy(hook), pickle.loads(pickle.dumps(hook))]
    expected = run(hook, batches[2:])
    for twin in twins:
        assert torch.equal(run(twin, batches[2:]), expected)
        assert torch.equal(twin.state_dict()["scale"], expected)


@pytest.mark.parametrize(
    "mode", ["min", "", "%", "x%", "0%", "100.1%", "-5%", "nan%", 0, 1.5, -1, True, None, [1]]
)
def test_unknown_mode_lists_the_modes(mode):
    with pytest.raises(ValueError, match=r"`mode` .*'max'.*'99\.9%'.*\(0, 1\].*'mse'"):
        VoltageHook(mode=mode)


def test_bad_arguments():
    with pytest.raises(ValueError, match="momentum"):
        VoltageHook(momentum=1.5)
    with pytest.raises(TypeError, match="momentum"):
        VoltageHook(momentum="0.1")
    with pytest.raises(ValueError, match=r"`T` \(=None\)"):
        VoltageHook(mode="mse")
    with pytest.raises(ValueError, match="finite"):
        VoltageHook()(torch.tensor([1.0, float("nan")]))
    with pytest.raises(ValueError, match="finite"):
        VoltageHook()(torch.tensor([1.0, float("inf")]))
    with pytest.raises(ValueError, match="one value per channel"):
        VoltageScaler(torch.ones(2, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scaler(dtype):
    x = torch.rand(5, 2, 3, 4, 4).to(dtype)
    scaler = VoltageScaler(0.3)
    y = scaler(x[0])
    assert y.dtype == dtype
    assert torch.equal(y, x[0] * torch.tensor(0.3).to(dtype))
    scaler.step_mode = "m"
    assert torch.equal(scaler(x)[0], y)
    assert set(scaler.state_dict()) == {"scale"}


def test_scaler_per_channel_in_both_step_modes():
    x = torch.rand(5, 2, 3, 4, 4)
    scaler = VoltageScaler(torch.tensor([1.0, 2.0, 4.0]))
    expected = torch.einsum("tnchw,c->tnchw", x, scaler.scale)
    assert torch.equal(torch.stack([scaler(s) for s in x]), expected)
    scaler.step_mode = "m"
    assert torch.equal(scaler(x), expected)
    flat = torch.rand(5, 2, 3)
    assert torch.equal(scaler(flat), flat * scaler.scale)
    assert "3 channels" in repr(scaler)
    with pytest.raises(ValueError, match="step_mode"):
        scaler.step_mode = "x"


def test_scaler_of_integers_does_not_round_its_scale():
    y = VoltageScaler(0.5)(torch.tensor([1, 3]))
    assert torch.equal(y, torch.tensor([0.5, 1.5]))
