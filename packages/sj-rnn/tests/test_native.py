"""Which plans and tensors the kernels of sj-kernels serve, and that they are asked."""

import pytest
import torch

from sj_core import backend, surrogate
from sj_rnn import SpikingLSTM, SpikingLSTMCell, SpikingVanillaRNN
from sj_rnn.native import kernel_of, sequence_kernel_of
from sj_rnn.plan import plan_of

X = torch.zeros(2, 3, 4)
H = torch.zeros(3, 8)


def plan(*args, **kwargs):
    return plan_of(SpikingLSTMCell(4, 8, True, *args, **kwargs), X, reverse=False)


def test_without_the_package_torch_runs(monkeypatch):
    monkeypatch.setattr(backend, "kernels", lambda: None)
    assert kernel_of(plan(), X) is None
    assert sequence_kernel_of(plan(), X, H) is None
    assert SpikingLSTM(4, 8, 1)(X)[0].shape == (2, 3, 8)


@pytest.fixture
def kernels():
    module = backend.kernels()
    if module is None:
        pytest.skip("sj-kernels is not installed")
    return module


@pytest.mark.usefixtures("kernels")
def test_what_the_kernels_serve():
    class Own(surrogate.Erf):
        @staticmethod
        def derivative(x, alpha):
            return torch.ones_like(x)

    for served in (X, X.double(), X.half(), X.bfloat16()):
        assert kernel_of(plan(), served) is not None
    assert kernel_of(plan(surrogate.ATan(), surrogate.S2NN()), X) is not None
    assert kernel_of(plan(surrogate.Sigmoid(spiking=False)), X) is None
    assert kernel_of(plan(Own()), X) is None
    assert kernel_of(plan(), X.to("meta")) is None


@pytest.mark.usefixtures("kernels")
def test_when_a_whole_sequence_is_one_call(monkeypatch):
    assert sequence_kernel_of(plan(), X, H) is not None
    assert sequence_kernel_of(plan(), X.half(), H.half()) is None
    both = plan()._replace(reverse=(False, True))
    assert sequence_kernel_of(both, X, H) is None
    # Few rows for many threads: the products of the library spread better.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert sequence_kernel_of(plan(), X, torch.zeros(3, 2048)) is None
    assert sequence_kernel_of(plan(), X, H) is not None


def test_a_network_calls_the_sequence_kernel(kernels, monkeypatch):
    calls = []
    original = kernels.rnn.Cell.sequence_forward

    def counted(self, *args):
        calls.append(self.kind)
        return original(self, *args)

    monkeypatch.setattr(kernels.rnn.Cell, "sequence_forward", counted)
    SpikingVanillaRNN(4, 8, 2, bidirectional=True)(X)
    assert calls == ["vanilla"] * 4
