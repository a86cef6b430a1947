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


def dense_steps(x: Tensor, multi_step: bool) -> tuple[Tensor, bool, tuple[int, ...]]:
    """Return x or a dense copy, whether one step repeats in it, and the strides of a step.

    A sequence made by `expand` repeats one step, which is read again at each time. The copy of a
    sequence whose steps are dense, but apart, keeps their layout.
    """
    shape, strides = x.shape, x.stride()
    if x.is_contiguous():
        if not multi_step:
            return x, False, strides
        if shape[0] == 0 and not is_dense(shape[1:], strides[1:]):
            # Without a step any view is contiguous; its states are tensors all the same.
            return x, False, torch.empty(shape[1:], device="meta").stride()
        return x, False, strides[1:]
    if not multi_step:
        if not is_dense(shape, strides):
            x = x.contiguous()
        return x, False, _canonical(shape, x.stride())
    step, steps = shape[1:], strides[1:]
    if not is_dense(step, steps):
        x = x.contiguous()
        return x, False, _canonical(step, x.stride()[1:])
    steps = _canonical(step, steps)
    n = 1
    for size in step:
        n *= size
    repeats = strides[0] == 0 and shape[0] > 1
    if not repeats and shape[0] != 1 and strides[0] != n:
        x = with_strides(x, (n, *steps))
    return x, repeats, steps


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
