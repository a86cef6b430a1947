"""Fused gates of the spiking recurrent cells: tensors in, tensors filled in place, no autograd.

H units, G gates: 4 (LSTM: i, f, g, o), 3 (GRU: r, z, n) or 1 (vanilla); include/sj/gates.hpp holds
the equations. Every tensor is contiguous, of one dtype and device; only the gradients of states
(gh, gc) are float32 for half-precision cells, whose arithmetic is done in float32.

- pre ``[N, G*H]``: the input's pre-activations; a forward adds the state's product in place.
- h, c, h_out ``[N, H]``; c is the LSTM's and None for the others.
- aux ``[N, H]``: the LSTM's next c, the GRU's ``W_hn h + b_hn``, None for the vanilla cell.
- gy ``[N, H]``: gradient of the output, or None; gh, gc: gradients of the next states.
- gp ``[N, G*H]``: gradient of the state's product; gn ``[N, H]`` (GRU): of the candidate's input.

For a sequence every tensor but the first states and their gradients has T in front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sj_kernels import _ext
from sj_kernels.device import on_device
from sj_kernels.info import DTYPES, SURROGATES
from sj_kernels.rnn_checks import Checks

_KINDS = {"lstm": (0, 4), "gru": (1, 3), "vanilla": (2, 1)}
_INDEX = {name: index for index, name in enumerate(SURROGATES)}


class Cell(Checks):
    """The kernels of one kind of cell with its surrogates.

    ``kind`` is 'lstm', 'gru' or 'vanilla'; surrogates are named as in ``combinations()``, with
    their parameters in the constructor's order. ``clamp_cell`` bounds the LSTM's c from above.
    Raises ``ValueError`` for an unknown name, a wrong number of parameters or a wrong shape,
    ``TypeError`` for a wrong dtype.

    >>> import torch
    >>> from sj_kernels import rnn
    >>> cell = rnn.Cell("vanilla", "Erf", (2.0,), "Erf", (2.0,))
    >>> pre, h = torch.tensor([[-1.0, 0.5]]), torch.empty(1, 2)
    >>> cell.step_forward(pre, torch.tensor([[0.5, -0.5]]), h, None, h, None)
    >>> h.tolist()
    [[0.0, 1.0]]
    """

    def __init__(
        self,
        kind: str,
        surrogate1: str,
        params1: Sequence[float],
        surrogate2: str,
        params2: Sequence[float],
        clamp_cell: float | None = None,
    ) -> None:
        if kind not in _KINDS:
            raise ValueError(f"`kind` (={kind!r}) must be one of 'lstm', 'gru', 'vanilla'.")
        for argument, name, params in (
            ("surrogate1", surrogate1, params1),
            ("surrogate2", surrogate2, params2),
        ):
            if name not in SURROGATES:
                names = ", ".join(map(repr, SURROGATES))
                raise ValueError(f"`{argument}` (={name!r}) must be one of {names}.")
            if len(params) != len(SURROGATES[name]):
                raise ValueError(
                    f"`{argument}` {name!r} takes the parameters ({', '.join(SURROGATES[name])}), "
                    f"got {tuple(params)}."
                )
        self.kind = kind
        self.gates = _KINDS[kind][1]
        self._native = _ext.Cell(
            _KINDS[kind][0],
            _INDEX[surrogate1],
            [float(p) for p in params1],
            _INDEX[surrogate2],
            [float(p) for p in params2],
            math.inf if clamp_cell is None else clamp_cell,
        )

    def step_forward(
        self,
        pre: Tensor,
        hw: Tensor,
        h: Tensor,
        c: Tensor | None,
        h_out: Tensor,
        aux_out: Tensor | None,
    ) -> None:
        """Complete ``pre`` by the state's product ``hw`` and write the next states."""
        wide, narrow = self._shapes(pre)
        self._check(pre, wide, pre=pre, hw=hw)
        self._check(pre, narrow, h=h, h_out=h_out)
        self._check(pre, narrow, c=self._of("lstm", "c", c))
        self._check(pre, narrow, aux_out=self._auxiliary(aux_out))
        dtype, threads, device, stream = _place(pre)
        pointers = _pointers(pre, hw, h, c, h_out, aux_out)
        step = self._native.step_forward
        on_device(device, step, *pointers, *narrow, dtype, threads, device, stream)

    def step_backward(
        self,
        pre: Tensor,
        h: Tensor,
        c: Tensor | None,
        aux: Tensor | None,
        gy: Tensor | None,
        gh: Tensor | None,
        gc: Tensor | None,
        gp: Tensor,
        gn: Tensor | None,
        gh_out: Tensor,
        gc_out: Tensor | None,
    ) -> None:
        """Write the gradients gp, gn, and to ``gh_out``, ``gc_out`` the direct ones of h and c.

        ``gh_out`` may be ``gh`` and ``gc_out`` may be ``gc``.
        """
        wide, narrow = self._shapes(pre)
        self._check(pre, wide, pre=pre, gp=gp)
        self._check(pre, narrow, h=h, gy=gy, c=self._of("lstm", "c", c))
        self._check(pre, narrow, aux=self._auxiliary(aux), gn=self._of("gru", "gn", gn))
        self._check(pre, narrow, state=True, gh=gh, gc=gc, gh_out=gh_out)
        self._check(pre, narrow, state=True, gc_out=self._of("lstm", "gc_out", gc_out))
        dtype, threads, device, stream = _place(pre)
        pointers = _pointers(pre, h, c, aux, gy, gh, gc, gp, gn, gh_out, gc_out)
        step = self._native.step_backward
        on_device(device, step, *pointers, *narrow, dtype, threads, device, stream)

    def sequence_forward(
        self,
        pre: Tensor,
        w_hh: Tensor,
        b_hn: Tensor | None,
        h: Tensor,
        c: Tensor | None,
        mask: Tensor | None,
        h_seq: Tensor,
        aux: Tensor | None,
    ) -> None:
        """All steps with their products ``h W_hh^T``, on the CPU in float32 or float64.

        ``b_hn`` ``[H]`` is the GRU's. Where ``mask`` (bool, ``[T, N]``) is False a row keeps its
        states.
        """
        steps, batch, size = self._sequence(pre, w_hh, h, c, mask, h_seq, aux)
        if b_hn is not None:
            self._check(pre, (size,), b_hn=self._of("gru", "b_hn", b_hn))
        pointers = _pointers(w_hh, b_hn, h, c, mask, pre, h_seq, aux)
        sizes = (steps, batch, size, DTYPES[pre.dtype], torch.get_num_threads())
        self._native.sequence_forward(*pointers, *sizes)

    def sequence_backward(
        self,
        pre: Tensor,
        w_hh: Tensor,
        h: Tensor,
        c: Tensor | None,
        mask: Tensor | None,
        h_seq: Tensor,
        aux: Tensor | None,
        gy: Tensor | None,
        gh: Tensor | None,
        gc: Tensor | None,
        gp: Tensor,
        gn: Tensor | None,
        gh_out: Tensor,
        gc_out: Tensor | None,
    ) -> None:
        """Write gp and gn of all steps, and the gradients of the first states."""
        steps, batch, size = self._sequence(pre, w_hh, h, c, mask, h_seq, aux)
        self._check(pre, tuple(pre.shape), gp=gp)
        self._check(pre, (steps, batch, size), gy=gy, gn=self._of("gru", "gn", gn))
        self._check(pre, (batch, size), gh=gh, gc=gc, gh_out=gh_out)
        self._check(pre, (batch, size), gc_out=self._of("lstm", "gc_out", gc_out))
        states = (gy, gh, gc, gp, gn, gh_out, gc_out)
        pointers = _pointers(w_hh, h, c, mask, pre, h_seq, aux, *states)
        sizes = (steps, batch, size, DTYPES[pre.dtype], torch.get_num_threads())
        self._native.sequence_backward(*pointers, *sizes)


def _pointers(*tensors: Tensor | None) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _place(like: Tensor) -> tuple[int, int, int, int]:
    """(dtype, threads, device index or -1, stream)."""
    dtype = DTYPES[like.dtype]
    if like.device.type == "cpu":
        return dtype, torch.get_num_threads(), -1, 0
    stream = torch.cuda.current_stream(like.device).cuda_stream
    return dtype, 1, like.device.index, stream
