#pragma once
// The step of step.hpp over a row of neurons: innermost loops, vectorised by the compiler.

#include "convert.hpp"
#include "sj/step.hpp"

namespace sj {
inline namespace SJ_ABI {

// Rows are walked in chunks; before each, the same stretch of rows that are needed later is fetched.
// A whole row at once would fill the line buffers and stall; none, and every chunk waits for memory.
// Each row of a few KiB is far from the one before: processors do not foresee reads or writes.
constexpr int64_t kChunk = 128;

struct Ahead {
    const char* row;  // to be read
    int64_t size;     // bytes of an element
    int64_t n;
    const char* out = nullptr;  // to be written

    SJ_HD void fetch(int64_t i) const {
        const int64_t end = i + kChunk < n ? i + kChunk : n;
        if (row) prefetch_row(row + i * size, (end - i) * size);
        if (out) prefetch_row<true>(out + i * size, (end - i) * size);
    }
};

// A threshold, or a height of the spike, per neuron or one for all; both give th(i).
template <class R> struct One {
    R value;
    SJ_HD R operator()(int64_t) const { return value; }
};
template <class R> struct Each {
    const R* value;
    SJ_HD R operator()(int64_t i) const { return value[i]; }
};

// Outputs are collected in registers and leave them a few cache lines at a time.
template <class R> constexpr int64_t kPiece = 4 * kLine / int64_t(sizeof(R));

// out[i] = at(i) for a row; `at` may read and write rows of its own. With `stream` the output passes
// the caches: out must begin on a cache line.
template <class R, class F>
SJ_HD void compute_row(R* out, bool stream, int64_t n, Ahead ahead, const F& at) {
    for (int64_t from = 0; from < n; from += kPiece<R>) {
        if (from % kChunk == 0) ahead.fetch(from);
        if (from + kPiece<R> <= n) {
            R piece[kPiece<R>];
            SJ_LOOP
            for (int64_t j = 0; j < kPiece<R>; ++j) piece[j] = at(from + j);
            if (stream)
                store_lines<true>(piece, out + from, 4);
            else
                store_lines<false>(piece, out + from, 4);
        } else {
            SJ_LOOP
            for (int64_t i = from; i < n; ++i) out[i] = at(i);
        }
    }
}

// s[i] = spike ? scale(i) : 0. The state rows before and after may be the same.
template <class R, class N, class Reset, class Th, class Scale>
inline void fire_row(const N neuron, const Reset reset, Th th, Scale scale, const R* x, const R* v,
                     const R* w, R* v_next, R* w_next, R* s, bool stream, int64_t n, Ahead ahead) {
    compute_row(s, stream, n, ahead, [=](int64_t i) SJ_INLINE {
        R h, vi = v[i], wi = N::kTwoStates ? w[i] : R(0);
        bool spike = step_forward(neuron, reset, x[i], th(i), vi, wi, h);
        v_next[i] = vi;
        if constexpr (N::kTwoStates) w_next[i] = wi;
        return spike ? scale(i) : R(0);
    });
}

// The same steps once more, for H.
template <class R, class N, class Reset, class Th>
inline void replay_row(const N neuron, const Reset reset, Th th, const R* x, const R* v, const R* w,
                       R* v_next, R* w_next, R* h, int64_t n, Ahead ahead) {
    compute_row(h, false, n, ahead, [=](int64_t i) SJ_INLINE {
        R hi, vi = v[i], wi = N::kTwoStates ? w[i] : R(0);
        step_forward(neuron, reset, x[i], th(i), vi, wi, hi);
        v_next[i] = vi;
        if constexpr (N::kTwoStates) w_next[i] = wi;
        return hi;
    });
}

// gs = g'(h - v_th). The choice of the surrogate is made once per row and costs nothing; not inlined,
// since 16 loops in every neuron's backward would multiply the size of the library.
template <class R, class Th>
SJ_NOINLINE void surrogate_row(Surrogate id, const double* p, Th th, const R* h, R* gs, int64_t n) {
    dispatch_surrogate<R>(id, p, [&](auto surrogate) {
        SJ_LOOP
        for (int64_t i = 0; i < n; ++i) gs[i] = surrogate(h[i] - th(i));
    });
}

// What back_row reads at i: the values of a row, as those of surrogate_row; the surrogate itself,
// where that is worth another loop; the potential that the reset left of the H before.
template <class R> struct Stored {
    const R* row;
    SJ_HD R at(int64_t i, R = R(0)) const { return row[i]; }
};
template <class R, class S> struct Computed {
    S surrogate;
    SJ_HD R at(int64_t, R x) const { return surrogate(x); }
};
template <class R, class Reset, class Th> struct ResetOf {
    Reset reset;
    Th th;
    const R* h;
    SJ_HD R at(int64_t i) const { return reset.apply(h[i] - th(i) >= R(0), h[i], th(i)); }
};
template <class R> struct NoState {
    SJ_HD R at(int64_t) const { return R(0); }
};

// g_x; acc[i] sums the gradient of 1/tau over time (learnable decay only).
template <class R, bool kDetach, class N, class Reset, class Th, class S, class B>
inline void back_row(const N neuron, const Reset reset, Th th, R scale, const R* h, const S gs,
                     const R* g_s, const B v_before, const R* x, R* g_v, R* g_w, R* g_x,
                     bool stream, R* acc, int64_t n, Ahead ahead) {
    compute_row(g_x, stream, n, ahead, [=](int64_t i) SJ_INLINE {
        R gv = g_v[i], gw = N::kTwoStates ? g_w[i] : R(0), vb = v_before.at(i);
        R g_h = step_backward<R, kDetach>(neuron, reset, h[i], gs.at(i, h[i] - th(i)),
                                          g_s[i] * scale, th(i), vb, gv, gw);
        g_v[i] = gv;
        if constexpr (N::kTwoStates) g_w[i] = gw;
        if constexpr (N::kDecayGrad) acc[i] += g_h * neuron.dh_ddecay(vb, x[i]);
        return g_h * neuron.dh_dx();
    });
}

// What follows is called per row or block, and not inlined: one copy of each serves all neurons.

constexpr int64_t kSum = 64;  // neurons of one sum

// One sum per kSum neurons, whatever the blocks: the result does not depend on the threads.
template <class R> SJ_NOINLINE void decay_sums(const R* acc, int64_t n, double* sums) {
    for (int64_t i = 0; i < n; i += kSum) {
        double sum = 0;
        for (int64_t j = i; j < n && j < i + kSum; ++j) sum += double(acc[j]);
        sums[i / kSum] = sum;
    }
}

template <class R> SJ_NOINLINE void scale_row(const R* a, const R* b, R* product, int64_t n) {
    SJ_LOOP
    for (int64_t i = 0; i < n; ++i) product[i] = a[i] * b[i];
}

template <class R> SJ_NOINLINE void add_row(const R* a, R* sum, int64_t n) {
    SJ_LOOP
    for (int64_t i = 0; i < n; ++i) sum[i] += a[i];
}

template <class R> SJ_NOINLINE void fill_row(R value, R* row, int64_t n) {
    SJ_LOOP
    for (int64_t i = 0; i < n; ++i) row[i] = value;
}

// Values of the channels of neurons first .. first + n.
template <class R>
SJ_NOINLINE void channel_row(const R* values, const NeuronArgs& a, int64_t first, R* row,
                             int64_t n) {
    int64_t rest = first % a.inner, channel = (first / a.inner) % a.channels;
    for (int64_t i = 0; i < n;) {
        if (a.inner == 1) {  // channels-last: the values side by side
            const int64_t run = a.channels - channel < n - i ? a.channels - channel : n - i;
            std::memcpy(row + i, values + channel, std::size_t(run) * sizeof(R));
            i += run;
            channel = 0;
            continue;
        }
        const int64_t run = a.inner - rest < n - i ? a.inner - rest : n - i;
        SJ_LOOP
        for (int64_t j = i; j < i + run; ++j) row[j] = values[channel];
        i += run;
        rest = 0;
        if (++channel == a.channels) channel = 0;
    }
}

}  // namespace SJ_ABI
}  // namespace sj
