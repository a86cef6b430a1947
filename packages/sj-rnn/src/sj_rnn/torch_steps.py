"""Gate arithmetic of one step of a sequence, forward and backward, in torch operations.

Each class serves one kind of cell and is the reference of the fused kernels. Rows may have any
leading dimensions. ``forward(pre, hw, h, c, h_out, aux_out)`` completes the pre-activations
``pre`` in place by the state's product ``hw`` and writes h' and what backward needs besides (the
LSTM's c', the GRU's W_hn h + b_hn). ``backward(pre, h, c, aux, gy, gh, gc, gp, gn)`` writes the
gradient of the state's product to ``gp`` (the GRU: of its candidate's input to ``gn``) and returns
the direct gradients of h and c; gy is the output's gradient or None, gh and gc the states'.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sj_rnn.check import wide
from sj_rnn.gate import Gate


class _Steps:
    def __init__(self, s1: Gate, s2: Gate, clamp_cell: float | None = None) -> None:
        self.s1 = s1
        self.s2 = s2
        self.clamp_cell = clamp_cell


class LSTMSteps(_Steps):
    """Pre-activations in the order i, f, g, o."""

    def _each(self, pre: Tensor, method: str) -> list[Tensor]:
        first, second = getattr(self.s1, method), getattr(self.s2, method)
        if self.s1.same(self.s2):
            return list(first(pre).chunk(4, -1))
        i, f, g, o = pre.chunk(4, -1)
        return [first(i), first(f), second(g), first(o)]

    def forward(
        self, pre: Tensor, hw: Tensor, h: Tensor, c: Tensor, h_out: Tensor, aux_out: Tensor
    ) -> None:
        i, f, g, o = self._each(wide(pre.add_(hw)), "value")
        c_next = torch.addcmul(f * wide(c), i, g)
        if self.clamp_cell is not None:
            c_next.clamp_(max=self.clamp_cell)
        aux_out.copy_(c_next)
        torch.mul(o, c_next, out=h_out)

    def backward(
        self,
        pre: Tensor,
        h: Tensor,
        c: Tensor,
        aux: Tensor,
        gy: Tensor | None,
        gh: Tensor,
        gc: Tensor,
        gp: Tensor,
        gn: Tensor | None,
    ) -> tuple[Tensor | None, Tensor]:
        pre = wide(pre)
        i, f, g, o = self._each(pre, "value")
        di, df, dg, do = self._each(pre, "derivative")
        gh = wide(gh) if gy is None else wide(gh) + gy
        gc = torch.addcmul(gc, gh, o)
        gi, gf, gg, go = gp.chunk(4, -1)
        torch.mul(di, gc * g, out=gi)
        torch.mul(df, gc * wide(c), out=gf)
        torch.mul(dg, gc * i, out=gg)
        torch.mul(do, gh * wide(aux), out=go)
        return None, gc * f


class GRUSteps(_Steps):
    """Pre-activations in the order r, z, n."""

    def forward(
        self, pre: Tensor, hw: Tensor, h: Tensor, c: Tensor | None, h_out: Tensor, aux_out: Tensor
    ) -> None:
        size = h.shape[-1]
        rz = pre[..., : 2 * size].add_(hw[..., : 2 * size])
        hn = hw[..., 2 * size :]
        aux_out.copy_(hn)
        r, z = self.s1.value(wide(rz)).chunk(2, -1)
        n_pre = pre[..., 2 * size :]
        n_pre.copy_(torch.addcmul(wide(n_pre), r, wide(hn)))
        n = self.s2.value(wide(n_pre))
        h_out.copy_(torch.addcmul((1 - z) * n, z, wide(h)))

    def backward(
        self,
        pre: Tensor,
        h: Tensor,
        c: Tensor | None,
        aux: Tensor,
        gy: Tensor | None,
        gh: Tensor,
        gc: Tensor | None,
        gp: Tensor,
        gn: Tensor,
    ) -> tuple[Tensor, None]:
        size = h.shape[-1]
        rz, n_pre = wide(pre[..., : 2 * size]), wide(pre[..., 2 * size :])
        r, z = self.s1.value(rz).chunk(2, -1)
        dr, dz = self.s1.derivative(rz).chunk(2, -1)
        n, dn = self.s2.value(n_pre), self.s2.derivative(n_pre)
        gh = wide(gh) if gy is None else wide(gh) + gy
        ga = gh * (1 - z) * dn
        gn.copy_(ga)
        gr, gz, ghn = gp.chunk(3, -1)
        torch.mul(dr, ga * wide(aux), out=gr)
        torch.mul(dz, gh * (wide(h) - n), out=gz)
        torch.mul(ga, r, out=ghn)
        return gh * z, None


class VanillaSteps(_Steps):
    """One pre-activation."""

    def forward(
        self,
        pre: Tensor,
        hw: Tensor,
        h: Tensor,
        c: Tensor | None,
        h_out: Tensor,
        aux_out: Tensor | None,
    ) -> None:
        h_out.copy_(self.s1.value(wide(pre.add_(hw))))

    def backward(
        self,
        pre: Tensor,
        h: Tensor,
        c: Tensor | None,
        aux: Tensor | None,
        gy: Tensor | None,
        gh: Tensor,
        gc: Tensor | None,
        gp: Tensor,
        gn: Tensor | None,
    ) -> tuple[None, None]:
        gh = wide(gh) if gy is None else wide(gh) + gy
        torch.mul(self.s1.derivative(wide(pre)), gh, out=gp)
        return None, None
