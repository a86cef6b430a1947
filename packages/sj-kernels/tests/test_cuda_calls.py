"""Ways into the CUDA kernels: layouts and sizes, other devices, threads, the step API, cells."""

import threading

import pytest
import torch

import sj_kernels
from sj_kernels import neuron, ops, rnn

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available() or "cuda" not in sj_kernels.combinations()["device"],
        reason="needs a CUDA device and sj-kernels built with CUDA",
    ),
]

LIF = {"neuron": "lif", "params": (0.5, 0.0, 1.0)}


def draw(*shape, dtype=torch.float32):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 0.6
    x.view(-1)[0] = 5.0  # a spike for certain
    return x.to("cuda", dtype)


def spikes_and_gradient(x, **settings):
    x = x.detach().requires_grad_()
    s = ops.neuron(x, **(LIF | settings))[0]
    (
        s * torch.linspace(-1, 1, s[0].numel(), device=x.device).view_as(s[0]).to(s.dtype)
    ).sum().backward()
    return s.detach(), x.grad


def agrees_with_cpu(x, **settings):
    on_cpu = {k: t.cpu() if isinstance(t, torch.Tensor) else t for k, t in settings.items()}
    s, g = spikes_and_gradient(x, **settings)
    expected_s, expected_g = spikes_and_gradient(x.cpu(), **on_cpu)
    assert expected_s.any()
    assert torch.equal(s.cpu(), expected_s)
    torch.testing.assert_close(g.cpu(), expected_g, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("offset", [0, 1, 2, 4])
@pytest.mark.parametrize("n", [2**18, 2**18 + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_views_that_begin_anywhere(dtype, n, offset):
    """Accesses of 16 bytes are for addresses that are multiples of it."""
    memory = draw(5 * n + offset, dtype=dtype)
    agrees_with_cpu(memory[offset:].view(5, n))


def test_step_that_repeats():
    agrees_with_cpu(draw(1, 3, 70).expand(9, 3, 70))


def test_steps_apart():
    agrees_with_cpu(draw(4, 2, 3, 50)[:, 0])


@pytest.mark.parametrize("size", [1, 31, 127, 128, 129, 1023, 1025, 4097])
@pytest.mark.parametrize("T", [1, 2, 3, 4, 5, 8, 9, 63, 64, 65, 129])
def test_sizes(T, size):
    agrees_with_cpu(draw(T, size))


def test_empty():
    for shape in ((0, 3), (4, 0)):
        s, v, _, _ = ops.neuron(torch.zeros(shape, device="cuda"), 0.5, **LIF)
        assert s.shape == shape
        assert torch.equal(v.cpu(), torch.full(shape[1:], 0.5))


@pytest.mark.parametrize("n", [2**30 + 4, 2**30 + 1])
def test_more_elements_than_32_bits_count(n):
    """Two steps of 2^30 neurons and some: with one neuron per thread and with several."""
    if torch.cuda.get_device_properties(0).total_memory < 30e9:
        pytest.skip("needs 30 GB")
    x = torch.zeros(2, n, device="cuda", dtype=torch.float16)
    x[:, -3:] = 1.0
    x.requires_grad_()
    s, v, _, _ = ops.neuron(x, neuron="if", surrogate="Rect", surrogate_params=(1.0,))
    assert int((s != 0).sum()) == 6
    assert bool((s[:, -3:] == 1).all())
    assert int((v != 0).sum()) == 0
    (g,) = torch.autograd.grad(s, x, torch.ones(1, device="cuda", dtype=x.dtype).expand_as(s))
    # Rect is 1 within 1/2 of the threshold, that is where there is input. In the last step gH = 1;
    # in the first gH = 1 + gH_1 (1 - s + (0 - h) * 1) = 0, since the reset is not detached.
    assert int((g != 0).sum()) == 3
    assert bool((g[1, -3:] == 1).all())


def test_current_device_stays():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two devices")
    x = draw(5, 300).to("cuda:1")
    assert torch.cuda.current_device() == 0
    agrees_with_cpu(x)
    assert torch.cuda.current_device() == 0


def test_threads():
    """Each on a stream of its own, forward and backward at once."""
    inputs = [draw(8, 3000 + k) for k in range(4)]
    expected = [spikes_and_gradient(x) for x in inputs]
    torch.cuda.synchronize()
    wrong = []

    def work(x, want):
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(20):
                got = spikes_and_gradient(x)
                torch.cuda.current_stream().synchronize()
                if not all(map(torch.equal, got, want)):
                    wrong.append(x)

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(inputs, expected, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_transforms():
    x = draw(3, 6, 40)

    def loss(x):
        return ops.neuron(x, **LIF)[0].square().sum()

    batched = torch.func.vmap(torch.func.grad(loss))(x)
    assert torch.equal(batched, torch.stack([torch.func.grad(loss)(one) for one in x]))


def test_step_api():
    torch.manual_seed(0)
    x, v = torch.randn(6, 4, 50) + 0.8, torch.zeros(4, 50)

    def all_of(device):
        a, b = x.to(device), v.to(device)
        s, v_next = neuron.LIF_hard_reset_fptt(a, b, 1.0, 0.0, 0.5, False)
        outputs = neuron.LIF_hard_reset_fptt_with_grad(a, b, 1.0, 0.0, 2.0, False, 0, 0.5, False)
        gradients = neuron.LIF_bptt(torch.ones_like(s), b, *outputs[2:], 0.5, False)
        return [s, v_next, *outputs, *gradients]

    for ours, expected in zip(all_of("cuda"), all_of("cpu"), strict=True):
        torch.testing.assert_close(ours.cpu(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
@pytest.mark.parametrize("kind, gates", [("lstm", 4), ("gru", 3), ("vanilla", 1)])
def test_cells(kind, gates, dtype):
    torch.manual_seed(0)
    cell = rnn.Cell(kind, "ATan", (2.0,), "Erf", (2.0,), 1.5 if kind == "lstm" else None)
    state = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    pre, hw = (torch.randn(33, gates * 40).to(dtype) for _ in range(2))
    h, c, gy = (torch.randn(33, 40).to(dtype) for _ in range(3))
    gh, gc = (torch.randn(33, 40).to(state) for _ in range(2))

    def both_ways(device):
        t = [a.clone().to(device) for a in (pre, hw, h, c, gy, gh, gc)]
        c_of = t[3] if kind == "lstm" else None
        gc_of = t[6] if kind == "lstm" else None
        h_out, aux = torch.empty_like(t[2]), torch.empty_like(t[2])
        aux_of = None if kind == "vanilla" else aux
        gp, gn = torch.empty_like(t[0]), torch.empty_like(t[2])
        gn_of = gn if kind == "gru" else None
        cell.step_forward(t[0], t[1], t[2], c_of, h_out, aux_of)
        cell.step_backward(t[0], t[2], c_of, aux_of, t[4], t[5], gc_of, gp, gn_of, t[5], gc_of)
        return [a for a in (t[0], h_out, aux_of, gp, gn_of, t[5], gc_of) if a is not None]

    for ours, expected in zip(both_ways("cuda"), both_ways("cpu"), strict=True):
        tolerance = {} if dtype in (torch.float32, torch.float64) else {"rtol": 1e-2, "atol": 1e-2}
        torch.testing.assert_close(ours.cpu(), expected, **tolerance)
