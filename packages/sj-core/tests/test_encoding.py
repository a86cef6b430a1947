import copy
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sj_core import encoding

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", FLOATS)
def test_poisson_rate_is_x_within_five_standard_errors(dtype):
    torch.manual_seed(0)
    x = torch.tensor([0.0, 0.01, 0.3, 0.9, 1.0], dtype=dtype).expand(20000, 5)
    spikes = encoding.PoissonEncoder(step_mode="m")(x)
    assert spikes.dtype == dtype
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    p = x[0].double()
    error = (spikes.double().mean(0) - p).abs()
    assert (error <= 5 * (p * (1 - p) / 20000).sqrt()).all()


def test_poisson_follows_the_global_seed_and_refuses_integers():
    x = torch.rand(3, 4)
    torch.manual_seed(1)
    a = encoding.PoissonEncoder()(x)
    torch.manual_seed(1)
    assert torch.equal(a, encoding.PoissonEncoder()(x))
    with pytest.raises(TypeError, match=r"`x` \(dtype torch.int64\).*x.float\(\)"):
        encoding.PoissonEncoder()(torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="PoissonEncoder"):
        encoding.PoissonEncoder(step_mode="x")


@pytest.mark.parametrize("T", [1, 2, 7, 200])
@pytest.mark.parametrize("form", ["linear", "log"])
def test_latency_spikes_once_at_the_rounded_time(T, form):
    values = [0.0, 1e-6, 0.1, 0.25, 0.77, 0.999, 1.0]
    train = encoding.LatencyEncoder(T, form).encode(torch.tensor(values, dtype=torch.float64))
    assert train.shape == (T, len(values))
    assert (train.sum(0) == 1).all()
    for i, x in enumerate(values):
        if form == "linear":
            t_f = (T - 1) * (1 - x)
        else:
            t_f = (T - 1) - math.log((math.exp(T - 1) - 1) * x + 1)
        assert abs(int(train[:, i].argmax()) - t_f) <= 0.5 + 1e-6


def test_latency_train_repeats_after_its_last_step_and_starts_anew_after_reset():
    encoder = encoding.LatencyEncoder(3)
    x = torch.tensor([[0.0, 1.0]])
    train = encoder.encode(x)
    assert encoder.spike is None
    steps = torch.stack([encoder(x) for _ in range(7)])
    assert torch.equal(steps, train[[0, 1, 2, 0, 1, 2, 0]])
    encoder.reset()
    assert torch.equal(encoder(1 - x), encoder.encode(1 - x)[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoding.LatencyEncoder(4),
        lambda: encoding.WeightedPhaseEncoder(5),
        lambda: encoding.PopulationEncoder(4, 3),
        lambda: encoding.PeriodicEncoder(torch.eye(3)[:, :, None].expand(3, 3, 2)),
        lambda: encoding.DeltaEncoder(0.2, off_spike=True),
    ],
)
def test_both_step_modes_give_the_same_and_survive_copying(make):
    torch.manual_seed(0)
    x_seq = torch.rand(6, 3, 2) * 0.9
    single, multi = make(), make()
    multi.step_mode = "m"
    by_step = torch.stack([single(x) for x in x_seq[:4]])
    twin = copy.deepcopy(single)
    by_step = torch.cat([by_step, torch.stack([twin(x) for x in x_seq[4:]])])
    assert torch.equal(by_step, multi(x_seq))
    assert multi(x_seq[:0]).shape == (0, *by_step.shape[1:])
    assert not multi.state_dict()


@given(st.integers(1, 12), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_weighted_phase_digits_sum_to_x(K, seed):
    x = torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x * (1 - 2.0**-K)
    spikes = encoding.WeightedPhaseEncoder(K).encode(x)
    weights = torch.tensor([2.0 ** -(k + 1) for k in range(K)], dtype=torch.float64)
    value = (spikes * weights[:, None]).sum(0)
    assert (value <= x).all()
    assert (x - value < 2.0**-K).all()


def test_population_responses_are_the_gaussians_of_the_paper():
    encoder = encoding.PopulationEncoder(T=11, n=6, x_min=-1.0, x_max=3.0, beta=2.0, r_min=0.2)
    x = torch.tensor([[-1.0, 0.0], [2.9, 1.0]], dtype=torch.float64)
    train = encoder.encode(x)
    assert train.shape == (11, 2, 2, 6)
    for index in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        for i in range(1, 7):
            mu = -1.0 + (2 * i - 3) / 2 * 4.0 / 4
            r = math.exp(-((float(x[index]) - mu) ** 2) / (2 * (4.0 / 4 / 2.0) ** 2))
            column = train[(slice(None), *index, i - 1)]
            if r < 0.2:
                assert column.sum() == 0
            else:
                assert column.sum() == 1
                assert int(column.argmax()) == round(10 * (1 - r))


def test_periodic_replays_and_expands():
    spike = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    encoder = encoding.PeriodicEncoder(spike)
    assert torch.equal(torch.stack([encoder() for _ in range(3)]), spike[[0, 1, 0]])
    encoder.reset()
    assert torch.equal(encoder(torch.zeros(3, 2)), spike[0].expand(3, 2))
    with pytest.raises(ValueError, match=r"`x` \(shape \(3, 5\)\).*\(2,\)"):
        encoder.encode(torch.zeros(3, 5))
    assert encoder.double().encode().dtype == torch.float64


def test_delta_marks_changes_by_hand():
    signal = torch.tensor([0.25, 0.5, 0.5, 0.0, -0.25, 1.0])
    on = encoding.DeltaEncoder(0.25).encode(signal)
    assert on.tolist() == [1, 1, 0, 0, 0, 1]
    both = encoding.DeltaEncoder(0.25, off_spike=True, padding=True).encode(signal)
    assert both.tolist() == [0, 1, 0, -1, -1, 1]
    encoder = encoding.DeltaEncoder(0.25, step_mode="m")
    encoder(torch.zeros(2, 3))
    with pytest.raises(RuntimeError, match=r"\(4,\).*\(3,\).*reset_net"):
        encoder(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: encoding.LatencyEncoder(0), r"`T` \(=0\) must be at least 1\."),
        (lambda: encoding.LatencyEncoder(4, "exp"), r"`enc_function` \(='exp'\)"),
        (lambda: encoding.LatencyEncoder(4).encode(torch.tensor([1.5])), "from 1.5 to 1.5"),
        (lambda: encoding.LatencyEncoder(4).encode(torch.tensor([math.nan])), "between 0 and 1"),
        (lambda: encoding.WeightedPhaseEncoder(3).encode(torch.tensor([0.9])), r"1 - 2\^-3"),
        (lambda: encoding.PopulationEncoder(4, 2), r"`n` \(=2\) must be at least 3"),
        (lambda: encoding.PopulationEncoder(4, 5, 1.0, 1.0), "`x_max`"),
        (lambda: encoding.PopulationEncoder(4, 5, beta=0.0), "`beta`"),
        (lambda: encoding.PeriodicEncoder(torch.zeros(0, 3)), "at least one step"),
        (lambda: encoding.DeltaEncoder(0.0), r"`threshold` \(=0.0\)"),
    ],
)
def test_bad_values_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_first_call_without_input_says_so():
    with pytest.raises(RuntimeError, match="first call after a reset"):
        encoding.LatencyEncoder(4)()
