"""Any dense layout is taken as it is and kept by the outputs; others give the same values."""

import pytest
import torch
from kernels_reference import NEURON_PARAMS

from sj_kernels import geometry, launch, ops
from sj_kernels.layout import dense_steps, is_dense

SETTINGS = {"neuron": "lif", "params": (0.4, 0.1, 1.0), "surrogate": "ATan"}


def folded(x):
    """[T, N, C, H, W] in which every image is channels-last."""
    T, N = x.shape[:2]
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, N))


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": folded,
    "permuted": lambda x: x.permute(0, 3, 1, 4, 2).contiguous().permute(0, 2, 4, 1, 3),
    "batch_first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "strided": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "expanded": lambda x: x[:, :, :, :, :1].expand(x.shape),
    "repeated": lambda x: x[:1].expand(x.shape),
    "repeated_channels_last": lambda x: folded(x)[:1].expand(x.shape),
}
DENSE = ("contiguous", "channels_last", "permuted")


def run(x, v, threshold, scale):
    leaf, state = x.detach().requires_grad_(), v.detach().requires_grad_()
    s, v_next, _, v_seq = ops.neuron(
        leaf, state, surrogate_params=(2.0,), v_threshold=threshold, output_scale=scale,
        store_v_seq=True, **SETTINGS,
    )  # fmt: skip
    weight = torch.linspace(-1, 1, s.numel()).view(s.shape)
    ((s + v_seq) * weight).sum().backward()
    return s, v_next, v_seq, leaf.grad, state.grad


@pytest.mark.parametrize("channel", [False, True])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_values_and_strides(layout, channel, monkeypatch):
    x = torch.randn(4, 2, 3, 5, 6, generator=torch.Generator().manual_seed(0)) + 0.6
    x = LAYOUTS[layout](x)
    v = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(1)) * 0.3
    threshold = torch.tensor([0.7, 1.0, 1.3]) if channel else 1.0
    scale = torch.tensor([1.0, 2.0, 3.0]) if channel else 1.0
    expected = run(x.contiguous(), v, threshold, scale)
    got = run(x, v, threshold, scale)
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)
    if layout in DENSE:
        assert got[0].stride() == got[2].stride() == x.stride()
        assert got[1].stride() == x[0].stride()
        assert geometry.geometry(x, True)[0] is x


@pytest.mark.parametrize("place", ["cpu", "cuda_on_host"])
@pytest.mark.parametrize("neuron", ["lif", "plif", "izhikevich"])
def test_a_repeated_step_is_read_in_place(neuron, place, monkeypatch):
    if place == "cuda_on_host":
        monkeypatch.setattr(launch, "_place", lambda x: (launch._CUDA_ON_HOST, 0))
    one = folded(torch.randn(1, 2, 3, 5, 6, generator=torch.Generator().manual_seed(0)) + 0.6)
    repeated = one.expand(19, *one.shape[1:])
    results = []
    for x in (repeated, repeated.contiguous()):
        leaf = x.detach().requires_grad_()
        decay = torch.tensor(0.4, requires_grad=True) if neuron == "plif" else None
        s, *_ = ops.neuron(leaf, neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay)
        (s * torch.linspace(-1, 1, s.numel()).view(s.shape)).sum().backward()
        results.append((s, leaf.grad, None if decay is None else decay.grad))
    assert results[0][0].stride() == (180, *one.stride()[1:])
    assert geometry.geometry(repeated, True)[0] is repeated
    for got, want in zip(*results, strict=True):
        if got is not None and got.dim():
            assert torch.equal(got, want)
        elif got is not None:  # summed in another order
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_single_step_channels_last():
    x = torch.randn(4, 3, 5, 6).contiguous(memory_format=torch.channels_last)
    s, v, _, _ = ops.neuron(x, multi_step=False, **SETTINGS, surrogate_params=(2.0,))
    assert s.is_contiguous(memory_format=torch.channels_last)
    assert v.is_contiguous(memory_format=torch.channels_last)
    again, *_ = ops.neuron(x, v, multi_step=False, **SETTINGS, surrogate_params=(2.0,))
    assert again.stride() == x.stride()


@pytest.mark.parametrize(
    "shape, strides, dense",
    [
        ((2, 3), (3, 1), True),
        ((2, 3), (1, 2), True),
        ((2, 1, 3), (3, 77, 1), True),
        ((2, 3), (6, 2), False),
        ((2, 3), (0, 1), False),
        ((), (), True),
        ((1,), (5,), True),
    ],
)
def test_is_dense(shape, strides, dense):
    assert is_dense(shape, strides) is dense


def test_one_step_of_any_stride():
    x = torch.randn(2, 3, 4)[:1, :, :]
    assert dense_steps(x.as_strided((1, 3, 4), (999, 4, 1)), True)[0].stride(0) == 999


def test_batch_first_is_copied_once():
    x = torch.randn(3, 4, 5).transpose(0, 1)
    dense, repeats, strides = dense_steps(x, True)
    assert dense.is_contiguous()
    assert not repeats
    assert strides == (5, 1)
