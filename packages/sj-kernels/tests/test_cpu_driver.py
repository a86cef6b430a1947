"""The CPU driver: instruction sets, threads, blocks, denormals, saved memory."""

import os
import subprocess
import sys

import pytest
import torch
from kernels_reference import NEURON_PARAMS, SURROGATE_PARAMS, surrogate_gradient

from sj_kernels import _ext, build_info, ops


@pytest.fixture
def isa():
    chosen = _ext.isa_in_use()
    yield _ext.isa_select
    _ext.isa_select(chosen)


def run(x, neuron="lif", surrogate="Sigmoid", **settings):
    leaf = x.clone().requires_grad_()
    decay = torch.tensor([0.4], dtype=x.dtype, requires_grad=True) if neuron == "plif" else None
    s, v, _, _ = ops.neuron(
        leaf, 0.1, neuron=neuron, params=NEURON_PARAMS[neuron], surrogate=surrogate,
        surrogate_params=SURROGATE_PARAMS[surrogate], decay=decay, **settings,
    )  # fmt: skip
    (s * torch.linspace(-1, 1, s[0].numel()).view(s[0].shape).to(s.dtype)).sum().backward()
    return [s, v, leaf.grad] + ([decay.grad] if decay is not None else [])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("neuron", ["if", "lif", "qif", "eif", "izhikevich"])
def test_instruction_sets_agree(isa, neuron, dtype):
    """No contraction, no approximation that differs: every instruction set gives the same bits."""
    x = (torch.randn(7, 5, 83, generator=torch.Generator().manual_seed(0)) + 0.6).to(dtype)
    results = []
    for name in _ext.isa_available():
        isa(name)
        results.append([run(x, neuron, surrogate) for surrogate in SURROGATE_PARAMS])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert all(torch.equal(i, j) for i, j in zip(a, b, strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP has another interface")
@pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="torch has no OpenMP")
def test_threads_are_those_of_torch():
    assert build_info()["parallel_backend"] == "openmp"


def test_unknown_instruction_set():
    with pytest.raises(ValueError, match="`name`"):
        _ext.isa_select("sse9")


# Larger than a block and than the limit for threads; ragged; longer than H fits a block's history.
@pytest.mark.parametrize("shape", [(4, 16411), (3, 65536), (700, 257), (1, 40000)])
@pytest.mark.parametrize("neuron", ["lif", "plif"])
def test_threads_agree(neuron, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 0.6
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run(x, neuron))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("surrogate", list(SURROGATE_PARAMS))
def test_surrogate_accuracy(surrogate, dtype):
    """Against float64, over twenty octaves on both sides of the threshold."""
    scale = torch.logspace(-4, 2, 4001, dtype=torch.float64)
    x = torch.cat([-scale.flip(0), torch.zeros(1, dtype=torch.float64), scale]).to(dtype)
    leaf = x.clone().requires_grad_()
    params = SURROGATE_PARAMS[surrogate]
    s, *_ = ops.neuron(
        leaf, neuron="if", v_threshold=0.0, multi_step=False, surrogate=surrogate,
        surrogate_params=params,
    )  # fmt: skip
    s.sum().backward()
    expected = surrogate_gradient(surrogate, params, x.double())
    tolerance = (
        {"rtol": 3e-6, "atol": 1e-7} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-14}
    )
    torch.testing.assert_close(leaf.grad.double(), expected, **tolerance)


def test_all_halves_survive():
    """float16 in, H = X in float32, V out: every finite value, subnormals included."""
    bits = torch.arange(0, 0x7C00, dtype=torch.int32)
    x = torch.cat([bits, bits - 0x8000]).to(torch.int16).view(torch.float16)
    for name in _ext.isa_available():
        _ext.isa_select(name)
        _, v, _, _ = ops.neuron(x, neuron="if", v_threshold=1e9, multi_step=False)
        assert torch.equal(v, x.float())
        leaf = x.clone().requires_grad_()
        _, v, _, _ = ops.neuron(leaf, neuron="if", v_threshold=1e9, multi_step=False)
        v.backward(x.float())
        assert torch.equal(leaf.grad, x)
    _ext.isa_select(_ext.isa_available()[0])


def test_denormals_are_flushed_and_the_mode_is_restored():
    tiny = torch.full((1, 64), 1e-39)
    _, v, _, _ = ops.neuron(tiny, neuron="if", v_threshold=1.0)
    assert torch.equal(v, torch.zeros(64))
    assert (torch.tensor([1e-39]) * 0.5).item() != 0


@pytest.mark.parametrize("neuron", list(NEURON_PARAMS))
def test_saves_only_the_input(neuron):
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        run_input = torch.randn(8, 1000, requires_grad=True)
        decay = torch.tensor([0.4], requires_grad=True) if neuron == "plif" else None
        ops.neuron(run_input, neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    assert sum(storages.values()) <= 4.2 * run_input.numel()


# Backward keeps H of all steps of a block: 192 MB here, where 64 more are allowed.
OUT_OF_MEMORY = """
import resource
import torch
from sj_kernels import ops

torch.set_num_threads(2)
x = torch.zeros(3_000_000, 1).requires_grad_()
s = ops.neuron(x, neuron="qif", params=(0.5, 0.8, 1.0, 0.0))[0]
gradient = torch.ones_like(s)
ops.neuron(x[:50000], neuron="if")[0].sum().backward()
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    s.backward(gradient)
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.skipif(
    bool(_ext.build()["sanitizers"]), reason="AddressSanitizer ends a process short of memory"
)
def test_out_of_memory_is_an_exception():
    run = [sys.executable, "-c", OUT_OF_MEMORY]
    result = subprocess.run(run, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "refused\n"


def free_memory():
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return 0


@pytest.mark.slow
@pytest.mark.skipif(free_memory() < 11 * 2**30, reason="needs 11 GiB of free memory")
def test_more_than_2_31_elements():
    """Rows past 2^31 elements are indexed in 64 bits."""
    n, T = 2**20 + 3, 2048
    x = torch.zeros(T, n, dtype=torch.bfloat16)
    assert x.numel() > 2**31
    x[-1, -1] = 2.0
    s, v, _, _ = ops.neuron(x, neuron="if")
    assert s[-1, -1] == 1
    assert s[-1].sum() == 1
    assert s[0].sum() == 0
    assert torch.equal(v, torch.zeros(n))
