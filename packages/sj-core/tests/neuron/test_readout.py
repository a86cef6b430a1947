"""Readouts against sums in closed form."""

import pytest
import torch

from sj_core import neuron


def voltages(x, tau=None, decay_input=True, v0=0.0):
    v, out = torch.full_like(x[0], v0), []
    for step in x:
        if tau is None:
            v = v + step
        elif decay_input:
            v = v + (step - (v - v0)) / tau
        else:
            v = v - (v - v0) / tau + step
        out.append(v)
    return torch.stack(out)


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (neuron.NonSpikingIFNode, {}),
        (neuron.NonSpikingLIFNode, {"tau": 2.0}),
        (neuron.NonSpikingLIFNode, {"tau": 7.0, "decay_input": False}),
        (neuron.NonSpikingLIFNode, {"tau": 3.0, "v_reset": 0.2}),
    ],
)
def test_voltage_is_decoded(make, setting):
    x = torch.randn(7, 3, 2, dtype=torch.float64) * 2
    setting = dict(setting)
    v0 = setting.get("v_reset", 0.0)
    start = 0.2 if make is neuron.NonSpikingLIFNode and "v_reset" in setting else 0.0
    v_seq = voltages(x, setting.get("tau"), setting.get("decay_input", True), v0)
    assert start == v0
    for decode, expected in {
        None: v_seq,
        "last": v_seq[-1],
        "max": v_seq.amax(0),
        "mean": v_seq.mean(0),
    }.items():
        node = make(decode=decode, step_mode="m", store_v_seq=True, **setting)
        torch.testing.assert_close(node(x), expected)
        torch.testing.assert_close(node.v_seq, v_seq)
        torch.testing.assert_close(node.v, v_seq[-1])
    node = make(step_mode="s", **setting)
    torch.testing.assert_close(torch.stack([node(step) for step in x]), v_seq)


def test_half_inputs_are_averaged_in_float32():
    x = torch.full((1000, 2), 0.1, dtype=torch.float16)
    node = neuron.NonSpikingIFNode("mean", step_mode="m")
    expected = x.double().cumsum(0).mean(0).half()
    assert torch.equal(node(x), expected)


@pytest.mark.parametrize("decode", ["last", "max", "mean"])
def test_an_empty_sequence_leaves_what_is_kept(decode):
    node = neuron.NonSpikingIFNode(decode, step_mode="m")
    assert node(torch.zeros(0, 3)).tolist() == [0.0, 0.0, 0.0]
    node(torch.ones(2, 3))
    assert node(torch.zeros(0, 3)).tolist() == [2.0, 2.0, 2.0]


def test_gradient_of_the_last_leaky_voltage():
    x = torch.zeros(5, 1, dtype=torch.float64, requires_grad=True)
    neuron.NonSpikingLIFNode(4.0, step_mode="m")(x).backward()
    expected = torch.tensor([0.25 * 0.75 ** (4 - t) for t in range(5)], dtype=torch.float64)
    torch.testing.assert_close(x.grad.flatten(), expected)
