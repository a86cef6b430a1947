"""The device on which a kernel is launched."""

from collections.abc import Callable
from typing import Any

import torch


def on_device(device: int, kernel: Callable[..., Any], *arguments: Any) -> Any:
    """Call `kernel` with a CUDA device current; negative: not one.

    torch goes back to the device before it without a context there, which the CUDA runtime would
    make: half a GB of a card that the process does not use.
    """
    if device < 0 or device == torch.cuda.current_device():
        return kernel(*arguments)
    with torch.cuda.device(device):
        return kernel(*arguments)
