"""Bad arguments of public functions are refused by a sentence that names them."""

import numpy
import pytest
import torch
from torch import nn

from sj_core import encoding, functional, layer, monitor, neuron, surrogate

X = torch.ones(4, 2, 3)
CONV, BN = nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)
scale_weight = functional.scale_fused_conv2d_weight_of_convbn2d
scale_bias = functional.scale_fused_conv2d_bias_of_convbn2d

NETS = {
    "reset_net": lambda net: functional.reset_net(net),
    "detach_net": lambda net: functional.detach_net(net),
    "set_step_mode": lambda net: functional.set_step_mode(net, "m"),
    "set_backend": lambda net: functional.set_backend(net, "torch"),
    "set_spiking_mode": lambda net: functional.set_spiking_mode(net, False),
    "named_memories": lambda net: list(functional.named_memories(net)),
    "get_state": lambda net: functional.get_state(net),
    "set_state": lambda net: functional.set_state(net, {}),
    "functional_forward": lambda net: functional.functional_forward(net, {}, X),
    "kaiming": lambda net: functional.kaiming_normal_conv_linear_weight(net),
    "firing_rates": lambda net: monitor.firing_rates(net, X),
    "synops": lambda net: monitor.synops(net, X),
    "OutputMonitor": lambda net: monitor.OutputMonitor(net),
    "AttributeMonitor": lambda net: monitor.AttributeMonitor("v", False, net),
}


@pytest.mark.parametrize("function", NETS.values(), ids=NETS)
@pytest.mark.parametrize("net", [None, [nn.ReLU()], nn.ReLU], ids=["None", "list", "class"])
def test_what_is_no_module_is_named(function, net):
    with pytest.raises(TypeError, match=r"`net` \(a \w+\) must be a module, an `nn\.Module`\."):
        function(net)


@pytest.mark.parametrize("instance", ["IFNode", [neuron.IFNode], neuron.IFNode()])
def test_what_is_no_class_is_named(instance):
    net = nn.Sequential(neuron.IFNode())
    for function in (
        lambda: functional.set_backend(net, "torch", instance=instance),
        lambda: monitor.OutputMonitor(net, instance),
    ):
        with pytest.raises(TypeError, match=r"`instance` \(=(.|\n)*must be a class or a tuple of"):
            function()


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (functional.multi_step_forward, "single_step_module"),
        (functional.t_last_multi_step_forward, "single_step_module"),
        (functional.seq_to_ann_forward, "stateless_module"),
        (functional.t_last_seq_to_ann_forward, "stateless_module"),
        (lambda x, module: functional.chunk_multi_step_forward(2, x, module), "multi_step_module"),
    ],
)
@pytest.mark.parametrize("module", [None, 3, [nn.ReLU(), None]])
def test_what_cannot_be_called_is_named(function, argument, module):
    with pytest.raises(TypeError, match=rf"`{argument}` \((None|3)\) must be a module, a list"):
        function(X, module)


def test_a_chunk_without_a_time_axis_is_refused():
    """A readout that decodes a sequence to one value: the chunks have nothing to be joined by."""
    readout = neuron.NonSpikingIFNode(step_mode="m")
    with pytest.raises(ValueError, match=r"gave shape \[2, 3\] for a chunk of 3 .*`decode=None`"):
        functional.chunk_multi_step_forward(3, X, readout)


REFUSED = {
    "first_spike_index": (lambda: functional.first_spike_index([0, 1]), "`spikes` (a list)"),
    "delay": (lambda: functional.delay([0.0, 1.0], 1), "`x_seq` (a list)"),
    "delay 0-d": (lambda: functional.delay(torch.tensor(1.0), 1), "`x_seq` has shape []"),
    "labels": (
        lambda: functional.set_threshold_margin(neuron.IFNode(), [0, 1]),
        "`label_one_hot` (a list)",
    ),
    "threshold0": (
        lambda: functional.set_threshold_margin(neuron.IFNode(), torch.ones(2), 1.0, "low"),
        "`threshold0` (='low')",
    ),
    "learned": (
        lambda: functional.set_threshold_margin(neuron.GatedLIFNode(4), torch.ones(2)),
        "`output_layer` (a GatedLIFNode)",
    ),
    "k": (lambda: scale_weight(CONV, BN, k="2"), "`k` (='2')"),
    "b": (lambda: scale_bias(CONV, BN, b=torch.ones(4)), "`b` has shape [4]"),
    "function": (lambda: monitor.OutputMonitor(BN, function=3), "`function` (=3)"),
    "record": (lambda: monitor.OutputMonitor(BN)[0], "`key` (=0)"),
    "latency": (lambda: encoding.LatencyEncoder(3, step_mode="m")([0.5]), "`x` (list)"),
    "latency 0-d": (
        lambda: encoding.LatencyEncoder(3, step_mode="m")(torch.tensor(0.5)),
        "`x`",
    ),
    "delta": (lambda: encoding.DeltaEncoder()(None), "`x` (NoneType)"),
    "delta 0-d": (
        lambda: encoding.DeltaEncoder(step_mode="m")(torch.tensor(0.5)),
        "`x`",
    ),
    "delta threshold": (lambda: encoding.DeltaEncoder("0.1"), "`threshold` (='0.1')"),
    "sub_module": (
        lambda: layer.ElementWiseRecurrentContainer(3, torch.add),
        "`sub_module` (a int)",
    ),
    "in_features": (
        lambda: layer.LinearRecurrentContainer(nn.Identity(), 3, 3)(torch.ones(2, 5)),
        "`x` of one step has shape [2, 5]",
    ),
    "out_features": (
        lambda: layer.LinearRecurrentContainer(nn.Linear(3, 4), 3, 5)(torch.ones(2, 3)),
        "`out_features` (=5)",
    ),
    "activation": (lambda: layer.DropConnectLinear(3, 3, activation=3), "`activation` (=3)"),
    "attention T": (lambda: layer.TemporalWiseAttention(4.0, 2), "`T` (=4.0)"),
    "attention dim": (lambda: layer.SpikingSelfAttention(8.0, 2), "`dim` (=8.0)"),
    "periodic": (lambda: encoding.PeriodicEncoder(X).encode([1.0]), "`x` (a list)"),
    "population": (lambda: encoding.PopulationEncoder(3, 4, beta="1"), "`beta` (='1')"),
    "population range": (
        lambda: encoding.PopulationEncoder(3, 4, 0.0, float("inf")),
        "`x_max` (=inf)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_argument_is_named(case):
    function, start = REFUSED[case]
    with pytest.raises((TypeError, ValueError, IndexError)) as error:
        function()
    assert str(error.value).startswith(start)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("scale", [scale_weight, scale_bias])
def test_a_refused_factor_has_changed_nothing(scale):
    before = [tensor.clone() for tensor in (CONV.weight, BN.bias, BN.running_mean)]
    with pytest.raises(TypeError, match="`b`"):
        scale(CONV, BN, k=2.0, b="1")
    for tensor, was in zip((CONV.weight, BN.bias, BN.running_mean), before, strict=True):
        assert torch.equal(tensor, was)


MODULES = [
    neuron.LIFNode(),
    neuron.LIFNode(step_mode="m"),
    neuron.LIFNode(backend="torch"),
    neuron.NonSpikingLIFNode(step_mode="m"),
    neuron.PSN(T=2),
    layer.SynapseFilter(),
    layer.Dropout(),
    layer.Delay(1),
]


@pytest.mark.parametrize("given", [numpy.zeros((2, 3), "float32"), [torch.zeros(2, 3)], None])
@pytest.mark.parametrize("module", MODULES, ids=lambda m: f"{type(m).__name__}-{m.step_mode}")
def test_an_input_that_is_no_tensor(module, given):
    with pytest.raises(TypeError, match=r"`x` \(a \w+\) must be a tensor: .*as_tensor"):
        module(given)


def test_an_input_of_a_layer_that_is_no_tensor():
    with pytest.raises(TypeError, match=r"`input` \(a ndarray\) must be a tensor"):
        layer.Linear(3, 2)(numpy.zeros((2, 3), "float32"))


@pytest.mark.parametrize("module", MODULES, ids=lambda m: f"{type(m).__name__}-{m.step_mode}")
def test_a_sequence_without_a_time_axis(module):
    if module.step_mode == "m":
        with pytest.raises(ValueError, match=r"`x` has shape \[\] .* takes \[T, N, \*\]"):
            module(torch.tensor(1.0))
    else:
        module(torch.tensor(1.0))
        module.reset()


def test_a_parameter_that_is_no_number_is_named():
    with pytest.raises(TypeError, match=r"`alpha` \(='2'\) of ATan must be a number\."):
        surrogate.ATan("2")


def test_the_number_of_parameters_of_an_own_surrogate_is_told():
    class Own(surrogate.SurrogateFunctionBase):
        def __init__(self, alpha=1.0, spiking=True):
            super().__init__(alpha, spiking)  # as SpikingJelly's take it

    with pytest.raises(TypeError, match=r"of Own must be as many .*`alpha`: give `spiking` by"):
        Own()
