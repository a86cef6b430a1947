"""Memories of a user's own module: private names, tensors for reset values, export."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import base, functional, layer, neuron


class Filter(base.MemoryModule):
    """Starts from a tensor, and keeps a memory whose name starts with an underscore."""

    def __init__(self):
        super().__init__()
        self.register_memory("y", torch.tensor([1.0, 2.0]))
        self.register_memory("_last", None)

    def single_step_forward(self, x):
        self.y = 0.5 * self.y + x
        self._last = x * 2
        return self.y


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_private_memory_is_copied_detached(twin):
    module = Filter()
    module(torch.ones(2, requires_grad=True))
    other = twin(module)
    assert torch.equal(other._last, torch.full((2,), 2.0))
    assert not other._last.requires_grad
    assert module._last.requires_grad


def test_a_tensor_for_a_reset_value_moves_with_the_module():
    net = nn.Sequential(Filter()).double()
    net(torch.ones(2, dtype=torch.float64))
    functional.reset_net(net)
    assert net[0].y.dtype == torch.float64
    assert net[0].y.tolist() == [1.0, 2.0]
    net.to("meta")
    functional.reset_net(net)
    assert net[0].y.device.type == "meta"


def test_a_reset_value_is_not_shared_with_the_memory():
    module = Filter()
    module.y.mul_(0)
    module.reset()
    assert module.y.tolist() == [1.0, 2.0]


def test_what_holds_state():
    module = Filter()
    assert not module.holds_state("_last")
    module(torch.ones(2))
    assert module.holds_state("_last")
    module.reset()
    assert not module.holds_state("_last")


class Sum(base.MemoryModule):
    def __init__(self):
        super().__init__()
        self.register_memory("total", 0.0)

    def single_step_forward(self, x):
        self.total = self.memory_like("total", x) + x
        return self.total


class Gain(base.MemoryModule):
    def __init__(self):
        super().__init__()
        self.register_memory("total", 0.0)

    def single_step_forward(self, x, gain, *, offset=0.0):
        self.total = self.memory_like("total", x) + gain * x + offset
        return self.total


@pytest.mark.parametrize("compiled", [False, True])
def test_further_arguments_reach_every_step(compiled):
    module = Gain()
    run = torch.compile(module, backend="eager", fullgraph=True) if compiled else module
    assert run(torch.ones(1), 2.0).tolist() == [2.0]
    assert run(torch.ones(1), gain=2.0, offset=0.5).tolist() == [4.5]
    functional.reset_net(module)
    module.step_mode = "m"
    assert run(torch.ones(3, 1), 2.0, offset=0.5).flatten().tolist() == [2.5, 5.0, 7.5]


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_neuron_refuses_what_it_has_no_use_for(step_mode):
    node = neuron.IFNode(step_mode=step_mode)
    with pytest.raises(TypeError, match="positional argument"):
        node(torch.ones(2, 1), torch.ones(2, 1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'mask'"):
        node(torch.ones(2, 1), mask=torch.ones(2, 1))
    assert node.v == 0.0


# torch remarks on the state, which is an attribute and no buffer.
@pytest.mark.filterwarnings("ignore:The tensor attribute:UserWarning")
@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects:UserWarning")
@pytest.mark.parametrize("strict", [True, False])
def test_a_state_starts_in_an_exported_net_from_where_it_stood(strict):
    net = nn.Sequential(Sum(), layer.SynapseFilter(tau=2.0, learnable=True))
    functional.set_step_mode(net, "m")
    x = torch.tensor([1.0, 0.0, 2.0]).view(3, 1, 1)
    exported = torch.export.export(net, (x,), strict=strict).module()
    # By hand: the sums 1, 1, 3; y = y - (1 - x) y / 2 + x.
    for _ in range(2):
        torch.testing.assert_close(exported(x).flatten(), torch.tensor([1.0, 2.0, 7.0]))


def test_a_memory_is_nothing_that_learns():
    for value in (nn.Parameter(torch.zeros(2)), nn.Linear(2, 2)):
        module = Sum()
        with pytest.raises(TypeError, match=r"`reset_value` \(a \w+\) of `h` must not learn"):
            module.register_memory("h", value)
        assert not hasattr(module, "h")


def test_a_memory_before_the_constructor_of_the_base_is_named():
    class Early(base.MemoryModule):
        def __init__(self):
            self.register_memory("h", 0.0)

    with pytest.raises(RuntimeError, match=r"Early must call `super\(\)\.__init__\(\)` before"):
        Early()


def test_a_shallow_copy_has_reset_values_of_its_own():
    node = neuron.LIFNode()
    twin = copy.copy(node)
    twin.v_reset = -1.0
    node.reset()
    twin.reset()
    assert (node.v, twin.v) == (0.0, -1.0)


@pytest.mark.parametrize("assign", [False, True])
def test_a_number_saved_without_axes_is_loaded(assign):
    net = nn.Sequential(neuron.ParametricLIFNode(), layer.SynapseFilter(learnable=True))
    saved = {"0.w": torch.tensor(0.25), "1.w": torch.tensor(-1.5)}
    net.load_state_dict(saved, assign=assign)
    assert {name: p.tolist() for name, p in net.named_parameters()} == {
        "0.w": [0.25],
        "1.w": [-1.5],
    }
    assert saved["0.w"].shape == ()
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.w"):
        net.load_state_dict({"0.w": torch.zeros(2), "1.w": torch.zeros(1)})


@pytest.mark.parametrize(
    "build", [lambda: layer.Delay(2), lambda: neuron.SlidingPSN(3), lambda: neuron.LIFNode()]
)
def test_a_state_of_five_axes_goes_where_a_net_of_images_goes(build):
    module = build()
    x = (
        torch.rand(2, 3, 4, 5)
        if not isinstance(module, neuron.LIFNode)
        else torch.rand(5, 2, 3, 4, 5)
    )
    net, twin = nn.Sequential(nn.Conv2d(3, 3, 1), module), copy.deepcopy(module).double()
    module(x), twin(x.double())
    net.to(torch.float64, memory_format=torch.channels_last)
    assert next(iter(functional.get_state(net).values())).dtype == torch.float64
    torch.testing.assert_close(module(x.double()), twin(x.double()), rtol=1e-6, atol=1e-6)
