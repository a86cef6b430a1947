"""What users of other libraries lose days to, a test for each."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sj_core import functional, layer, neuron
from sj_core.base import MemoryModule


def net_of(step_mode="m"):
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(4, 6), neuron.LIFNode(), layer.Linear(6, 3), neuron.IFNode())
    functional.set_step_mode(net, step_mode)
    return net


def test_a_forgotten_reset_names_reset_net_and_both_shapes():
    net = net_of()
    net(torch.rand(5, 8, 4))
    with pytest.raises(RuntimeError, match=r"\(3, 6\).*\(8, 6\).*functional\.reset_net\(net\)"):
        net(torch.rand(5, 3, 4))


def test_a_smaller_last_batch_works_after_reset():
    net = net_of()
    for batch in (8, 8, 3):
        assert net(torch.rand(5, batch, 4)).shape == (5, batch, 3)
        functional.reset_net(net)


def test_reset_reaches_a_module_appended_later():
    net = net_of()
    functional.reset_net(net)
    net.append(neuron.IFNode(v_threshold=9.0, step_mode="m"))
    net(torch.rand(5, 2, 4) * 9)
    functional.reset_net(net)
    assert net[-1].v == 0.0


def test_deepcopy_and_pickle_after_a_training_forward():
    net = net_of()
    x = torch.rand(5, 2, 4) * 5
    net(x).sum().backward()
    expected = None
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net):
        out = twin(x)
        expected = out if expected is None else expected
        assert torch.equal(out, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_change_of_dtype_in_mid_sequence(dtype):
    net = nn.Sequential(neuron.IFNode(v_threshold=2.0))
    net(torch.full((2, 3), 1.25))
    net.to(dtype)
    out = net(torch.full((2, 3), 0.75, dtype=dtype))
    assert out.dtype == dtype
    assert out.eq(1).all()


def test_state_is_not_in_the_state_dict():
    net = net_of()
    keys = set(net.state_dict())
    net(torch.rand(5, 2, 4))
    assert set(net.state_dict()) == keys == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_a_list_valued_memory_is_detached():
    class History(MemoryModule):
        def __init__(self):
            super().__init__()
            self.register_memory("past", [])

        def single_step_forward(self, x):
            self.past = [*self.past, x * 2]
            return x

    module = History()
    module(torch.ones(2, requires_grad=True))
    functional.detach_net(module)
    assert not module.past[0].requires_grad
    module.reset()
    assert module.past == []


def test_the_default_surrogate_is_not_shared():
    a, b = neuron.LIFNode(), neuron.LIFNode()
    assert a.surrogate_function is not b.surrogate_function
    a.surrogate_function.spiking = False
    assert b.surrogate_function.spiking


def test_ints_are_accepted_where_floats_are_meant():
    node = neuron.LIFNode(tau=2, v_threshold=1, v_reset=0, step_mode="m")
    twin = neuron.LIFNode(tau=2.0, v_threshold=1.0, v_reset=0.0, step_mode="m")
    x = torch.rand(8, 3) * 3
    assert torch.equal(node(x), twin(x))


def test_a_plain_convolution_in_a_multi_step_net_is_named():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), neuron.IFNode())
    with pytest.warns(UserWarning, match=r"(?s)0.*Conv2d"):
        functional.set_step_mode(net, "m")


def test_a_container_keeps_the_mode_of_its_children():
    net = nn.Sequential(layer.SeqToANNContainer(nn.Conv2d(1, 2, 3)), neuron.IFNode())
    functional.set_step_mode(net, "m")
    assert net(torch.rand(3, 2, 1, 5, 5)).shape == (3, 2, 2, 3, 3)
    inner = layer.MultiStepContainer(neuron.IFNode())
    functional.set_step_mode(nn.Sequential(inner), "m")
    assert [m.step_mode for m in inner.modules() if isinstance(m, neuron.IFNode)] == ["s"]


def test_set_step_mode_is_all_or_nothing():
    net = nn.Sequential(neuron.IFNode(step_mode="m"), neuron.PSN(4))
    with pytest.raises(ValueError, match="PSN"):
        functional.set_step_mode(net, "s")
    assert [net[0].step_mode, net[1].step_mode] == ["m", "m"]


def test_eval_mode_keeps_gradients():
    net = net_of().eval()
    x = (torch.rand(5, 2, 4) * 5).requires_grad_()
    net(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert net[0].weight.grad.abs().sum() > 0


def test_parameters_of_a_psn_are_registered_and_trained():
    node = neuron.PSN(4)
    assert {name for name, _ in node.named_parameters()} == {"weight", "bias"}
    node(torch.rand(4, 2)).sum().backward()
    assert all(parameter.grad is not None for parameter in node.parameters())


def test_a_backend_asked_for_by_name_never_falls_back():
    with pytest.raises((ValueError, ImportError), match=r"KLIFNode|pip install sj-kernels"):
        neuron.KLIFNode(backend="native")
    node = neuron.LIFNode(backend="torch")
    with pytest.raises((ValueError, ImportError), match=r"native|pip install sj-kernels"):
        functional.set_backend(nn.Sequential(neuron.KLIFNode(), node), "native")


def test_checkpointing_does_not_advance_the_state_twice():
    node = neuron.LIFNode(tau=3.0, step_mode="m")
    x = (torch.rand(6, 2, 3) * 2).requires_grad_()

    def run(state, x):
        return functional.functional_forward(node, state, x)

    out, state = checkpoint(run, None, x, use_reentrant=False)
    out.sum().backward()
    twin = neuron.LIFNode(tau=3.0, step_mode="m")
    x2 = x.detach().clone().requires_grad_()
    expected = twin(x2)
    expected.sum().backward()
    assert torch.equal(out, expected)
    assert torch.equal(state["v"], twin.v)
    torch.testing.assert_close(x.grad, x2.grad)
    assert node.v == 0.0


def test_an_own_neuron_is_five_lines_and_runs_in_both_modes_and_under_compile():
    class Own(neuron.BaseNode):
        def neuronal_charge(self, x):
            return 0.5 * self.v + x

    x = torch.rand(5, 2, 3) * 2
    single, multi = Own(), Own(step_mode="m")
    assert torch.equal(torch.stack([single(step) for step in x]), multi(x))
    v, spikes = torch.zeros(2, 3), []
    for step in x:
        h = 0.5 * v + step
        spikes.append((h >= 1).float())
        v = torch.where(h >= 1, 0.0, h)
    assert torch.equal(single.v, v)
    functional.reset_net(multi)
    with torch.no_grad():
        compiled = torch.compile(multi, fullgraph=True, backend="eager")
        assert torch.equal(compiled(x), torch.stack(spikes))


class Integrator(neuron.BaseNode):
    """A neuron that gives out its voltage as it is kept."""

    def neuronal_charge(self, x):
        return self.v + x

    def _step(self, x):
        self.v = self.neuronal_charge(x)
        return self.v


STATES_THAT_COME_OUT = {
    "own neuron": Integrator,
    "IF readout": lambda: neuron.NonSpikingIFNode(decode=None),
    "LIF readout": lambda: neuron.NonSpikingLIFNode(decode=None),
    "filter": lambda: layer.SynapseFilter(tau=3.0),
    "feedback": lambda: layer.ElementWiseRecurrentContainer(nn.Identity(), torch.add),
    "linear feedback": lambda: layer.LinearRecurrentContainer(nn.Linear(4, 3), 4, 3),
}


@pytest.mark.parametrize("kind", STATES_THAT_COME_OUT)
def test_work_in_place_on_an_output_does_not_reach_the_state(kind):
    """`total = net(x[0]); total += net(x[1])`, or a ReLU in place behind: the sequence is right."""
    module, x = STATES_THAT_COME_OUT[kind](), torch.randn(5, 2, 4)
    module.step_mode = "m"
    with torch.no_grad():
        expected = module(x)
        functional.reset_net(module)
        module.step_mode = "s"
        total = module(x[0])
        for step in x[1:]:
            total += module(step)
    torch.testing.assert_close(total, expected.sum(0))


@pytest.mark.parametrize("T", [0, 3])
def test_work_in_place_on_what_a_readout_decodes_does_not_reach_the_state(T):
    readout, x = neuron.NonSpikingIFNode(step_mode="m"), torch.ones(3, 2)
    readout(x)
    readout(x[:T]).zero_()
    assert readout.v.tolist() == [3.0 + T, 3.0 + T]


def test_a_state_from_functional_forward_shares_nothing_with_the_output():
    y, state = functional.functional_forward(neuron.NonSpikingIFNode(), None, torch.ones(2))
    y.zero_()
    assert state["v"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("threshold_related", [False, True])
@pytest.mark.parametrize("v_reset", [0.0, None])
def test_an_activation_in_place_does_not_reach_the_voltage(v_reset, threshold_related):
    x = torch.randn(5, 2, 4) * 3
    plain = neuron.LIAFNode(nn.ReLU(), threshold_related, v_reset=v_reset)
    in_place = neuron.LIAFNode(nn.ReLU(inplace=True), threshold_related, v_reset=v_reset)
    for step in x:
        assert torch.equal(in_place(step), plain(step))
        assert torch.equal(in_place.v, plain.v)
