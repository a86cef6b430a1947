"""NeuNorm against its equation written out in float64."""

import pytest
import torch

from sj_core import functional, layer


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("k", [0.0, 0.9])
def test_it_is_the_equation(step_mode, shared, k):
    torch.manual_seed(0)
    c, h, w = 3, 4, 2
    module = layer.NeuNorm(c, h, w, k, shared, step_mode).double()
    assert module.w.shape == (1 if shared else c, h, w)
    x = (torch.rand(5, 2, c, h, w) < 0.5).double()
    y = module(x) if step_mode == "m" else torch.stack([module(step) for step in x])
    u = torch.zeros(2, h, w, dtype=torch.float64)
    v = (1 - k) / c  # k + v F = 1
    for t in range(5):
        u = k * u + v / c * sum(x[t, :, f] for f in range(c))
        for f in range(c):
            expected = x[t, :, f] - module.w[0 if shared else f] * u
            torch.testing.assert_close(y[t, :, f], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_a_float32_state_and_its_dtype(dtype):
    module = layer.NeuNorm(2, 3, 3)
    x = torch.ones(4, 2, 3, 3, dtype=dtype)
    assert module(x).dtype == dtype
    assert module.u.dtype == torch.float32
    assert module.u.shape == (4, 1, 3, 3)


def test_constant_spikes_approach_one_over_the_channels():
    # u -> (v / F) F / (1 - k) = 1 / F for spikes in every channel
    module = layer.NeuNorm(4, 1, 1, k=0.5, step_mode="m")
    module(torch.ones(60, 1, 4, 1, 1))
    assert module.u.item() == pytest.approx(0.25)


def test_bad_arguments_and_shapes():
    for k in (-0.1, 1.0):
        with pytest.raises(ValueError, match="`k`"):
            layer.NeuNorm(2, 3, 3, k=k)
    with pytest.raises(ValueError, match="`height`"):
        layer.NeuNorm(2, 0, 3)
    module = layer.NeuNorm(2, 3, 4)
    with pytest.raises(ValueError, match=r"\[5, 2, 4, 3\].*takes \[N, 2, 3, 4\]"):
        module(torch.zeros(5, 2, 4, 3))
    module(torch.zeros(5, 2, 3, 4))
    with pytest.raises(RuntimeError, match="reset_net"):
        module(torch.zeros(1, 2, 3, 4))
    functional.reset_net(module)
    module.step_mode = "m"
    assert module(torch.zeros(0, 5, 2, 3, 4)).shape == (0, 5, 2, 3, 4)
    assert module.u == 0.0
