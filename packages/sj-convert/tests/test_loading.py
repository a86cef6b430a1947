"""States of corrected conversions in uncorrected ones, and the other way round."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from convert_zoo import mean_output
from torch import nn

from sj_convert import Converter


class Plain(nn.Module):
    """Layers without bias, one of them read twice, so that a corrected bias finds no layer."""

    def __init__(self, twice: bool) -> None:
        super().__init__()
        self.twice = twice
        self.a = nn.Conv1d(2, 4, 3, padding=1, bias=False)
        self.b = nn.Linear(4 * 8, 6, bias=False)
        self.c = nn.Linear(6, 3)

    def forward(self, x):
        x = self.a(x)
        x = F.relu(x) + x if self.twice else F.relu(x)
        return self.c(F.relu(self.b(x.flatten(1))))


X = torch.rand(30, 2, 8, generator=torch.Generator().manual_seed(4)) - 0.3


def converted(corrected, seed=0, twice=False, **settings):
    torch.manual_seed(seed)
    settings = {"fused": True, "v_init": 0.5, "channel_wise": True, "T": 4, **settings}
    return Converter([X * (1 + seed)], mode="max", bias_correction=corrected, **settings)(
        Plain(twice)
    )


COPIES = {"itself": lambda net: net, "copy": copy.deepcopy, "pickle": pickle.dumps}


@pytest.mark.parametrize("how", list(COPIES))
@pytest.mark.parametrize("neuron", ["if", "signed"])
@pytest.mark.parametrize(("saved", "fresh"), [(True, False), (False, True), (True, True)])
def test_a_state_loads_with_and_without_correction(saved, fresh, neuron, how):
    source = converted(saved, neuron=neuron)
    target = COPIES[how](converted(fresh, seed=1, neuron=neuron))
    target = pickle.loads(target) if isinstance(target, bytes) else target
    state = source.state_dict()
    assert ("b.bias" in state) == saved
    target.load_state_dict(state)
    expected = mean_output(source, X, 9)
    assert not torch.equal(mean_output(converted(fresh, seed=1, neuron=neuron), X, 9), expected)
    assert torch.equal(mean_output(target, X, 9), expected)


@pytest.mark.parametrize("fused", [False, True])
def test_an_uncorrected_state_loads_where_the_bias_is_a_module(fused):
    source = converted(False, twice=True, fused=fused)
    target = converted(True, seed=1, twice=True, fused=fused)
    assert "snn_tailor.relu_bias.bias" in target.state_dict()
    target.load_state_dict(source.state_dict())
    assert torch.equal(mean_output(target, X, 9), mean_output(source, X, 9))


@pytest.mark.parametrize(
    ("saved", "fresh", "key"),
    [
        ({"corrected": True, "twice": True}, {"corrected": False, "twice": True}, "relu_bias.bias"),
        (
            {"corrected": True, "fused": False},
            {"corrected": False, "fused": False},
            "relu.1.v_shift",
        ),
        (
            {"corrected": False, "fused": True},
            {"corrected": False, "fused": False},
            "relu.v_threshold",
        ),
    ],
)
def test_a_state_without_a_place_names_the_cure(saved, fresh, key):
    state = converted(**saved).state_dict()
    with pytest.raises(RuntimeError, match=rf"'snn_tailor\.{key}'.*convert with the same settings"):
        converted(**fresh).load_state_dict(state)


def test_a_part_of_a_state_leaves_the_rest():
    net = converted(True)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict({"c.bias": torch.zeros(3)}, strict=False)
    after = net.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before if name != "c.bias")
