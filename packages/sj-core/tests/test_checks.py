"""Numbers as users give them: Python's and NumPy's are taken, the rest is refused by name."""

import fractions
import math

import pytest
import torch

from sj_core import encoding, layer, neuron, surrogate
from sj_core._checks import as_count, as_float, as_fraction, as_positive, as_tau, is_number


def test_a_bool_is_no_number_and_a_fraction_is_one():
    assert is_number(2)
    assert is_number(fractions.Fraction(3, 2))
    assert not is_number(True)
    assert not is_number("2")
    assert as_float("x", fractions.Fraction(3, 2)) == 1.5


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (as_float, math.nan, r"`x` \(=nan\) must be a number, not nan\."),
        (as_tau, 1, r"`x` \(=1\) must be greater than 1\."),
        (as_tau, math.nan, r"`x` \(=nan\) must be greater than 1\."),
        (as_positive, 0, r"`x` \(=0\) must be greater than 0\."),
        (as_fraction, 1.5, r"`x` \(=1\.5\) must be in \[0, 1\]\."),
        (as_count, 0, r"`x` \(=0\) must be at least 1\."),
    ],
)
def test_a_value_out_of_range_is_named_with_its_rule(check, value, message):
    with pytest.raises(ValueError, match=message):
        check("x", value)


@pytest.mark.parametrize("check", [as_float, as_tau, as_positive, as_fraction, as_count])
@pytest.mark.parametrize("value", [True, "2", None, [1.0]])
def test_another_type_is_refused(check, value):
    with pytest.raises(TypeError, match=r"`x` \(=.*\) must be an? (number|integer)\."):
        check("x", value)


def test_numbers_of_numpy_are_taken_as_those_of_python():
    numpy = pytest.importorskip("numpy", reason="optional: no package here needs it")
    node = neuron.LIFNode(tau=numpy.float32(4.0), v_threshold=numpy.int64(2))
    assert (node.tau, node.v_threshold) == (4.0, 2.0)
    assert type(node.tau) is type(node.v_threshold) is float
    assert type(surrogate.ATan(numpy.float32(3.0)).alpha) is float
    assert type(neuron.PSN(T=numpy.int64(3)).T) is int


@pytest.mark.parametrize("value", ["max", "False", None, 2, 0.5])
@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("decay_input", lambda v: neuron.NonSpikingLIFNode(2.0, v)),
        ("detach_reset", lambda v: neuron.IFNode(detach_reset=v)),
        ("store_v_seq", lambda v: neuron.IFNode(store_v_seq=v)),
        ("scale_reset", neuron.KLIFNode),
        ("threshold_related", lambda v: neuron.LIAFNode(torch.relu, v)),
        ("exp_init", lambda v: neuron.SlidingPSN(3, v)),
        ("spiking", lambda v: surrogate.ATan(2.0, v)),
        ("learnable", lambda v: layer.SynapseFilter(2.0, v)),
        ("invariant", lambda v: layer.DropConnectLinear(3, 2, invariant=v)),
        ("off_spike", lambda v: encoding.DeltaEncoder(0.1, v)),
    ],
)
def test_a_flag_is_true_or_false(name, build, value):
    with pytest.raises(TypeError, match=rf"^`{name}` \(={value!r}\) must be True or False\.$"):
        build(value)
    assert build(True).training
    assert build(0).training
