"""Batches of every common form reach the network; anything else is refused by name."""

from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sj_convert import Converter

X = torch.rand(10, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(10)
Pair = namedtuple("Pair", "image label")

FORMS = {
    "tensor": [X],
    "tuple": [(X, Y)],
    "list": [[X, Y]],
    "named tuple": [Pair(X, Y)],
    "dict by argument": [{"input": X, "label": Y}],
    "dict by custom": [OrderedDict(pixel_values=X, labels=Y)],
    "dict of unknown names": [{"label": Y, "voltage": X}],
    "loader": DataLoader(TensorDataset(X, Y), batch_size=10),
    "nested": [((X,), Y)],
}


@pytest.mark.parametrize("form", list(FORMS))
def test_forms(form):
    ann = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    snn = Converter(FORMS[form], mode="max")(ann)
    torch.testing.assert_close(snn.snn_tailor.get_submodule("1.2").scale, ann(X).max().detach())


class Two(nn.Module):
    def forward(self, a, b, c=None):
        return torch.relu(a + 2 * b)


@pytest.mark.parametrize("batch", [(X, X[:, :1], Y), {"b": X[:, :1], "a": X, "y": Y}])
def test_several_inputs(batch):
    snn = Converter([batch], mode="max")(Two())
    expected = (X + 2 * X[:, :1]).max()
    torch.testing.assert_close(snn.snn_tailor.relu.get_submodule("2").scale, expected)


@pytest.mark.parametrize("batch", ["x", 3, {"label": "a"}, (), [3]])
def test_anything_else(batch):
    with pytest.raises(TypeError, match="`dataloader` gave a batch of type"):
        Converter([batch])(nn.Sequential(nn.ReLU()))


@pytest.mark.parametrize("recommended", [False, True])
def test_iterators_are_kept(recommended):
    ann = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    parts = (x for x in (X[:4], X[4:]))
    converter = Converter.recommended(parts, 4) if recommended else Converter(parts, momentum=None)
    first, second = converter(ann), converter(ann)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    whole = Converter([X], mode="max")(ann).snn_tailor.get_submodule("1.2").scale
    if not recommended:
        assert torch.equal(first.snn_tailor.get_submodule("1.2").scale, whole)


def test_a_traced_network_converts_as_well():
    ann = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    a = Converter([X])(ann)
    b = Converter([X])(torch.fx.symbolic_trace(ann))
    assert torch.equal(a(X), b(X))
