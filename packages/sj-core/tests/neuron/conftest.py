"""Every neuron, in settings that make it fire on inputs from -0.3 to 3."""

import sys
from pathlib import Path

import pytest
import torch

from sj_core import neuron

# `neuron_settings` is shared by these tests.
sys.path.insert(0, str(Path(__file__).parent))

T = 6


class OwnNode(neuron.BaseNode):
    """What a user writes: the charge."""

    def neuronal_charge(self, x):
        return 0.9 * self.v + x


class OlderNode(neuron.BaseNode):
    """A charge that sets `self.v`, as older code does."""

    def neuronal_charge(self, x):
        self.v = self.v + x * 0.5


def masked(**common):
    return neuron.MaskedPSN(3, T, lambda_init=1.0, **common)


BOTH_MODES = {
    "IF": neuron.IFNode,
    "LIF": neuron.LIFNode,
    "LIF-soft": lambda **k: neuron.LIFNode(3.0, False, v_reset=None, **k),
    "LIF-detach": lambda **k: neuron.LIFNode(1.5, v_reset=-0.2, detach_reset=True, **k),
    "PLIF": neuron.ParametricLIFNode,
    "QIF": neuron.QIFNode,
    "EIF": neuron.EIFNode,
    "Izhikevich": lambda **k: neuron.IzhikevichNode(a=0.2, b=0.3, **k),
    "AdaptiveLIF": neuron.AdaptiveLIFNode,
    "KLIF": lambda **k: neuron.KLIFNode(scale_reset=True, **k),
    "CUBALIF": neuron.CUBALIFNode,
    "LIAF": lambda **k: neuron.LIAFNode(torch.tanh, True, **k),
    "HalfThresholdIF": neuron.HalfThresholdIFNode,
    "NonSpikingIF": lambda **k: neuron.NonSpikingIFNode(decode=None, **k),
    "NonSpikingLIF": lambda **k: neuron.NonSpikingLIFNode(decode=None, **k),
    "MaskedPSN": masked,
    "SlidingPSN": lambda **k: neuron.SlidingPSN(3, **k),
    "Own": OwnNode,
    "Older": OlderNode,
}
MULTI_ONLY = {
    "GatedLIF": lambda **k: neuron.GatedLIFNode(T, **k),
    "PSN": lambda **k: neuron.PSN(T, **k),
    "MaskedPSN-0": lambda **k: neuron.MaskedPSN(3, T, **k),
}


def pytest_generate_tests(metafunc):
    if "both_modes" in metafunc.fixturenames:
        metafunc.parametrize("both_modes", BOTH_MODES.values(), ids=BOTH_MODES.keys())
    if "any_node" in metafunc.fixturenames:
        nodes = {**BOTH_MODES, **MULTI_ONLY}
        metafunc.parametrize("any_node", nodes.values(), ids=nodes.keys())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
