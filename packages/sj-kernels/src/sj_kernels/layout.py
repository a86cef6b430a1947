"""Which memory layouts the kernels take as they are, and how others are made to fit.

A kernel sees n neurons in storage order, once per step. Any dense layout whose time axis is
outermost is such an array: contiguous, channels-last, any permutation of the axes of one step.
"""

import torch
from torch import Tensor


def is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Tell whether the elements fill one block of memory, each once.

    >>> is_dense((2, 3), (1, 2)), is_dense((2, 3), (4, 1))
    (True, False)
    """
    expected = 1
    for stride, size in sorted((s, d) for s, d in zip(strides, shape, strict=True) if d != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def dense_steps(x: Tensor, multi_step: bool) -> tuple[Tensor, tuple[int, ...]]:
    """Return x, or a contiguous copy, and the strides of one step of it."""
    if multi_step:
        shape, strides = x.shape[1:], x.stride()[1:]
        step = 1
        for size in shape:
            step *= size
        fits = (x.shape[0] == 1 or x.stride(0) == step) and is_dense(shape, strides)
    else:
        fits = is_dense(x.shape, x.stride())
        strides = x.stride()
    if not fits:
        x = x.contiguous()
        strides = x.stride()[1:] if multi_step else x.stride()
    return x, _canonical(x.shape[1:] if multi_step else x.shape, strides)


def _canonical(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    # The stride of an axis of size 1 means nothing and may be anything.
    return tuple(1 if size == 1 else stride for size, stride in zip(shape, strides, strict=True))


def with_strides(tensor: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Return `tensor`, or a copy of it, with the given strides."""
    if tensor.stride() == strides:
        return tensor
    if _canonical(tensor.shape, tensor.stride()) == _canonical(tensor.shape, strides):
        return tensor
    copy = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device)
    return copy.copy_(tensor)
