"""The CUDA driver on a GPU: against the CPU, on streams, in a graph, through the registered ops."""

import pytest
import torch
from kernels_reference import NEURON_PARAMS, SURROGATE_PARAMS, opcheck

import sj_kernels
from sj_kernels import ops

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available() or "cuda" not in sj_kernels.combinations()["device"],
        reason="needs a CUDA device and sj-kernels built with CUDA",
    ),
]

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def run(device, neuron, dtype, shape=(27, 3, 5, 11), surrogate="Sigmoid", layout=None, **settings):
    generator = torch.Generator().manual_seed(2)
    state = torch.float64 if dtype == torch.float64 else torch.float32
    x = (torch.randn(shape, generator=generator) + 0.6).to(dtype)
    v = (0.3 * torch.randn(shape[1:], generator=generator)).to(state)
    if layout is not None:
        x = layout(x)
    two = neuron == "izhikevich"
    w = (0.1 * torch.randn(shape[1:], generator=generator)).to(state) if two else None
    decay = torch.tensor([0.4], dtype=state) if neuron == "plif" else None
    leaves = [
        None if t is None else t.to(device).detach().requires_grad_() for t in (x, v, w, decay)
    ]
    for name, value in settings.items():
        if isinstance(value, torch.Tensor):
            settings[name] = value.to(device, state)
    outputs = ops.neuron(
        *leaves[:3], neuron=neuron, params=NEURON_PARAMS[neuron], decay=leaves[3],
        surrogate=surrogate, surrogate_params=SURROGATE_PARAMS[surrogate], store_v_seq=True,
        **settings,
    )  # fmt: skip
    outputs = [o for o in outputs if o is not None]
    loss = 0
    for o in outputs:
        weight = torch.linspace(-1, 1, o.numel(), dtype=torch.float64).view(o.shape)
        loss = loss + (o * weight.to(device, o.dtype)).sum()
    loss.backward()
    return [o.detach().cpu() for o in (*outputs, *(t.grad for t in leaves if t is not None))]


def close(a, b, dtype):
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype != torch.float64 else {}
    if a.dtype in (torch.float16, torch.bfloat16):
        tolerance = {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(a, b, equal_nan=True, **tolerance)


@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("v_reset", [-0.1, None])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("neuron", list(NEURON_PARAMS))
def test_equal_to_cpu(neuron, dtype, v_reset, detach_reset):
    settings = {
        "v_reset": v_reset,
        "detach_reset": detach_reset,
        "v_threshold": torch.linspace(0.8, 1.2, 5),
        "output_scale": torch.linspace(0.5, 2, 5),
    }
    cpu, cuda = (run(device, neuron, dtype, **settings) for device in ("cpu", "cuda"))
    assert torch.equal(cpu[0], cuda[0])
    for a, b in zip(cpu, cuda, strict=True):
        close(a, b, dtype)


@pytest.mark.parametrize("surrogate", list(SURROGATE_PARAMS))
def test_surrogates(surrogate):
    for dtype in (torch.float32, torch.float64):
        cpu, cuda = (run(d, "lif", dtype, surrogate=surrogate) for d in ("cpu", "cuda"))
        for a, b in zip(cpu, cuda, strict=True):
            close(a, b, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("T", [1, 16, 17, 64, 65, 150])
def test_wide(T, dtype):
    cpu, cuda = (run(d, "lif", dtype, (T, 2**18)) for d in ("cpu", "cuda"))
    assert torch.equal(cpu[0], cuda[0])
    close(cpu[3], cuda[3], dtype)


@pytest.mark.parametrize("neuron", ["lif", "plif", "izhikevich"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("T", [32, 33, 64, 65, 135])
def test_segments(T, dtype, neuron):
    cpu, cuda = (run(d, neuron, dtype, (T, 3, 5, 11)) for d in ("cpu", "cuda"))
    assert torch.equal(cpu[0], cuda[0])
    for a, b in zip(cpu, cuda, strict=True):
        close(a, b, dtype)


def test_channels_last():
    def layout(x):
        return x.movedim(2, -1).contiguous().movedim(-1, 2)

    cpu, cuda = (
        run(d, "lif", torch.float32, (4, 2, 3, 8, 8), layout=layout, v_threshold=torch.ones(3))
        for d in ("cpu", "cuda")
    )
    assert torch.equal(cpu[0], cuda[0])
    assert cpu[0].stride() == cuda[0].stride()


def test_streams():
    """A kernel runs on the current stream: it sees what was queued there before it."""
    stream = torch.cuda.Stream()
    x = torch.zeros(8, 2**20, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        x.fill_(2.0)
        s, _, _, _ = ops.neuron(x, neuron="if")
    stream.synchronize()
    assert bool((s == 1).all())


def test_graph():
    x = torch.randn(8, 4096, device="cuda", requires_grad=True)
    grad = torch.randn(8, 4096, device="cuda")

    def step():
        s, _, _, _ = ops.neuron(x, neuron="lif", params=(0.5, 0.0, 1.0))
        return s, torch.autograd.grad(s, x, grad)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = step()
    with torch.no_grad():
        x.copy_(torch.randn(8, 4096))
    graph.replay()
    for a, b in zip(outputs, step(), strict=True):
        assert torch.equal(a, b)


@opcheck
@pytest.mark.parametrize("neuron", list(NEURON_PARAMS))
def test_opcheck(neuron):
    two = neuron == "izhikevich"
    x = torch.randn(3, 4, 5, device="cuda", requires_grad=True)
    v = torch.zeros(4, 5, device="cuda", requires_grad=True)
    w = torch.zeros(4, 5, device="cuda", requires_grad=True) if two else None
    decay = torch.tensor([0.4], device="cuda", requires_grad=True) if neuron == "plif" else None
    torch.library.opcheck(
        torch.ops.sj.neuron_forward.default,
        (
            x, v, 0.0, w, 0.0, decay, None, None, neuron, list(NEURON_PARAMS[neuron]), 1.0, 0.0,
            "ATan", [2.0], False, True, True, 1.0,
        ),
    )  # fmt: skip


def test_state_on_another_device():
    with pytest.raises(ValueError, match=r"`v` \(on cpu\) must be on the device of `x`"):
        ops.neuron(torch.zeros(3, 4, device="cuda"), torch.zeros(4), neuron="if")
