#pragma once
// Rows of the recurrent cells: gates and their gradients over the units of one row of the batch.

#include <cstring>

#include "rows.hpp"
#include "sj/gates.hpp"
#include "sj/rnn.hpp"

namespace sj {
inline namespace SJ_ABI {

constexpr int64_t kSerialUnits = 1 << 14;  // below which threads cost more than they give

inline int64_t gates_of(CellKind kind) {
    return kind == CellKind::Lstm ? 4 : kind == CellKind::Gru ? 3 : 1;
}

// Derivatives d of the G*H pre-activations of a row.
template <class R> SJ_HD void derivatives(const CellSettings& s, const R* pre, R* d, int64_t H) {
    const One<R> zero{R(0)};
    const bool same = s.s1 == s.s2 && s.p1[0] == s.p2[0] && s.p1[1] == s.p2[1];
    const int64_t gates = gates_of(s.kind);
    if (same || s.kind == CellKind::Vanilla)
        return surrogate_row<R>(s.s1, s.p1, zero, pre, d, gates * H);
    surrogate_row<R>(s.s1, s.p1, zero, pre, d, 2 * H);
    surrogate_row<R>(s.s2, s.p2, zero, pre + 2 * H, d + 2 * H, H);
    if (gates == 4) surrogate_row<R>(s.s1, s.p1, zero, pre + 3 * H, d + 3 * H, H);
}

// Completes the GRU's candidate, whose products stand in r (complete), a (the input's) and h_n.
template <class R> void candidate_row(const R* r, const R* h_n, R* a, int64_t H) {
    SJ_LOOP
    for (int64_t j = 0; j < H; ++j) a[j] = gru_candidate(r[j], a[j], h_n[j]);
}

// Gates of one row of complete pre-activations. aux: the LSTM's c', not used by the others.
template <class R>
void gate_row(const CellSettings& s, const R* pre, const R* h, const R* c, R* h_out, R* aux,
              int64_t H) {
    if (s.kind == CellKind::Lstm) {
        const R clamp = R(s.clamp);
        const R *i = pre, *f = pre + H, *g = pre + 2 * H, *o = pre + 3 * H;
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j)
            lstm_forward(i[j], f[j], g[j], o[j], c[j], clamp, aux[j], h_out[j]);
    } else if (s.kind == CellKind::Gru) {
        const R *z = pre + H, *a = pre + 2 * H;
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) h_out[j] = gru_forward(z[j], a[j], h[j]);
    } else {
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) h_out[j] = spike_(pre[j]);
    }
}

// gh: the whole gradient of h'; on return its direct part to h. gc: of c', then of c.
template <class R>
void backward_row(const CellSettings& s, const R* pre, const R* h, const R* c, const R* aux, R* gh,
                  R* gc, R* gp, R* gn, R* d, int64_t H) {
    derivatives(s, pre, d, H);
    if (s.kind == CellKind::Lstm) {
        const R *i = pre, *f = pre + H, *g = pre + 2 * H, *o = pre + 3 * H;
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) {
            R g_i, g_f, g_g, g_o, g_c = gc[j];
            lstm_backward(i[j], f[j], g[j], o[j], d[j], d[H + j], d[2 * H + j], d[3 * H + j], c[j],
                          aux[j], gh[j], g_c, g_i, g_f, g_g, g_o);
            gc[j] = g_c;
            gh[j] = R(0);
            gp[j] = g_i;
            gp[H + j] = g_f;
            gp[2 * H + j] = g_g;
            gp[3 * H + j] = g_o;
        }
    } else if (s.kind == CellKind::Gru) {
        const R *r = pre, *z = pre + H, *a = pre + 2 * H;
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) {
            R g_r, g_z, g_hn, g_a, g_h = gh[j];
            gru_backward(r[j], z[j], a[j], d[j], d[H + j], d[2 * H + j], aux[j], h[j], g_h, g_r,
                         g_z, g_hn, g_a);
            gh[j] = g_h;
            gp[j] = g_r;
            gp[H + j] = g_z;
            gp[2 * H + j] = g_hn;
            gn[j] = g_a;
        }
    } else {
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) {
            gp[j] = d[j] * gh[j];
            gh[j] = R(0);
        }
    }
}

// A gradient that is absent is zero; one that stands in its place already stays.
template <class R> inline void copy_or_zero(const void* from, int64_t at, R* to, int64_t n) {
    if (!from)
        fill_row(R(0), to, n);
    else if (static_cast<const R*>(from) + at != to)
        std::memcpy(to, static_cast<const R*>(from) + at, std::size_t(n) * sizeof(R));
}

}  // namespace SJ_ABI
}  // namespace sj
