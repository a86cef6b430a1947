"""What all learners share: records, copies, errors."""

import copy

import pytest
import torch
from torch import nn

from sj_train.plasticity import STDPLearner


def test_reset_enable_disable_close():
    synapse, sn = nn.Linear(3, 2), nn.ReLU()
    learner = STDPLearner("s", synapse, sn, 2.0, 2.0)
    sn(synapse(torch.rand(4, 3)))
    learner.step()
    assert learner.trace_pre.shape == (4, 3)
    assert not learner.trace_post.requires_grad
    sn(synapse(torch.rand(5, 3)))
    with pytest.raises(RuntimeError, match="reset_net"):
        learner.step()
    learner.reset()
    assert learner.step(on_grad=False) is None
    learner.disable()
    sn(synapse(torch.rand(5, 3)))
    assert learner.step(on_grad=False) is None
    learner.enable()
    sn(synapse(torch.rand(5, 3)))
    assert learner.step(on_grad=False).shape == (2, 3)
    learner.close()
    assert not synapse._forward_pre_hooks
    assert not sn._forward_hooks
    with pytest.raises(RuntimeError, match="closed"):
        learner.step()
    with pytest.raises(RuntimeError, match="closed"):
        learner.enable()


def test_a_copy_of_net_and_learner_watches_the_copied_net():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    both = nn.ModuleDict({"net": net, "learner": STDPLearner("s", net[0], net[1], 2.0, 2.0)})
    twin = copy.deepcopy(both)
    twin["net"](torch.rand(1, 3))
    assert both["learner"].step(on_grad=False) is None
    assert twin["learner"].step(on_grad=False) is not None
    twin["learner"].close()
    assert len(net[0]._forward_pre_hooks) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("x", nn.Linear(1, 1), nn.ReLU(), 2.0, 2.0), ValueError, "`step_mode` (='x')"),
        (("s", nn.Linear(1, 1), nn.ReLU(), 0.9, 2.0), ValueError, "`tau_pre` (=0.9)"),
        (("s", nn.Linear(1, 1), nn.ReLU(), 2.0, float("inf")), ValueError, "`tau_post` (=inf)"),
        (("s", nn.BatchNorm1d(1), nn.ReLU(), 2.0, 2.0), TypeError, "(a BatchNorm1d)"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error) as info:
        STDPLearner(*arguments)
    assert message in str(info.value)
    assert str(info.value).endswith(".")


def test_spikes_that_do_not_fit():
    synapse, sn = nn.Linear(3, 2), nn.ReLU()
    learner = STDPLearner("s", synapse, sn, 2.0, 2.0)
    synapse(torch.rand(4, 3))
    with pytest.raises(RuntimeError, match="1 inputs of `synapse` and 0 outputs"):
        learner.step()
    learner.reset()
    synapse(torch.rand(4, 3)), sn(torch.rand(4, 5))
    with pytest.raises(ValueError, match="must have 3 and 2 channels"):
        learner.step()
    learner.reset()
    learner.step_mode = "m"
    synapse(torch.rand(6, 4, 3)), sn(torch.rand(5, 4, 2))
    with pytest.raises(ValueError, match="same number of time steps"):
        learner.step()
    with pytest.raises(RuntimeError, match="has no forward"):
        learner(torch.rand(1))
