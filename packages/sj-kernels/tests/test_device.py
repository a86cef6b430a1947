"""On which device a kernel is launched, and how the one before is left."""

import pytest
import torch

from sj_kernels.device import on_device


@pytest.mark.parametrize("current, entered", [(0, [1]), (1, [])])
def test_device_of_the_tensors_is_made_current(monkeypatch, current, entered):
    """By torch, which goes back to another card without making a context there."""
    seen = []

    class Device:
        def __init__(self, index):
            self.index = index

        def __enter__(self):
            seen.append(self.index)

        def __exit__(self, *_):
            seen.append("left")

    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    monkeypatch.setattr(torch.cuda, "device", Device)
    call = []
    on_device(1, lambda *a: call.append((a, list(seen))), "x")
    assert call == [(("x",), entered)]
    assert seen == entered + ["left"] * len(entered)
