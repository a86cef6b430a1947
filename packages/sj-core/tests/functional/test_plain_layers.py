"""What `set_step_mode` says of plain torch layers that do not know the time axis."""

import warnings

import pytest
import torch
from torch import nn

from sj_core import functional, layer


def test_plain_layers_are_named_once_with_the_cure():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.Sequential(nn.BatchNorm2d(2), nn.Flatten()),
        layer.Conv2d(2, 2, 1),
        nn.Linear(2, 2),
        nn.ReLU(),
        nn.Identity(),
        layer.SeqToANNContainer(nn.Conv2d(1, 1, 1)),
        nn.InstanceNorm2d(2),
    )
    with pytest.warns(UserWarning, match="plain torch layers") as record:
        functional.set_step_mode(net, "m")
    assert len(record) == 1
    text = str(record[0].message)
    assert "`0` (Conv2d), `1.0` (BatchNorm2d), `1.1` (Flatten), `7` (InstanceNorm2d);" in text
    assert "`layer.BatchNorm2d`, `layer.Conv2d`, `layer.Flatten`" in text
    assert "SeqToANNContainer" in text
    assert "InstanceNorm2d`," not in text
    assert record[0].filename == __file__
    assert net[2].step_mode == "m"


def test_no_warning_where_none_is_due():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Dropout(), nn.LayerNorm(2), nn.PReLU())
    net.append(nn.Identity())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        functional.set_step_mode(net, "m")
        functional.set_step_mode(nn.Sequential(nn.Conv2d(1, 1, 1)), "s")


BLIND = [
    (nn.Unflatten(1, (3, 1)), (4, 3, 3)),
    (nn.ChannelShuffle(3), (4, 6, 3, 2, 2)),
    (nn.PReLU(3), (4, 3, 3, 2)),
    (nn.Softmax2d(), (4, 3, 3, 2, 2)),
    (nn.Unfold(2), (4, 3, 3, 2, 2)),
    (nn.Fold(2, 1), (4, 3, 3, 4)),
    (nn.ReflectionPad2d(1), (4, 3, 3, 2, 2)),
    (nn.ReplicationPad1d(1), (4, 3, 3, 2)),
    (nn.CircularPad1d(1), (4, 3, 3, 2)),
    (nn.FractionalMaxPool2d(2, output_size=1), (4, 3, 3, 2, 2)),
]


@pytest.mark.parametrize(("module", "shape"), BLIND, ids=lambda p: type(p).__name__)
def test_what_is_named_takes_the_batch_for_channels_or_fails(module, shape):
    if isinstance(module, nn.PReLU):
        module.weight.data = torch.tensor([0.1, 0.2, 0.3])
    with pytest.warns(UserWarning, match=rf"`net` \({type(module).__name__}\)"):
        functional.set_step_mode(module, "m")
    x = torch.randn(shape)
    right = torch.stack([module(step) for step in x])
    try:
        wrong = module(x)
    except (RuntimeError, ValueError, AssertionError):
        return
    assert wrong.shape != right.shape or not torch.equal(wrong, right)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv3d, nn.ConvTranspose2d])
def test_a_plain_net_of_one_layer_is_named_too(kind):
    with pytest.warns(
        UserWarning, match=rf"`net` \({kind.__name__}\); use `layer.{kind.__name__}`"
    ):
        functional.set_step_mode(kind(1, 1, 1), "m")
