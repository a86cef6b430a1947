"""The recurrent cells' kernels against float64 loops written from the equations."""

import pytest
import torch
from rnn_reference import (
    DERIVATIVES,
    DTYPES,
    KINDS,
    SURROGATES,
    UNIT,
    backward,
    forward,
)

from sj_kernels import _ext, rnn


def cell_of(kind, first, second, clamp=None):
    return rnn.Cell(kind, *first, *second, clamp)


def optional(present, *shape, dtype):
    return torch.randn(shape, dtype=torch.float64).to(dtype) if present else None


def close(got, want, dtype, scale=1.0):
    if want is None:
        assert got is None
        return
    torch.testing.assert_close(
        got.double(), want, rtol=4 * UNIT[dtype] * scale, atol=4 * UNIT[dtype] * scale
    )


@pytest.fixture
def host(request, monkeypatch):
    """The bodies of the CUDA kernels, run on the host, in place of the CPU's."""
    place = rnn._place
    monkeypatch.setattr(rnn, "_place", lambda like: (*place(like)[:2], -2, 0))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("batch, size", [(1, 1), (33, 40)])
def test_step_of_the_cuda_bodies(kind, dtype, batch, size):
    test_step(kind, dtype, batch, size)


@pytest.fixture(params=_ext.isa_available(), autouse=True)
def isa(request):
    before = _ext.isa_in_use()
    _ext.isa_select(request.param)
    yield request.param
    _ext.isa_select(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("batch, size", [(1, 1), (5, 7), (33, 40), (300, 64)])
def test_step(kind, dtype, batch, size):
    torch.manual_seed(size)
    first, second = SURROGATES[0], SURROGATES[1]
    d1, d2 = DERIVATIVES[first], DERIVATIVES[second]
    cell = cell_of(kind, first, second, 1.5 if kind == "lstm" else None)
    wide = KINDS[kind] * size
    # Multiples of 1/8 add up exactly in every dtype, so that no spike depends on rounding.
    eighths = [torch.randint(-16, 17, (batch, wide)).to(dtype) / 8 for _ in range(2)]
    pre, hw = eighths[0].clone(), eighths[1]
    h = torch.randint(0, 3, (batch, size)).to(dtype)
    c = torch.randint(0, 3, (batch, size)).to(dtype) if kind == "lstm" else None
    h_out = torch.empty_like(h)
    aux = None if kind == "vanilla" else torch.empty_like(h)
    cell.step_forward(pre, hw, h, c, h_out, aux)
    exact = [None if t is None else t.double() for t in (eighths[0], hw, h, c)]
    h_want, aux_want, pre_want = forward(kind, *exact, 1.5 if kind == "lstm" else None)
    assert torch.equal(h_out.double(), h_want)
    assert torch.equal(pre.double(), pre_want)
    if aux is not None:
        assert torch.equal(aux.double(), aux_want)

    state = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    gy = optional(True, batch, size, dtype=dtype)
    gh = optional(True, batch, size, dtype=state)
    gc = optional(kind == "lstm", batch, size, dtype=state)
    gp = torch.empty_like(pre)
    gn = torch.empty_like(h) if kind == "gru" else None
    want = backward(
        kind, pre_want, exact[2], exact[3], aux_want,
        gy.double() + gh.double(), None if gc is None else gc.double(), d1, d2,
    )  # fmt: skip
    cell.step_backward(pre, h, c, aux, gy, gh, gc, gp, gn, gh, gc)
    close(gp, want[0], dtype)
    close(gn, want[1], dtype)
    close(gh, want[2], state)
    close(gc, want[3], state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("steps, batch, size", [(1, 1, 1), (4, 5, 7), (3, 21, 33), (6, 64, 48)])
@pytest.mark.parametrize("extras", [False, True])
def test_sequence(kind, dtype, steps, batch, size, extras):
    torch.manual_seed(size)
    first, second = SURROGATES[2], SURROGATES[2 if extras else 4]
    d1, d2 = DERIVATIVES[first], DERIVATIVES[second]
    clamp = 2.0 if extras and kind == "lstm" else None
    cell = cell_of(kind, first, second, clamp)
    wide = KINDS[kind] * size
    # Small integers over a power of two: every product and sum is exact, in any order.
    pre_x = torch.randint(-8, 9, (steps, batch, wide)).to(dtype) / 8
    w = torch.randint(-4, 5, (wide, size)).to(dtype) / 8
    b = torch.randint(-4, 5, (size,)).to(dtype) / 8 if kind == "gru" and extras else None
    h0 = torch.randint(0, 2, (batch, size)).to(dtype)
    c0 = torch.randint(0, 3, (batch, size)).to(dtype) if kind == "lstm" else None
    mask = torch.rand(steps, batch) < 0.7 if extras else None

    pre, h_seq = pre_x.clone(), torch.empty(steps, batch, size, dtype=dtype)
    aux = None if kind == "vanilla" else torch.empty_like(h_seq)
    cell.sequence_forward(pre, w, b, h0, c0, mask, h_seq, aux)

    h, c = h0.double(), None if c0 is None else c0.double()
    kept = []
    for t in range(steps):
        hw = h @ w.double().T
        if b is not None:
            hw[:, 2 * size :] += b
        h_next, aux_t, pre_t = forward(kind, pre_x[t].double(), hw, h, c, clamp)
        c_next = aux_t if kind == "lstm" else None
        if mask is not None:
            m = mask[t].unsqueeze(1)
            h_next = torch.where(m, h_next, h)
            c_next = None if c is None else torch.where(m, c_next, c)
            aux_t = c_next if kind == "lstm" else aux_t
        kept.append((h, c, aux_t, pre_t))
        h, c = h_next, c_next
        assert torch.equal(h_seq[t].double(), h)
        assert torch.equal(pre[t].double(), pre_t)
        if aux is not None:
            assert torch.equal(aux[t].double(), aux_t)

    gy = optional(True, steps, batch, size, dtype=dtype)
    gh0 = optional(extras, batch, size, dtype=dtype)
    gc0 = optional(extras and kind == "lstm", batch, size, dtype=dtype)
    gp, gn = torch.empty_like(pre), torch.empty_like(h_seq) if kind == "gru" else None
    gh_out = torch.empty_like(h0)
    gc_out = torch.empty_like(c0) if kind == "lstm" else None
    cell.sequence_backward(pre, w, h0, c0, mask, h_seq, aux, gy, gh0, gc0, gp, gn, gh_out, gc_out)
    gh = torch.zeros(batch, size).double() if gh0 is None else gh0.double()
    gc = torch.zeros(batch, size).double() if gc0 is None else gc0.double()
    for t in reversed(range(steps)):
        h, c, aux_t, pre_t = kept[t]
        total = gh + gy[t].double()
        gp_t, gn_t, direct, gc_t = backward(kind, pre_t, h, c, aux_t, total, gc, d1, d2)
        if mask is not None:
            m = mask[t].unsqueeze(1)
            gp_t = gp_t * m
            gn_t = None if gn_t is None else gn_t * m
            direct = torch.where(m, direct, total)
            gc_t = None if gc_t is None else torch.where(m, gc_t, gc)
        close(gp[t], gp_t, dtype, 100)
        close(None if gn is None else gn[t], gn_t, dtype, 100)
        gh = direct + gp_t @ w.double()
        gc = gc if gc_t is None else gc_t
    close(gh_out, gh, dtype, 100)
    if kind == "lstm":
        close(gc_out, gc, dtype, 100)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_surrogates(surrogate):
    cell = cell_of("vanilla", surrogate, surrogate)
    pre = torch.linspace(-4, 4, 90, dtype=torch.float64).view(9, 10)
    gh = torch.ones_like(pre)
    gp = torch.empty_like(pre)
    cell.step_backward(pre, gh, None, None, None, gh, None, gp, None, torch.empty_like(pre), None)
    close(gp, DERIVATIVES[surrogate](pre), torch.float64)


def test_threads_do_not_change_a_sequence():
    torch.manual_seed(1)
    cell = cell_of("lstm", SURROGATES[0], SURROGATES[0])
    w, h0 = torch.randn(4 * 64, 64), torch.zeros(32, 64)
    pre_x = torch.randn(20, 32, 4 * 64)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            pre, h_seq, c_seq = pre_x.clone(), torch.empty(20, 32, 64), torch.empty(20, 32, 64)
            cell.sequence_forward(pre, w, None, h0, h0, None, h_seq, c_seq)
            results.append(c_seq)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_bad_arguments():
    with pytest.raises(ValueError, match="`kind`"):
        rnn.Cell("rnn", "Erf", (2.0,), "Erf", (2.0,))
    with pytest.raises(ValueError, match=r"`surrogate2` \(='Erv'\)"):
        rnn.Cell("gru", "Erf", (2.0,), "Erv", (2.0,))
    with pytest.raises(ValueError, match=r"takes the parameters \(alpha, beta\)"):
        rnn.Cell("gru", "S2NN", (2.0,), "Erf", (2.0,))
    cell = rnn.Cell("lstm", "Erf", (2.0,), "Erf", (2.0,))
    pre, h = torch.zeros(3, 8), torch.zeros(3, 2)
    good = (pre, pre.clone(), h, h.clone(), h.clone(), h.clone())

    def call(index, value):
        cell.step_forward(*good[:index], value, *good[index + 1 :])

    with pytest.raises(ValueError, match=r"`hw` \(shape"):
        call(1, torch.zeros(3, 7))
    with pytest.raises(ValueError, match=r"`h` .*contiguous"):
        call(2, torch.zeros(2, 3).t())
    with pytest.raises(TypeError, match=r"`c` \(dtype torch.float64\)"):
        call(3, h.double())
    with pytest.raises(ValueError, match="`c` must be a tensor for kind 'lstm'"):
        call(3, None)
    with pytest.raises(ValueError, match="`aux` must be None for kind 'vanilla'"):
        call(5, None)
    with pytest.raises(ValueError, match=r"must be \[N, 4\*H\]"):
        call(0, torch.zeros(3, 9))
    with pytest.raises(TypeError, match=r"`pre` \(dtype torch.int64\)"):
        call(0, torch.zeros(3, 8, dtype=torch.long))
    seq = torch.zeros(4, 3, 2)
    w = torch.zeros(8, 2)
    mask = torch.ones(3, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"`mask` .* \[4, 3\]"):
        cell.sequence_forward(torch.zeros(4, 3, 8), w, None, h, h, mask, seq, seq.clone())
    with pytest.raises(TypeError, match="take single steps"):
        cell.sequence_forward(torch.zeros(4, 3, 8).half(), w, None, h, h, None, seq, seq)
    with pytest.raises(ValueError, match="`b_hn` must be a tensor for kind 'gru'"):
        cell.sequence_forward(torch.zeros(4, 3, 8), w, h[0], h, h, None, seq, seq.clone())
