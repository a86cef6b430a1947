"""The step functions against numbers worked out by hand."""

import pytest
import torch

from sj_core import surrogate
from sj_rnn.step import gru_step, lstm_step, vanilla_step

SPIKE = surrogate.Erf()


def test_lstm_step_by_hand():
    # One unit, five rows: i, f, g, o on and off; a zero pre-activation fires.
    pre = torch.tensor(
        [
            [1.0, 1, 1, 1],
            [1.0, -1, 1, 1],
            [-1.0, 1, 1, 1],
            [0.0, 0, 0, 0],
            [1.0, 1, 1, -1],
        ]
    )
    c = torch.tensor([[2.0]] * 5)
    h_next, c_next = lstm_step(pre, c, SPIKE, SPIKE, None)
    assert c_next.flatten().tolist() == [3, 1, 2, 3, 3]
    assert h_next.flatten().tolist() == [3, 1, 2, 3, 0]


def test_lstm_clamp_bounds_the_state_and_passes_the_gradient():
    pre = torch.ones(1, 4)
    c = torch.tensor([[0.5]], requires_grad=True)
    h_next, c_next = lstm_step(pre, c, SPIKE, SPIKE, 1.0)
    assert c_next.item() == 1
    assert h_next.item() == 1
    c_next.backward()
    assert c.grad.item() == 1  # f = 1, as if not clamped


def test_gru_step_by_hand():
    # r off: the state's part of n is not seen; z on keeps h; z off takes n.
    pre_x = torch.tensor([[-1.0, -1, 1], [-1.0, 1, 1], [1.0, -1, 1], [-1.0, -1, 1]])
    pre_h = torch.tensor([[0.0, 0, 0], [0.0, 0, 0], [0.0, 0, -5], [0.0, 0, -5]])
    h = torch.tensor([[0.25]] * 4)
    assert gru_step(pre_x, pre_h, h, SPIKE, SPIKE).flatten().tolist() == [1, 0.25, 0, 1]


def test_vanilla_step_fires_at_zero():
    pre = torch.tensor([[-1e-6, 0.0, 1e-6]])
    assert vanilla_step(pre, SPIKE).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_steps_keep_the_dtype(dtype):
    pre, c = torch.randn(3, 8).to(dtype), torch.randn(3, 2).to(dtype)
    for out in lstm_step(pre, c, SPIKE, SPIKE, None):
        assert out.dtype == dtype
    assert gru_step(pre[:, :6], pre[:, 2:], c, SPIKE, SPIKE).dtype == dtype
    assert vanilla_step(pre, SPIKE).dtype == dtype


def test_half_precision_is_computed_in_float32():
    smooth = surrogate.Sigmoid(spiking=False)
    pre = torch.randn(64, 8, dtype=torch.float64).bfloat16()
    c = torch.randn(64, 2).bfloat16()
    _, got = lstm_step(pre, c, smooth, smooth, None)
    _, exact = lstm_step(pre.double(), c.double(), smooth, smooth, None)
    # One rounding of the result and no more: half a unit in the last place of 8 bits.
    torch.testing.assert_close(got.double(), exact, rtol=2**-8, atol=1e-6)
    assert (got.double() - exact.bfloat16().double()).abs().max() <= 2**-8 * exact.abs().max()
