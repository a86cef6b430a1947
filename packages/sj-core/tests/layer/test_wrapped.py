"""Layers inside torch's own wrappers: parametrisations, fusion, DDP, FSDP2."""

import copy

import pytest
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.utils import fusion, parametrizations

from sj_core import functional, layer, neuron

X = torch.randn(4, 2, 1, 5, 5, generator=torch.Generator().manual_seed(0))


def make_net():
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(1, 2, 3),
        layer.BatchNorm2d(2),
        neuron.ParametricLIFNode(),
        layer.Dropout(0.25),
        layer.Flatten(),
        layer.Linear(18, 3),
        layer.SynapseFilter(3.0, learnable=True),
    )
    functional.set_step_mode(net, "m")
    return net


def gradients(net, steps=2):
    for _ in range(steps):
        torch.manual_seed(1)
        functional.reset_net(net)
        net.zero_grad()
        net(X).square().sum().backward()
    return [p.grad for p in net.parameters()]


@pytest.fixture
def one_process():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_distributed_data_parallel(one_process):
    expected = gradients(make_net())
    net = nn.parallel.DistributedDataParallel(make_net())
    for a, b in zip(gradients(net), expected, strict=True):
        torch.testing.assert_close(a, b)
    assert set(functional.get_state(net)) == {"module.2.v", "module.3.mask", "module.6.y"}


@pytest.mark.skipif(
    not hasattr(torch.cpu.Stream, "record_event"),
    reason=f"FSDP2 of torch {torch.__version__} on the CPU: 'Stream' has no 'record_event'",
)
def test_fully_sharded(one_process):
    mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
    expected, net = gradients(make_net()), make_net()
    for index in (0, 5):
        fully_shard(net[index], mesh=mesh)
    fully_shard(net, mesh=mesh)
    for a, b in zip(gradients(net), expected, strict=True):
        torch.testing.assert_close(a.full_tensor(), b)
    assert isinstance(net[0], layer.Conv2d)
    assert net[0].step_mode == "m"


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_parametrised_weights(wrap):
    torch.manual_seed(0)
    ours, theirs = layer.Conv2d(1, 2, 3, step_mode="m"), nn.Conv2d(1, 2, 3)
    theirs.load_state_dict(ours.state_dict())
    for module in (ours, theirs):
        torch.manual_seed(1)  # the norm's power iteration starts at random
        wrap(module)
        module.eval()
    torch.testing.assert_close(ours(X), torch.stack([theirs(x) for x in X]))


def test_torchs_own_fusion():
    conv, bn = layer.Conv2d(1, 2, 3, step_mode="m"), layer.BatchNorm2d(2, step_mode="m")
    bn(conv(X))
    conv.eval(), bn.eval()
    fused = fusion.fuse_conv_bn_eval(conv, bn)
    torch.testing.assert_close(fused(X), bn(conv(X)))


def test_weight_averaging():
    net = make_net()
    average = torch.optim.swa_utils.AveragedModel(net)
    net(X)
    average.update_parameters(net)
    assert functional.get_state(average) == {}
    assert set(functional.get_state(copy.deepcopy(net))) == {"2.v", "3.mask", "6.y"}
