"""The plots hold what they were given; how they look is judged by eye in the example."""

import subprocess
import sys

import pytest
import torch

from sj_core import plot, surrogate

matplotlib = pytest.importorskip("matplotlib", reason="the plots need the extra `plot`")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_raster_has_a_tick_for_every_spike():
    torch.manual_seed(0)
    spikes = (torch.rand(12, 5) < 0.4).half()
    ax = plot.spike_raster(spikes)
    ticks = {
        (round(float(segment[0][0])), i)
        for i, collection in enumerate(ax.collections)
        for segment in collection.get_segments()
    }
    assert ticks == {(t, i) for t, i in spikes.nonzero().tolist()}
    assert len(ax.collections) == 5


def test_membrane_draws_voltage_threshold_and_spikes_on_the_given_axes():
    import matplotlib.pyplot as plt

    ax = plt.subplots()[1]
    v = torch.tensor([0.1, 0.7, 0.0, 0.4], requires_grad=True)
    spikes = torch.tensor([0.0, 0.0, 1.0, 0.0])
    assert plot.membrane(v, 0.9, spikes, v_reset=0.0, ax=ax) is ax
    assert ax.lines[0].get_ydata() == pytest.approx([0.1, 0.7, 0.0, 0.4])
    assert list(ax.lines[1].get_ydata()) == [0.9, 0.9]
    (segment,) = ax.collections[0].get_segments()
    assert segment[0][0] == 2


def test_heatmap_is_the_mean_over_time():
    spikes = torch.zeros(4, 2, 3)
    spikes[:3, 1, 2] = 1
    assert plot.firing_rate_heatmap(spikes).images[0].get_array().tolist() == [
        [0, 0, 0],
        [0, 0, 0.75],
    ]
    flat = plot.firing_rate_heatmap(spikes.view(4, 6)[:, :5]).images[0].get_array()
    assert flat.shape == (2, 3)


@pytest.mark.parametrize("name", ["ATan", "SuperSpike"])
def test_surrogate_draws_primitive_and_gradient(name):
    function = getattr(surrogate, name)()
    ax = plot.surrogate(function, low=-1, high=1)
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == {"spike", "gradient"} | ({"primitive"} if name == "ATan" else set())
    middle = lines["gradient"].get_ydata()[500]
    assert middle == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot.spike_raster(torch.zeros(3)), ValueError, r"`spikes` \(shape \(3,\)\)"),
        (lambda: plot.spike_raster([[1]]), TypeError, r"`spikes` \(list\)"),
        (lambda: plot.membrane(torch.zeros(3, 2)), ValueError, r"`v_seq`"),
        (
            lambda: plot.membrane(torch.zeros(3), spikes=torch.zeros(2)),
            ValueError,
            r"`spikes` \(of 2 steps\)",
        ),
        (lambda: plot.firing_rate_heatmap(torch.zeros(0, 2, 2)), ValueError, r"`spikes`"),
        (lambda: plot.surrogate(torch.relu), TypeError, r"`function`"),
        (lambda: plot.surrogate(surrogate.ATan(), low=1, high=0), ValueError, r"`low` \(=1\)"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_missing_matplotlib_names_the_extra():
    code = """
import sys
sys.modules["matplotlib"] = sys.modules["matplotlib.pyplot"] = None
import torch
from sj_core import plot
try:
    plot.spike_raster(torch.ones(2, 2))
except ImportError as error:
    assert 'pip install "sj-core[plot]"' in str(error), error
    assert error.__cause__ is not None
    print("named")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "named" in done.stdout


@pytest.mark.parametrize("value", ["1", torch.ones(2)])
def test_a_threshold_that_is_no_number_is_named(value):
    with pytest.raises(TypeError, match=r"`v_threshold` \(=.*\) must be a number\."):
        plot.membrane(torch.rand(5), value)
    with pytest.raises(TypeError, match=r"`low` \(=.*\) must be a number\."):
        plot.surrogate(surrogate.ATan(), low=value)


def test_a_threshold_of_one_element_is_drawn_as_a_number():
    ax = plot.membrane(torch.rand(5), torch.tensor([0.75]))
    assert 0.75 in [line.get_ydata()[0] for line in ax.lines]
