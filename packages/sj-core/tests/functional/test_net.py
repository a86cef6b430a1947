"""Functions that act on every module of a net."""

import copy

import pytest
import torch
from torch import nn

from sj_core import base, functional, layer, neuron, surrogate


class Counter(base.MemoryModule):
    def __init__(self):
        super().__init__()
        self.register_memory("seen", [])

    def single_step_forward(self, x):
        self.seen = [*self.seen, x]
        return sum(self.seen)


class Foreign(nn.Module):
    """Of another library: its own reset and step_mode, no base class of ours."""

    def __init__(self):
        super().__init__()
        self.resets = 0
        self.step_mode = "s"

    def reset(self):
        self.resets += 1

    def forward(self, x):
        return x


class OnlySequences(nn.Module, base.MultiStepModule):
    def forward(self, x_seq):
        return x_seq


class Balky(nn.Module):
    """Raises when its mode is set."""

    @property
    def step_mode(self):
        return "s"

    @step_mode.setter
    def step_mode(self, value):
        raise OSError("no")


def spiking_net():
    return nn.Sequential(layer.Linear(3, 4), neuron.IFNode(), layer.Dropout(), Counter(), Foreign())


def test_reset_reaches_every_memory_and_foreign_resets():
    net = spiking_net()
    net(torch.ones(2, 3))
    functional.reset_net(net)
    assert net[1].v == 0.0
    assert net[2].mask is None
    assert net[3].seen == []
    assert net[4].resets == 1


def test_reset_finds_a_method_of_one_module_and_what_a_wrapper_passes_on():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = [Foreign()]  # no child

        def __getattr__(self, name):
            return getattr(self.__dict__["inner"][0], name)

    identity, child, calls = nn.Identity(), nn.Module(), []
    identity.reset = lambda: calls.append("own")
    child.reset = nn.Identity()  # a child that happens to be called so
    net = nn.Sequential(identity, Wrapper(), child)
    functional.reset_net(net)
    assert calls == ["own"]
    assert net[1].inner[0].resets == 1


def test_reset_sees_modules_added_later_and_no_others():
    net = nn.Sequential(neuron.IFNode())
    functional.reset_net(net)
    other = neuron.IFNode()
    net.append(neuron.IFNode())
    for node in (net[0], net[1], other):
        node(torch.full((2,), 0.5))
    functional.reset_net(net)
    assert [net[0].v, net[1].v] == [0.0, 0.0]
    assert torch.equal(other.v, torch.full((2,), 0.5))
    net[0] = neuron.LIFNode()
    net[0](torch.ones(2))
    functional.reset_net(net)
    assert net[0].v == 0.0


def test_a_child_called_reset_is_not_called():
    net = nn.ModuleDict({"reset": nn.Linear(2, 2), "detach": nn.Linear(2, 2)})
    functional.reset_net(net)
    functional.detach_net(net)


def test_a_forgotten_reset_names_the_cure_and_both_shapes():
    net = nn.Sequential(layer.Linear(3, 4), neuron.LIFNode())
    net(torch.ones(8, 3))
    with pytest.raises(RuntimeError, match=r"\(5, 4\).*\(8, 4\).*functional\.reset_net\(net\)"):
        net(torch.ones(5, 3))
    functional.reset_net(net)
    assert net(torch.ones(5, 3)).shape == (5, 4)


def test_detach_cuts_every_memory_lists_too_and_keeps_values():
    net = nn.Sequential(layer.Linear(3, 4), neuron.IFNode(), Counter())
    net(torch.ones(2, 3))
    net(torch.ones(2, 3))
    assert net[1].v.requires_grad
    assert all(x.requires_grad for x in net[2].seen)
    before = [net[1].v.clone(), *[x.clone() for x in net[2].seen]]
    functional.detach_net(net)
    after = [net[1].v, *net[2].seen]
    assert not any(x.requires_grad for x in after)
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_set_step_mode_reaches_nested_shared_and_foreign_modules():
    shared = neuron.IFNode()
    net = nn.Sequential(nn.Sequential(shared, layer.Linear(2, 2)), shared, Foreign())
    functional.set_step_mode(net, "m")
    assert [m.step_mode for m in net.modules() if hasattr(m, "step_mode")] == ["m", "m", "m"]
    functional.set_step_mode(net, "s")
    assert shared.step_mode == "s"


@pytest.mark.parametrize("step_mode", ["x", "", None, 1])
def test_a_bad_step_mode_changes_nothing(step_mode):
    net = spiking_net()
    with pytest.raises(ValueError, match=r"`step_mode` .*Sequential.*'s'.*'m'"):
        functional.set_step_mode(net, step_mode)
    assert net[0].step_mode == "s"


def test_a_module_of_one_mode_is_named_and_nothing_is_changed():
    net = nn.Sequential(layer.Linear(2, 2, step_mode="m"), OnlySequences(), layer.Linear(2, 2))
    with pytest.raises(ValueError, match="OnlySequences") as info:
        functional.set_step_mode(net, "s")
    assert "`1`" in info.value.__notes__[0]
    assert [net[0].step_mode, net[2].step_mode] == ["m", "s"]


def test_a_parallel_neuron_has_one_mode_only():
    net = nn.Sequential(layer.Linear(2, 2, step_mode="m"), neuron.PSN(T=4))
    with pytest.raises(ValueError, match="PSN has no other step mode"):
        functional.set_step_mode(net, "s")
    assert [m.step_mode for m in net] == ["m", "m"]
    functional.set_step_mode(net, "m")


def test_an_error_in_a_setter_puts_back_what_was_set():
    net = nn.Sequential(layer.Linear(2, 2), Balky())
    with pytest.raises(OSError, match="no"):
        functional.set_step_mode(net, "m")
    assert net[0].step_mode == "s"


def test_set_backend_filters_by_class():
    net = nn.Sequential(neuron.IFNode(), neuron.LIFNode(), neuron.ParametricLIFNode())
    functional.set_backend(net, "torch", (neuron.IFNode, neuron.ParametricLIFNode))
    assert [m.backend for m in net] == ["torch", "auto", "torch"]
    functional.set_backend(net, "auto")
    assert [m.backend for m in net] == ["auto"] * 3
    functional.set_backend(net[2], "torch")
    assert net[2].backend == "torch"


def test_a_bad_backend_changes_nothing():
    net = nn.Sequential(neuron.IFNode(backend="torch"))
    with pytest.raises(ValueError, match=r"`backend` \(='cupy'\)"):
        functional.set_backend(net, "cupy")
    with pytest.raises(ValueError, match="`backend`"):
        functional.set_backend(nn.Identity(), "cupy")
    assert net[0].backend == "torch"


class Own(neuron.BaseNode):
    def neuronal_charge(self, x):
        return self.v + x


def test_native_that_cannot_be_served_is_all_or_nothing():
    net = nn.Sequential(neuron.IFNode(backend="torch"), Own(backend="torch"))
    with pytest.raises((ValueError, ImportError)):
        functional.set_backend(net, "native")
    assert [m.backend for m in net] == ["torch", "torch"]


def test_spiking_mode_computes_the_primitive():
    node = neuron.IFNode(surrogate_function=surrogate.Sigmoid(alpha=2.0))
    net = nn.Sequential(nn.Identity(), node)
    functional.set_spiking_mode(net, False)
    x = torch.tensor([0.25, 1.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(net(x), 1 / (1 + torch.exp(-2.0 * (x - 1.0))))
    functional.reset_net(net)
    functional.set_spiking_mode(net, True)
    assert net(x).tolist() == [0.0, 1.0, 1.0]


def test_spiking_mode_is_all_or_nothing():
    net = nn.Sequential(neuron.IFNode(), neuron.IFNode(surrogate_function=surrogate.SuperSpike()))
    with pytest.raises(ValueError, match="SuperSpike"):
        functional.set_spiking_mode(net, False)
    assert net[0].surrogate_function.spiking
    with pytest.raises(TypeError, match="`spiking`"):
        functional.set_spiking_mode(net, "no")


def test_the_same_net_in_both_modes():
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(1, 4, 3),
        layer.BatchNorm2d(4),
        neuron.LIFNode(),
        layer.MaxPool2d(2),
        layer.Flatten(),
        layer.Linear(16, 3),
        neuron.LIFNode(),
    ).eval()
    twin = copy.deepcopy(net)
    x = 3 * torch.randn(6, 2, 1, 6, 6)
    functional.set_step_mode(twin, "m")
    assert torch.equal(functional.multi_step_forward(x, net), twin(x))
