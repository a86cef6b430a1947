"""The bodies of the CUDA kernels, run by the host launcher, against the CPU driver."""

import pytest
import torch
from kernels_reference import NEURON_PARAMS, SURROGATE_PARAMS

from sj_kernels import _plan, launch, ops


@pytest.fixture
def both(monkeypatch):
    """Run a function with the CPU driver, then with the CUDA bodies on the host."""

    def run(function):
        first = function()
        monkeypatch.setattr(launch, "_place", lambda x: (launch._CUDA_ON_HOST, 0))
        monkeypatch.setattr(_plan, "simple", lambda *_: None)
        second = function()
        monkeypatch.undo()
        return first, second

    return run


def outputs_and_gradients(x, v, w, decay, threshold, scale, **settings):
    leaves = [None if t is None else t.clone().requires_grad_() for t in (x, v, w, decay)]
    outputs = ops.neuron(
        *leaves[:3], decay=leaves[3], v_threshold=threshold, output_scale=scale, **settings
    )
    outputs = [o for o in outputs if o is not None]
    generator = torch.Generator().manual_seed(5)
    loss = 0
    for o in outputs:
        loss = loss + (o * torch.randn(o.shape, generator=generator).to(o.dtype)).sum()
    loss.backward()
    return [*outputs, *(t.grad for t in leaves if t is not None)]


def same(a, b):
    """Equal in every bit but those of NaN (with a soft reset the exponential of EIF escapes)."""
    return torch.equal(a.nan_to_num(nan=12.5), b.nan_to_num(nan=12.5))


# A segment exactly, less, and several with a rest, each with less and more than a block of threads;
# and few steps, which the CPU takes by strips.
@pytest.mark.parametrize("shape", [(32, 2, 4, 16), (5, 1, 3, 7), (135, 3, 5, 11), (4, 2, 11, 13)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("v_reset", [-0.1, None])
@pytest.mark.parametrize("neuron", list(NEURON_PARAMS))
def test_equal_to_cpu(both, neuron, v_reset, detach_reset, dtype, shape):
    generator = torch.Generator().manual_seed(2)
    state = torch.float64 if dtype == torch.float64 else torch.float32

    def draw(*s):
        return torch.randn(*s, generator=generator, dtype=torch.float64)

    x = (draw(*shape) + 0.6).to(dtype)
    v = (0.3 * draw(*shape[1:])).to(state)
    w = (0.1 * draw(*shape[1:])).to(state) if neuron == "izhikevich" else None
    decay = torch.tensor([0.4], dtype=state) if neuron == "plif" else None
    threshold = torch.linspace(0.8, 1.2, shape[2], dtype=state)
    scale = torch.linspace(0.5, 2, shape[2], dtype=state)
    settings = {
        "neuron": neuron, "params": NEURON_PARAMS[neuron], "v_reset": v_reset,
        "surrogate": "Sigmoid", "surrogate_params": (4.0,), "detach_reset": detach_reset,
        "store_v_seq": True,
    }  # fmt: skip
    cpu, body = both(lambda: outputs_and_gradients(x, v, w, decay, threshold, scale, **settings))
    assert cpu[0].count_nonzero() > 0
    # The same header and order of operations: the same bits, but for the sum over neurons.
    last = len(cpu) - (decay is not None)
    assert all(same(a, b) for a, b in zip(cpu[:last], body[:last], strict=True))
    torch.testing.assert_close(cpu[last:], body[last:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("surrogate", list(SURROGATE_PARAMS))
def test_surrogates(both, surrogate):
    x = torch.randn(4, 300, generator=torch.Generator().manual_seed(0)) + 0.6
    settings = {
        "neuron": "if", "params": (), "v_reset": 0.0, "surrogate": surrogate,
        "surrogate_params": SURROGATE_PARAMS[surrogate], "detach_reset": False,
    }  # fmt: skip
    cpu, body = both(
        lambda: outputs_and_gradients(x, torch.zeros(300), None, None, 1.0, None, **settings)
    )
    assert all(same(a, b) for a, b in zip(cpu, body, strict=True))


# Steps for which a block has all its threads, half of them and a quarter; and several segments.
@pytest.mark.parametrize("T", [3, 16, 20, 40, 64, 67])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_wide_accesses(both, dtype, T):
    """Enough neurons for several of them per thread; a filled state."""
    n = 262144
    x = (torch.randn(T, n, generator=torch.Generator().manual_seed(0)) + 0.6).to(dtype)
    settings = {
        "neuron": "lif", "params": (0.5, 0.0, 1.0), "v_reset": 0.0, "surrogate": "ATan",
        "surrogate_params": (2.0,), "detach_reset": True,
    }  # fmt: skip

    def run():
        leaf = x.clone().requires_grad_()
        s, v, _, _ = ops.neuron(leaf, 0.2, v_threshold=1.0, **settings)
        (s * torch.linspace(-1, 1, n).to(dtype)).sum().backward()
        return s, v, leaf.grad

    cpu, body = both(run)
    assert all(same(a, b) for a, b in zip(cpu, body, strict=True))


# Outputs of 4 MiB and more pass the caches on the CPU, straight from registers where rows begin on
# a line of the cache; for those of half a MiB and more the lines are fetched ahead.
@pytest.mark.parametrize("T", [4, 6])
@pytest.mark.parametrize("n", [2**18 + 64, 2**18 + 7, 2**17 + 64, 2**17 + 7])
@pytest.mark.parametrize("channel", [False, True])
@pytest.mark.parametrize("surrogate", ["ATan", "Erf"])
@pytest.mark.parametrize("neuron", ["lif", "plif"])
def test_large_outputs(both, neuron, surrogate, channel, n, T):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(T, 1, n, generator=generator) + 0.6
    v = 0.3 * torch.randn(1, n, generator=generator)
    decay = torch.tensor([0.4]) if neuron == "plif" else None
    heights = torch.linspace(0.5, 1.5, n) if channel else None

    def run():
        return outputs_and_gradients(
            x, v, None, decay, heights if channel else 1.0, heights, neuron=neuron,
            params=NEURON_PARAMS[neuron], surrogate=surrogate,
            surrogate_params=SURROGATE_PARAMS[surrogate], detach_reset=True, v_reset=0.0,
        )  # fmt: skip

    first, second = both(run)
    *same_bits, (g_decay, other) = zip(first, second, strict=True)
    if decay is None:
        same_bits.append((g_decay, other))
    else:  # summed in another order
        torch.testing.assert_close(g_decay, other, rtol=1e-4, atol=1e-4)
    for a, b in same_bits:
        assert torch.equal(a, b)
