"""Surrogates against their tables, written out with `math`, and finite differences."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sj_core import surrogate


def sigma(x):
    return 1 / (1 + math.exp(-x))


def series(x, n, period):
    odd = range(1, 2 * n, 2)
    return sum(math.sin(i * 2 * math.pi / period * x) / i for i in odd)


def cosines(x, n, period):
    return sum(math.cos((2 * i - 1) * 2 * math.pi / period * x) for i in range(1, n + 1))


# name: (function form, parameter settings, primitive, derivative)
TABLE = {
    "PiecewiseQuadratic": (
        "piecewise_quadratic",
        [(1.0,), (2.5,)],
        lambda x, a: (
            0.0 if x < -1 / a else 1.0 if x > 1 / a else -a * a * x * abs(x) / 2 + a * x + 0.5
        ),
        lambda x, a: max(0.0, a - a * a * abs(x)),
    ),
    "PiecewiseExp": (
        "piecewise_exp",
        [(1.0,), (3.0,)],
        lambda x, a: math.exp(a * x) / 2 if x < 0 else 1 - math.exp(-a * x) / 2,
        lambda x, a: a / 2 * math.exp(-a * abs(x)),
    ),
    "Sigmoid": (
        "sigmoid",
        [(4.0,), (1,)],
        lambda x, a: sigma(a * x),
        lambda x, a: a * sigma(a * x) * (1 - sigma(a * x)),
    ),
    "SoftSign": (
        "soft_sign",
        [(2.0,), (0.7,)],
        lambda x, a: (a * x / (1 + abs(a * x)) + 1) / 2,
        lambda x, a: 1 / (2 * a * (1 / a + abs(x)) ** 2),
    ),
    "SuperSpike": ("super_spike", [(1.0,), (10.0,)], None, lambda x, a: a / (1 + abs(x)) ** 2),
    "ATan": (
        "atan",
        [(2.0,), (0.5,)],
        lambda x, a: math.atan(math.pi / 2 * a * x) / math.pi + 0.5,
        lambda x, a: a / 2 / (1 + (math.pi / 2 * a * x) ** 2),
    ),
    "NonzeroSignLogAbs": (
        "nonzero_sign_log_abs",
        [(1.0,), (2.0,)],
        lambda x, a: (1 if x >= 0 else -1) * math.log(a * abs(x) + 1),
        lambda x, a: 1 / (1 / a + abs(x)),
    ),
    "Erf": (
        "erf",
        [(2.0,), (0.8,)],
        lambda x, a: math.erfc(-a * x) / 2,
        lambda x, a: a / math.sqrt(math.pi) * math.exp(-((a * x) ** 2)),
    ),
    "PiecewiseLeakyReLU": (
        "piecewise_leaky_relu",
        [(1.0, 0.01), (0.3, 0.1)],
        lambda x, w, c: (
            c * x + c * w if x < -w else c * x - c * w + 1 if x > w else x / (2 * w) + 0.5
        ),
        lambda x, w, c: 1 / (2 * w) if abs(x) < w else c,
    ),
    "SquarewaveFourierSeries": (
        "squarewave_fourier_series",
        [(2, 8.0), (5, 3.0)],
        lambda x, n, p: 0.5 + 2 / math.pi * series(x, n, p),
        lambda x, n, p: 4 / p * cosines(x, n, p),
    ),
    "S2NN": (
        "s2nn",
        [(4.0, 1.0), (2.0, 0.5)],
        lambda x, a, b: sigma(a * x) if x < 0 else b * math.log(x + 1) + 0.5,
        lambda x, a, b: a * sigma(a * x) * (1 - sigma(a * x)) if x < 0 else b / (x + 1),
    ),
    "QPseudoSpike": (
        "q_pseudo_spike",
        [(2.0,), (1.5,)],
        lambda x, a: (
            (1 - 2 * x / (a - 1)) ** (1 - a) / 2
            if x < 0
            else 1 - (1 + 2 * x / (a - 1)) ** (1 - a) / 2
        ),
        lambda x, a: (1 + 2 * abs(x) / (a - 1)) ** (-a),
    ),
    "LeakyKReLU": (
        "leaky_k_relu",
        [(0.0, 1.0), (0.1, 0.7)],
        lambda x, leak, k: leak * x if x < 0 else k * x,
        lambda x, leak, k: leak if x < 0 else k,
    ),
    "FakeNumericalGradient": (
        "fake_numerical_gradient",
        [(0.3,), (2.0,)],
        None,
        lambda x, a: a if x == 0 else min(1 / abs(x), a),
    ),
    "LogTailedReLU": (
        "log_tailed_relu",
        [(0.0,), (0.2,)],
        lambda x, a: a * x if x <= 0 else x if x <= 1 else math.log(x) + 1,
        lambda x, a: a if x <= 0 else 1.0 if x <= 1 else 1 / x,
    ),
    "Rect": (
        "rect",
        [(1.0,), (3.0,)],
        lambda x, a: min(1.0, max(0.0, a * x + 0.5)),
        lambda x, a: a if abs(x) < 1 / (2 * a) else 0.0,
    ),
}
CASES = [
    pytest.param(name, params, id=f"{name}-{params}")
    for name, row in TABLE.items()
    for params in row[1]
]
POINTS = [-3.1, -1.4, -0.77, -0.21, -0.03, 0.0, 0.02, 0.19, 0.6, 1.3, 2.7]


def test_the_table_holds_every_surrogate():
    named = {
        name
        for name, value in vars(surrogate).items()
        if isinstance(value, type) and name != "SurrogateFunctionBase"
    }
    assert named == set(TABLE)
    assert len(TABLE) == 16


@pytest.mark.parametrize(("name", "params"), CASES)
def test_spikes_and_gradient_follow_the_table(name, params):
    function, _, _, derivative = TABLE[name]
    module = getattr(surrogate, name)(*params)
    for call in (module, lambda x: getattr(surrogate, function)(x, *params)):
        x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
        y = call(x)
        assert y.tolist() == [float(p >= 0) for p in POINTS]
        y.backward(torch.full_like(y, 1.7))
        expected = torch.tensor([1.7 * derivative(p, *params) for p in POINTS], dtype=torch.float64)
        torch.testing.assert_close(x.grad, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(("name", "params"), CASES)
def test_primitive_follows_the_table_and_its_slope_is_the_gradient(name, params):
    _, _, primitive, _ = TABLE[name]
    if primitive is None:
        with pytest.raises(ValueError, match=rf"`spiking` \(=False\) of {name} must be True"):
            getattr(surrogate, name)(*params, spiking=False)
        return
    module = getattr(surrogate, name)(*params, spiking=False)
    x = torch.tensor([p for p in POINTS if p != 0], dtype=torch.float64, requires_grad=True)
    y = module(x)
    expected = torch.tensor([primitive(p, *params) for p in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(y, expected, rtol=1e-13, atol=1e-15)
    y.sum().backward()
    h = 1e-6
    with torch.no_grad():
        slope = (module(x + h) - module(x - h)) / (2 * h)
    torch.testing.assert_close(x.grad, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", TABLE)
def test_every_dtype_is_kept(name, dtype):
    derivative = TABLE[name][3]
    module = getattr(surrogate, name)()
    x = torch.tensor([-0.5, 0.0, 0.25, 2.0], dtype=dtype, requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    expected = torch.tensor([derivative(p, *module.params()) for p in x.tolist()])
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(x.grad.float(), expected, rtol=8 * eps, atol=8 * eps)


@given(
    name=st.sampled_from(sorted(TABLE)),
    shape=st.lists(st.integers(0, 4), max_size=4),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_and_layout(name, shape, seed):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x.movedim(0, -1) if x.dim() > 1 else x
    x.requires_grad_()
    y = getattr(surrogate, name)()(x)
    assert torch.equal(y, (x >= 0).double())
    (grad,) = torch.autograd.grad(y.sum(), x)
    flat = [TABLE[name][3](p, *TABLE[name][1][0]) for p in x.flatten().tolist()]
    torch.testing.assert_close(grad.flatten(), torch.tensor(flat, dtype=torch.float64))


def test_signed_zero_fires_and_nan_does_not():
    x = torch.tensor([-0.0, float("nan"), float("inf"), -float("inf")])
    assert surrogate.Sigmoid()(x).tolist() == [1.0, 0.0, 1.0, 0.0]


def test_torch_func_and_double_backward():
    module = surrogate.Sigmoid(2.0)
    x = torch.tensor([-0.3, 0.4], dtype=torch.float64)
    per_element = torch.func.vmap(torch.func.grad(lambda v: module(v)))(x)
    expected = [2 * sigma(2 * p) * (1 - sigma(2 * p)) for p in x.tolist()]
    torch.testing.assert_close(per_element, torch.tensor(expected, dtype=torch.float64))
    x.requires_grad_()
    (g,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
    (gg,) = torch.autograd.grad(g.sum(), x)
    s = torch.sigmoid(2 * x.detach())
    torch.testing.assert_close(gg, 4 * s * (1 - s) * (1 - 2 * s))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("ATan", (0.0,), r"`alpha` \(=0.0\) must be greater than 0\."),
        ("Sigmoid", (-1,), r"`alpha` \(=-1\) must be greater than 0\."),
        ("QPseudoSpike", (1.0,), r"`alpha` \(=1.0\) must be greater than 1\."),
        ("PiecewiseLeakyReLU", (0.0, 0.1), r"`w` \(=0.0\)"),
        ("PiecewiseLeakyReLU", (1.0, -0.1), r"`c` \(=-0.1\) must be at least 0\."),
        ("SquarewaveFourierSeries", (0, 8.0), r"`n` \(=0\) must be a positive integer\."),
        ("SquarewaveFourierSeries", (1.5, 8.0), r"`n` \(=1.5\) must be a positive integer\."),
        ("SquarewaveFourierSeries", (2, 0.0), r"`T_period` \(=0.0\)"),
        ("S2NN", (4.0, 0.0), r"`beta` \(=0.0\)"),
        ("LogTailedReLU", (-0.5,), r"`alpha` \(=-0.5\) must be at least 0\."),
    ],
)
def test_bad_parameters_are_named(name, params, message):
    with pytest.raises(ValueError, match=message):
        getattr(surrogate, name)(*params)
    with pytest.raises(ValueError, match=message):
        getattr(surrogate, TABLE[name][0])(torch.zeros(1), *params)


def test_settings_are_printed_and_not_in_the_state_dict():
    assert repr(surrogate.S2NN(3.0, 2.0)) == "S2NN(alpha=3.0, beta=2.0, spiking=True)"
    assert surrogate.S2NN().state_dict() == {}
