"""Folding time into the batch leaves the memory, and the order of its axes, as they are."""

import pytest
import torch

from sj_core import layer


def test_folding_copies_neither_contiguous_nor_channels_last_memory():
    x = torch.randn(4, 2, 3, 8, 8)
    assert layer.fold_time(x).data_ptr() == x.data_ptr()
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    folded = layer.fold_time(last.unflatten(0, (4, 2)))
    assert folded.data_ptr() == last.data_ptr()
    assert folded.is_contiguous(memory_format=torch.channels_last)
    y = layer.unfold_time(last, x)
    assert y.data_ptr() == last.data_ptr()


@pytest.mark.parametrize("size", [(8, 7), (3, 8, 7)])
def test_folding_that_must_copy_keeps_channels_last(size):
    layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
    images = torch.randn(8, 3, *size).contiguous(memory_format=layout)
    x = images.unflatten(0, (2, 4)).transpose(0, 1)  # [N, T, ...] to [T, N, ...]
    y = layer.fold_time(x)
    assert y.is_contiguous(memory_format=layout)
    assert torch.equal(y, torch.cat(list(x)))


@pytest.mark.parametrize(
    "module",
    [
        layer.Conv2d(4, 5, 3, step_mode="m"),
        layer.BatchNorm2d(4, step_mode="m"),
        layer.MaxPool2d(2, step_mode="m"),
        layer.AvgPool2d(2, step_mode="m"),
        layer.AdaptiveAvgPool2d(2, step_mode="m"),
        layer.Upsample(scale_factor=2, step_mode="m"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_channels_last_stays_channels_last_through_a_layer(module):
    images = torch.randn(6, 4, 8, 8).to(memory_format=torch.channels_last)
    module = module.to(memory_format=torch.channels_last)
    y = module(images.unflatten(0, (3, 2)))
    assert y[0].is_contiguous(memory_format=torch.channels_last)
    assert y.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
