"""Accuracy over time against a count by hand, and the bars on trained digit classifiers."""

import pytest
import torch
from convert_zoo import ZOO, accuracy, digits, mean_output, train
from torch import nn

from sj_convert import Converter, accuracy_over_time, plot
from sj_core import functional, neuron


@pytest.fixture(scope="module")
def trained():
    cache = {}

    def get(name):
        if name not in cache:
            cache[name] = train(ZOO[name], seed=0)
        return cache[name]

    return get


@pytest.fixture
def small():
    """A spiking net whose answer changes with t, its data, and the accuracies counted by hand."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), neuron.IFNode(), nn.Linear(4, 3))
    x, y = torch.randn(40, 5) * 2, torch.randint(3, (40,))
    expected = []
    with torch.no_grad():
        total = torch.zeros(40, 3)
        for _ in range(9):
            total += net(x)
            hits = sum(int(total[i].argmax() == y[i]) for i in range(40))
            expected.append(hits / 40)
    functional.reset_net(net)
    assert len(set(expected)) > 1
    return net, x, y, expected


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("form", ["tuple", "list", "dict", "uneven"])
def test_counts_by_hand(small, mode, form):
    net, x, y, expected = small
    functional.set_step_mode(net, mode)
    net.train()
    net[0].eval()
    loaders = {
        "tuple": [(x, y)],
        "list": [[x[:20], y[:20]], [x[20:], y[20:]]],
        "dict": [{"image": x, "label": y}],
        "uneven": [(x[:33], y[:33]), (x[33:], y[33:])],
    }
    net(x if mode == "s" else x.expand(2, *x.shape))  # a state that must not count
    assert accuracy_over_time(net, loaders[form], 9) == pytest.approx(expected, abs=1e-12)
    assert net[1].v == 0.0
    assert [m.training for m in net] == [False, True, True]


def test_bad_arguments(small):
    net, x, y, _ = small
    with pytest.raises(ValueError, match="`T`"):
        accuracy_over_time(net, [(x, y)], 0)
    with pytest.raises(ValueError, match="`loader` gave no batch"):
        accuracy_over_time(net, [], 3)
    with pytest.raises(TypeError, match="without labels"):
        accuracy_over_time(net, [x], 3)
    with pytest.raises(ValueError, match="`accuracy`"):
        plot([])


def test_plot(tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="needs the extra sj-convert[plot]")
    matplotlib.use("agg")
    axes = plot([0.1, 0.5, 0.9], 0.95, label="recommended", title="digits")
    curve, line = axes.get_lines()
    assert curve.get_xdata().tolist() == [1, 2, 3]
    assert curve.get_ydata().tolist() == pytest.approx([10, 50, 90])
    assert set(line.get_ydata()) == {95.0}
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["recommended", "ANN (95.00 %)"]
    assert plot([0.3], ax=axes) is axes
    axes.figure.savefig(tmp_path / "figure.png")
    matplotlib.pyplot.close(axes.figure)


@pytest.mark.parametrize("name", ["vgg-avg", "vgg-max", "mlp"])
def test_recommended_loses_almost_nothing(trained, name):
    ann = trained(name)
    x, _, x_test, y_test = digits(0)
    loader = [x[i : i + 256] for i in range(0, len(x), 256)]
    with torch.no_grad():
        reference = accuracy(ann(x_test), y_test)
    assert reference > 97
    for T, points in ((4, 2.0), (8, 0.45), (16, 0.45)):  # one seed: two of 450 digits
        snn = Converter.recommended(loader, T)(ann)
        functional.set_step_mode(snn, "m")
        reached = 100 * accuracy_over_time(snn, [(x_test, y_test)], T)[-1]
        assert reached >= reference - points, (name, T)


def test_percentile_mode_needs_many_steps(trained):
    ann = trained("vgg-avg")
    x, _, x_test, y_test = digits(0)
    snn = Converter([x], mode="99.9%")(ann)
    over_time = accuracy_over_time(snn, [(x_test, y_test)], 48)
    assert over_time[3] < 0.6
    assert over_time[-1] > 0.97


def test_pooling_the_sum_beats_pooling_the_spikes(trained):
    ann = trained("vgg-max")
    x, _, x_test, y_test = digits(0)
    reached = {}
    for form in ("running", "gate", "spikes"):
        snn = Converter.recommended([x], 4, max_pool=form, bias_correction=False)(ann)
        reached[form] = accuracy_over_time(snn, [(x_test, y_test)], 4)[-1]
    assert reached["running"] >= max(reached["gate"], reached["spikes"])


def test_bias_correction_holds_back_what_arrives_unevenly(trained):
    # Depthwise convolutions: few inputs for each neuron, which therefore come unevenly.
    ann = trained("mobilenet")
    x, _, x_test, _ = digits(0)
    with torch.no_grad():
        expected = ann(x_test)
    error = {}
    for corrected in (False, True):
        loader = [x[i : i + 256] for i in range(0, len(x), 256)]
        snn = Converter.recommended(loader, 8, bias_correction=corrected)(ann)
        squares = (mean_output(snn, x_test, 8) - expected).square().mean()
        error[corrected] = (squares / expected.var(0).mean()).item()
    # Measured: 0.61 of it is left; shifts of the mean alone leave 0.98.
    assert error[True] < 0.8 * error[False], error
