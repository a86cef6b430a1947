"""Every neuron, reset and surrogate against plain torch loops: same bits, same gradients."""

import pytest
import torch
from kernels_reference import NEURON_PARAMS, SURROGATE_PARAMS, run

from sj_kernels import ops
from sj_kernels.info import NEURONS, SURROGATES

SETTINGS = {
    "if": [()],
    "lif": [(0.5, 0.0, 1.0), (0.5, 0.0, 0.0), (1 / 3, -0.2, 1.0), (1 / 3, 0.3, 0.0)],
    "plif": [(0.0, 1.0), (0.2, 0.0)],
    "qif": [(0.5, 0.8, 1.0, 0.0)],
    "eif": [(0.5, 1.0, 0.8, 0.0), (0.3, 0.7, 0.6, -0.1)],
    "izhikevich": [(0.5, 0.8, 1.0, -0.1, 0.5, 0.3, 0.2)],
}
CASES = [(neuron, params) for neuron in SETTINGS for params in SETTINGS[neuron]]


def inputs(shape, dtype, neuron, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *s: torch.randn(*s, generator=generator, dtype=torch.float64)  # noqa: E731
    x = (draw(*shape) + 0.6).to(dtype)
    v = (draw(*shape[1:]) * 0.3).to(dtype)
    w = (draw(*shape[1:]) * 0.1).to(dtype) if neuron == "izhikevich" else None
    decay = torch.tensor([0.37], dtype=dtype) if neuron == "plif" else None
    return x, v, w, decay


def gradients(function, tensors, seed=1):
    leaves = [t.detach().clone().requires_grad_() if t is not None else None for t in tensors]
    outputs = [o for o in function(*leaves) if o is not None]
    generator = torch.Generator().manual_seed(seed)
    loss = 0
    for output in outputs:
        weight = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        loss = loss + (output * weight.to(output.dtype)).sum()
    loss.backward()
    return outputs, [t.grad for t in leaves if t is not None]


def test_tables_agree():
    assert set(NEURON_PARAMS) == set(NEURONS)
    assert set(SURROGATE_PARAMS) == set(SURROGATES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("v_reset", [0.0, -0.1, None])
@pytest.mark.parametrize(("neuron", "params"), CASES)
def test_forward_bits(neuron, params, v_reset, dtype):
    x, v, w, decay = inputs((6, 5, 97), dtype, neuron)
    settings = {
        "neuron": neuron, "params": params, "v_threshold": 1.0, "v_reset": v_reset,
        "surrogate": "ATan", "surrogate_params": (2.0,), "detach_reset": False, "decay": decay,
    }  # fmt: skip
    s, v_next, w_next, v_seq = ops.neuron(x, v, w, store_v_seq=True, **settings)
    expected = run(x, v, w, **settings)
    assert 0.02 < s.mean() < 0.9
    assert torch.equal(s, expected[0])
    if neuron == "eif":  # torch's exp is not correctly rounded: H differs in the last bit
        torch.testing.assert_close(v_seq, expected[3])
        return
    assert torch.equal(v_next, expected[1])
    assert torch.equal(v_seq, expected[3])
    assert w_next is None if w is None else torch.equal(w_next, expected[2])


@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("v_reset", [-0.1, None])
@pytest.mark.parametrize("surrogate", list(SURROGATE_PARAMS))
@pytest.mark.parametrize(("neuron", "params"), CASES)
def test_gradients(neuron, params, surrogate, v_reset, detach_reset):
    x, v, w, decay = inputs((5, 3, 23), torch.float64, neuron, seed=3)
    settings = {
        "neuron": neuron, "params": params, "v_threshold": 0.9, "v_reset": v_reset,
        "surrogate": surrogate, "surrogate_params": SURROGATE_PARAMS[surrogate],
        "detach_reset": detach_reset,
    }  # fmt: skip

    def native(x, v, w, decay):
        return ops.neuron(x, v, w, decay=decay, store_v_seq=True, **settings)

    def reference(x, v, w, decay):
        return run(x, v, w, decay=decay, **settings)

    _, got = gradients(native, (x, v, w, decay))
    _, expected = gradients(reference, (x, v, w, decay))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)

    single = tuple(None if t is None else t.float() for t in (x, v, w, decay))
    spikes, _ = gradients(reference, single)
    if torch.equal(spikes[0].double(), gradients(reference, (x, v, w, decay))[0][0]):
        _, got = gradients(native, single)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("neuron", "params"), CASES)
def test_half(neuron, params, dtype):
    """Arithmetic and states in float32, spikes and gradient of x in the input's dtype."""
    x, v, w, decay = inputs((5, 3, 41), torch.float32, neuron)
    x = x.to(dtype)
    settings = {
        "neuron": neuron, "params": params, "v_threshold": 1.0, "v_reset": 0.0,
        "surrogate": "Sigmoid", "surrogate_params": (4.0,), "detach_reset": True,
    }  # fmt: skip
    native = lambda x, v, w, decay: ops.neuron(x, v, w, decay=decay, **settings)  # noqa: E731
    exact = lambda x, v, w, decay: run(x.float(), v, w, decay=decay, **settings)[:3]  # noqa: E731
    (s, v_next, *_), got = gradients(native, (x, v, w, decay))
    (s_exact, v_exact, *_), expected = gradients(exact, (x, v, w, decay))
    assert s.dtype == dtype
    assert v_next.dtype == torch.float32
    assert torch.equal(s.float(), s_exact)
    torch.testing.assert_close(v_next, v_exact)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)
