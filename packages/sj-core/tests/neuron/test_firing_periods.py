"""A constant input: neurons fire with the period, and the rate, that a closed form gives."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sj_core import neuron


@pytest.mark.parametrize("x", [0.04, 0.11, 0.3, 0.5, 0.99, 1.0])
def test_if_fires_with_its_closed_form_period(x):
    spikes = neuron.IFNode(step_mode="m")(torch.full((200, 1), x, dtype=torch.float64)).flatten()
    times = spikes.nonzero().flatten() + 1
    period = math.ceil(1.0 / x - 1e-9)
    assert times.tolist() == list(range(period, 201, period))


@pytest.mark.parametrize("tau", [1.5, 2.0, 10.0, 50.0])
@pytest.mark.parametrize("x", [1.05, 1.3, 2.0, 7.0])
def test_lif_fires_with_its_closed_form_period(tau, x):
    # From 0, H[t] = x (1 - (1 - 1/tau)^t): the first t with H >= 1 is the period.
    period = max(1, math.ceil(math.log(1 - 1 / x) / math.log(1 - 1 / tau) - 1e-9))
    steps = 3 * period + 1
    spikes = neuron.LIFNode(tau, step_mode="m")(torch.full((steps, 1), x, dtype=torch.float64))
    assert (spikes.flatten().nonzero().flatten() + 1).tolist() == list(
        range(period, steps + 1, period)
    )


def test_lif_below_threshold_never_fires():
    spikes = neuron.LIFNode(4.0, step_mode="m")(torch.full((500, 1), 0.999))
    assert spikes.sum() == 0


@given(x=st.floats(0.0, 1.0), T=st.integers(1, 40), v_threshold=st.floats(0.3, 3.0))
@settings(max_examples=60, deadline=None)
def test_half_threshold_if_rounds_the_rate(x, T, v_threshold):
    total = T * x + 0.5
    if abs(total - round(total)) < 1e-6:
        return
    node = neuron.HalfThresholdIFNode(v_threshold, step_mode="m")
    spikes = node(torch.full((T, 1), x * v_threshold, dtype=torch.float64))
    assert spikes.sum() == math.floor(total)
