import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from sj_core import functional, layer, neuron
from sj_train import distributed
from sj_train._sync_norm import _synchronised

WORKER = Path(__file__).with_name("distributed_worker.py")
NO_FSDP = pytest.mark.skipif(
    not distributed._fsdp_runs_on_cpu(),
    reason=f"FSDP2 of torch {torch.__version__} on the CPU: 'Stream' has no 'record_event'",
)
pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch has no gloo")


def worker():
    spec = importlib.util.spec_from_file_location("distributed_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two processes computed, by case: a list over ranks."""
    out = tmp_path_factory.mktemp("ranks")
    cases = ["ddp", "ddp_norm", "uneven", "state", "accumulation", "sums"]
    if distributed._fsdp_runs_on_cpu():
        cases += ["fsdp", "fsdp_norm"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), ",".join(cases), str(out)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return {
        case: [torch.load(out / f"{case}-{rank}.pt", weights_only=True) for rank in range(2)]
        for case in cases
    }


@pytest.mark.parametrize(
    "case",
    ["ddp", "ddp_norm", *(pytest.param(name, marks=NO_FSDP) for name in ("fsdp", "fsdp_norm"))],
)
def test_three_steps_on_half_batches_are_those_of_one_process_on_whole_ones(ranks, case):
    build = worker().normalised if "norm" in case else worker().network
    expected = worker().single(build())
    for state in ranks[case]:
        assert list(state) == list(expected)
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, rtol=0, atol=1e-6)
    first, start = next(iter(build().state_dict().items()))
    assert not torch.allclose(expected[first], start, atol=1e-3)


def test_statistics_of_unequal_shares_are_those_of_all_samples(ranks):
    x = torch.cat([worker().share_of(rank) for rank in range(2)]).requires_grad_()
    norm = nn.BatchNorm1d(3).double()
    y = norm(x)
    (y**3).sum().backward()
    shares = ranks["uneven"]
    for name, expected in {"y": y.detach(), "x.grad": x.grad}.items():
        torch.testing.assert_close(torch.cat([seen[name] for seen in shares]), expected)
    for name, parameter in norm.named_parameters():
        # Each rank has its part of the sum; DDP adds them up.
        total = sum(seen[f"{name}.grad"] for seen in shares)
        torch.testing.assert_close(total, parameter.grad)
    for seen in shares:
        for name, value in norm.state_dict().items():
            torch.testing.assert_close(seen[name], value)


def test_the_state_of_a_rank_is_its_own(ranks):
    for rank, states in enumerate(ranks["state"]):
        net = worker().network(norm=True)
        x_seq, _ = worker().batch(rank, size=4 + rank)
        for _ in range(2):
            functional.detach_net(net)
            net(x_seq)
        expected = functional.get_state(net)
        assert states.keys() == expected.keys()
        for name, value in expected.items():
            assert value.shape[0] == 4 + rank
            torch.testing.assert_close(states[name], value.detach())


def test_gradients_accumulate_under_no_sync(ranks):
    net = worker().network()
    model = distributed.SequenceForward(net)
    for step in range(2):
        x_seq, target = worker().batch(step)
        F.cross_entropy(model(x_seq).mean(0), target).backward()
    for gradients in ranks["accumulation"]:
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=1e-9)


def test_sums_count_every_sample_once(ranks):
    for sums in ranks["sums"]:
        assert sums["right"] == 5
        assert sums["count"] == 8


def test_without_a_group_sums_are_as_they_are():
    assert distributed.reduce_sums([1.5, torch.tensor(2)]) == [1.5, 2.0]


@pytest.mark.parametrize("wrap", [distributed.wrap_ddp, distributed.wrap_fsdp])
def test_a_missing_process_group_is_an_error(wrap):
    with pytest.raises(RuntimeError, match=f"`{wrap.__name__}` needs a process group"):
        wrap(nn.Linear(2, 2))


def test_fsdp_on_a_cpu_that_cannot_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cpu, "Stream", object)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(RuntimeError, match=r"`net` is on the CPU, where FSDP2 of torch .*ddp`"):
            distributed.wrap_fsdp(nn.Linear(2, 2))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("mode", ["s", "m"])
def test_a_sequence_is_one_forward_in_both_modes(mode):
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(3, 4), neuron.LIFNode(), layer.Linear(4, 2))
    x_seq = 3 * torch.rand(5, 2, 3)
    expected = torch.stack([net(x) for x in x_seq])
    functional.set_step_mode(net, mode)
    model = distributed.SequenceForward(net)
    torch.testing.assert_close(model(x_seq), expected)
    torch.testing.assert_close(model(x_seq), expected)


def test_a_state_is_carried_when_asked():
    net = nn.Sequential(neuron.IFNode(v_threshold=10.0))
    functional.set_step_mode(net, "m")
    model = distributed.SequenceForward(net, reset=False)
    x_seq = torch.ones(3, 1, 1, requires_grad=True)
    model(x_seq)
    model(x_seq)
    assert net[0].v.item() == 6.0
    (gradient,) = torch.autograd.grad(net[0].v.sum(), x_seq)
    # Only the second forward is in the graph.
    assert gradient.flatten().tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-4)


def test_on_a_gpu_a_layer_with_a_time_axis_ends_in_the_fused_one(monkeypatch):
    norm, plain = (layer.BatchNorm2d(3, step_mode="m") for _ in range(2))
    norm.__class__ = _synchronised(layer.BatchNorm2d, True)
    x_seq = torch.randn(4, 2, 3, 5, 5)
    # Without a process group it is the ordinary normalisation, over T, N, H and W.
    torch.testing.assert_close(norm(x_seq), plain(x_seq))
    torch.testing.assert_close(norm.running_var, plain.running_var)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    with pytest.raises(ValueError, match="SyncBatchNorm expected input tensor to be on"):
        norm(x_seq)
