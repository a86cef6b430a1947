"""A surrogate as data: value and derivative against the table, and what is no plain surrogate."""

import pytest
import torch
from torch import nn

from sj_core import surrogate
from sj_rnn.gate import Gate, globally_hooked, hooked


@pytest.mark.parametrize("name", ["Erf", "ATan", "S2NN", "SquarewaveFourierSeries", "SuperSpike"])
def test_value_and_derivative(name, oracle):
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    gate = Gate.of(getattr(surrogate, name)())
    assert gate.name == name
    assert torch.equal(gate.value(x), (x >= 0).double())
    torch.testing.assert_close(gate.derivative(x), oracle.derivatives[name](x))
    again = Gate.named(name, list(gate.params), True)
    assert again.same(gate)
    torch.testing.assert_close(again.derivative(x), gate.derivative(x))


def test_smooth_value():
    gate = Gate.of(surrogate.Sigmoid(3.0, spiking=False))
    x = torch.randn(9)
    torch.testing.assert_close(gate.value(x), 1 / (1 + torch.exp(-3 * x)))
    assert not gate.same(Gate.of(surrogate.Sigmoid(3.0)))
    assert not gate.same(Gate.of(surrogate.Sigmoid(2.0, spiking=False)))


def test_what_has_no_gate():
    class Own(surrogate.Erf):
        def forward(self, x):
            return 2 * super().forward(x)

    watched = surrogate.Erf()
    watched.register_forward_hook(lambda *args: None)
    assert hooked(watched)
    for other in (torch.tanh, nn.Tanh(), Own(), watched):
        assert Gate.of(other) is None


def test_a_surrogate_of_one_s_own_has_a_gate_without_a_name():
    class Half(surrogate.Erf):
        @staticmethod
        def derivative(x, alpha):
            return torch.full_like(x, 0.5)

    gate = Gate.of(Half())
    assert gate.name is None
    assert gate.derivative(torch.zeros(1)).item() == 0.5


def test_global_hooks_are_seen():
    assert not globally_hooked()
    handle = nn.modules.module.register_module_forward_hook(lambda *args: None)
    assert globally_hooked()
    handle.remove()
    assert not globally_hooked()
