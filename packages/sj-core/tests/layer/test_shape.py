"""Flatten and upsample: each step by itself."""

import pytest
import torch

from sj_core import layer


@pytest.mark.parametrize(
    "start, end, expected",
    [
        (1, -1, (7, 2, 60)),
        (0, -1, (7, 120)),
        (2, 3, (7, 2, 3, 20)),
        (0, 1, (7, 6, 4, 5)),
        (-2, -1, (7, 2, 3, 20)),
        (-4, -3, (7, 6, 4, 5)),
        (1, 1, (7, 2, 3, 4, 5)),
    ],
)
def test_flatten_counts_the_axes_of_one_step(start, end, expected):
    x = torch.arange(7 * 120.0).view(7, 2, 3, 4, 5)
    y = layer.Flatten(start, end, step_mode="m")(x)
    assert y.shape == expected
    assert torch.equal(y.flatten(), x.flatten())
    assert y.data_ptr() == x.data_ptr()


def test_flatten_never_reaches_the_time_axis():
    for start, end in ((-5, -1), (4, 4), (1, 4), (0, -5)):
        with pytest.raises(IndexError, match=r"must be in \[-4, 3\]: a step has 4 axes\."):
            layer.Flatten(start, end, step_mode="m")(torch.zeros(7, 2, 3, 4, 5))


def channels_last(images, step_mode):
    x = images.contiguous(memory_format=torch.channels_last)
    return x if step_mode == "s" else x.unflatten(0, (4, -1))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_the_gradient_of_a_channels_last_flatten_is_channels_last(step_mode):
    x = channels_last(torch.randn(8, 3, 6, 5), step_mode).requires_grad_()
    seen = []
    x.register_hook(lambda gradient: seen.append(gradient.stride()))
    y = layer.Flatten(step_mode=step_mode)(x)
    w = torch.randn_like(y)
    (gradient,) = torch.autograd.grad((y * w).sum(), x)
    assert seen == [x.stride()]
    assert torch.equal(gradient, w.view(x.shape))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_channels_last_flatten_can_be_transformed(step_mode):
    flatten = layer.Flatten(step_mode=step_mode)
    x = channels_last(torch.randn(8, 3, 4, 2, dtype=torch.float64), step_mode)
    w = torch.randn(flatten(x).shape, dtype=torch.float64)

    def f(x):
        return (flatten(x).sin() * w).sum()

    expected = x.cos() * w.view(x.shape)
    small = x[:, :2].clone() if step_mode == "m" else x[:2].clone()
    small.requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: flatten(x) ** 2, (small,))
    assert torch.allclose(torch.func.grad(f)(x), expected)
    several = torch.stack([x, 2 * x])
    assert torch.allclose(torch.func.vmap(torch.func.grad(f))(several)[0], expected)
    assert torch.equal(torch.func.jvp(flatten, (x,), (x,))[1], flatten(x))


def test_a_traced_flatten_takes_other_sizes():
    x = channels_last(torch.randn(8, 3, 4, 2), "m").requires_grad_()
    traced = torch.jit.trace(layer.Flatten(step_mode="m"), (x,))
    other = channels_last(torch.randn(12, 5, 2, 2), "m").requires_grad_()
    assert torch.equal(traced(other), other.flatten(2))


@pytest.mark.parametrize("of", ["gaps", "overlaps"])
def test_a_flatten_of_memory_with_gaps_or_overlaps_is_torchs(of):
    images = torch.randn(8, 3, 4, 6).contiguous(memory_format=torch.channels_last)
    if of == "gaps":
        x = images[..., ::2]
    else:
        x = images[:1].expand(8, -1, -1, -1)
    x = x.detach().requires_grad_()
    y = layer.Flatten()(x)
    assert torch.equal(y, torch.nn.Flatten()(x))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.ones(8, *x.shape[1:]))


def test_upsample_repeats_pixels_not_steps():
    x = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
    y = layer.Upsample(scale_factor=2, step_mode="m")(x)
    assert y.flatten().tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]
    assert y.shape == (2, 1, 1, 4)
