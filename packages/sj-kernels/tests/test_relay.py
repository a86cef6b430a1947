"""The CPU's backward over many steps, block by block, against the CUDA bodies on the host.

Those take a neuron at a time: where a block ends makes no difference to them.
"""

import pytest
import torch
from kernels_reference import NEURON_PARAMS, SURROGATE_PARAMS

from sj_kernels import _plan, launch, ops


def gradients(x, v, neuron, surrogate, v_reset, detach_reset):
    x, v = x.clone().requires_grad_(), v.clone().requires_grad_()
    decay = torch.tensor([0.4], requires_grad=True) if neuron == "plif" else None
    s, v_next, _, _ = ops.neuron(
        x, v, neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay, surrogate=surrogate,
        surrogate_params=SURROGATE_PARAMS[surrogate], v_reset=v_reset, detach_reset=detach_reset,
    )  # fmt: skip
    heights = torch.linspace(-1, 2, x.numel()).view_as(x)
    ((s * heights).sum() + (v_next * heights[0]).sum()).backward()
    return x.grad, v.grad, None if decay is None else decay.grad


# Steps odd and even; one block, two with a short second one, several of each thread, and blocks
# kept short by their many steps; one step by strips; the last streams past the caches.
@pytest.mark.parametrize(
    ("T", "n"),
    [
        *[(1, 70), (2, 900), (3, 65), (4, 2**14 + 1), (5, 63), (6, 1100)],
        *[(9, 2**14 + 1), (64, 5000), (2001, 200), (1, 2**18 + 5)],
        (7, 2**18 + 16),
    ],
)
@pytest.mark.parametrize("surrogate", ["ATan", "Sigmoid"])
@pytest.mark.parametrize("v_reset", [0.1, None])
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("neuron", ["if", "lif", "plif"])
def test_same_bits(monkeypatch, neuron, detach_reset, v_reset, surrogate, T, n):
    generator = torch.Generator().manual_seed(T)
    x = torch.randn(T, n, generator=generator) + 0.3
    v = 0.3 * torch.randn(n, generator=generator)
    found = gradients(x, v, neuron, surrogate, v_reset, detach_reset)
    monkeypatch.setattr(launch, "_place", lambda x: (launch._CUDA_ON_HOST, 0))
    monkeypatch.setattr(_plan, "simple", lambda *_: None)
    expected = gradients(x, v, neuron, surrogate, v_reset, detach_reset)
    assert all(torch.equal(a, b) for a, b in zip(found[:2], expected[:2], strict=True))
    assert found[0].count_nonzero() > x.numel() / 2
    if neuron == "plif":  # summed in another order
        torch.testing.assert_close(found[2], expected[2], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("neuron", ["lif", "plif"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_repeats(threads, neuron):
    """One step that repeats, and any number of threads: the gradients of its copies."""
    x = torch.linspace(-1, 3, 9000).expand(12, 9000)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        repeated = gradients(x, torch.zeros(9000), neuron, "ATan", 0.0, True)
    finally:
        torch.set_num_threads(before)
    copied = gradients(x.contiguous(), torch.zeros(9000), neuron, "ATan", 0.0, True)
    assert all(torch.equal(a, b) for a, b in zip(repeated[:2], copied[:2], strict=True))
    assert repeated[2] == copied[2]


@pytest.mark.parametrize("T", [2, 4])
@pytest.mark.parametrize("neuron", ["if", "lif", "plif"])
def test_steps_that_lie_far_apart(neuron, T):
    """Rows of 8 MiB and more take another path than their halves: the same gradients."""
    n, half = 2**21 + 80, 2**20
    generator = torch.Generator().manual_seed(T)
    x = torch.randn(T, n, generator=generator) + 0.3
    g = torch.randn(T, n, generator=generator)

    def run(part):
        leaf = x[:, part].contiguous().requires_grad_()
        decay = torch.tensor([0.4]) if neuron == "plif" else None
        s = ops.neuron(leaf, neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay)[0]
        s.backward(g[:, part].contiguous())
        return leaf.grad

    whole = run(slice(None))
    assert torch.equal(whole, torch.cat([run(slice(half)), run(slice(half, None))], 1))
    assert whole.count_nonzero() > x.numel() / 2
