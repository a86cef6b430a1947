"""The CPU's ways over several steps at once, block by block, against the CUDA bodies on the host.

Those take a neuron at a time: where a block ends makes no difference to them.
"""

import pytest
import torch
from kernels_reference import NEURON_PARAMS, SURROGATE_PARAMS

from sj_kernels import _ext, _plan, launch, ops


@pytest.fixture(autouse=True, params=[True, False], ids=["together", "apart"])
def rows(request):
    """Both ways that processors ask for: several rows in turn, or one after the other."""
    before = _ext.follows_rows()
    _ext.set_follows_rows(request.param)
    yield
    _ext.set_follows_rows(before)


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


def on_host_bodies(monkeypatch):
    monkeypatch.setattr(launch, "_place", lambda x: (launch._CUDA_ON_HOST, 0))
    monkeypatch.setattr(_plan, "simple", lambda *_: None)


# Steps odd and even; one block, two with a short second one, several of each thread, and blocks
# kept short by their many steps; one step by strips; the last three stream past the caches, two of
# them by phases.
@pytest.mark.parametrize(
    ("T", "n"),
    [
        *[(1, 70), (2, 900), (3, 65), (4, 2**14 + 1), (5, 63), (6, 1100)],
        *[(9, 2**14 + 1), (64, 5000), (2001, 200), (1, 2**18 + 5)],
        *[(7, 2**18 + 16), (7, 2**19 + 80), (701, 4560)],
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
    on_host_bodies(monkeypatch)
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


# One tile of neurons, less, and many with a rest; the last three stream past the caches, of which
# one begins its steps within a cache line.
@pytest.mark.parametrize(
    ("T", "n"),
    [
        *[(1, 64), (2, 900), (3, 63), (4, 2**14 + 1), (4, 128), (6, 5000), (7, 2**14 + 16)],
        *[(2, 2**19 + 16), (3, 2**19 + 5), (4, 2**18 + 80)],
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("surrogate", ["ATan", "Sigmoid"])
@pytest.mark.parametrize("v_reset", [0.1, None])
@pytest.mark.parametrize("neuron", ["if", "lif", "plif"])
def test_from_a_number(monkeypatch, neuron, v_reset, surrogate, dtype, T, n):
    """The first steps of a sequence: no state before them, and no gradient from after them."""
    generator = torch.Generator().manual_seed(T)
    x = torch.randn(T, n, generator=generator, dtype=dtype) + 0.3
    g = torch.randn(T, n, generator=generator, dtype=dtype)
    settings = {"neuron": neuron, "params": NEURON_PARAMS[neuron], "surrogate": surrogate}
    decay = torch.tensor([0.4], dtype=dtype) if neuron == "plif" else None

    def run(detach_reset):
        leaf = x.clone().requires_grad_()
        s, v_next, _, _ = ops.neuron(
            leaf, 0.2, decay=decay, v_reset=v_reset, detach_reset=detach_reset, v_threshold=0.8,
            surrogate_params=SURROGATE_PARAMS[surrogate], **settings,
        )  # fmt: skip
        return s.detach(), v_next.detach(), *torch.autograd.grad(s, leaf, g)

    found = [*run(True), *run(False)]
    on_host_bodies(monkeypatch)
    expected = [*run(True), *run(False)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert found[0].count_nonzero() > 0
    assert found[2].count_nonzero() > x.numel() / 2
    assert T == 1 or not torch.equal(found[2], found[5])  # with and without the reset's gradient
