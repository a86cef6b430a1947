#pragma once
// Backward over a single step, or over few whose rows lie far apart: strips of a few cache lines,
// each through all steps at once, so that reads and streamed writes alternate finely and the history
// stays in registers and L1. All else takes the relay, or rows.

#include "rows.hpp"

namespace sj {
inline namespace SJ_ABI {

constexpr int kStripSteps = 4;  // at most: more would be more streams than processors follow

template <class R, class N, class Reset, class S> struct Strips {
    const NeuronArgs& a;
    N neuron_;
    Reset reset_;
    S surrogate_;
    bool stream, claim;

    static constexpr int64_t kWidth = kPiece<R>;

    // The strips of [first, end), whole ones; each fetches the one behind it.
    template <bool kDetach> void backward(int64_t first, int64_t end) const {
        for (int64_t i = first; i < end; i += kWidth) {
            const bool last = i + kWidth >= end;
            one<kDetach>(i, [&](const R* row) SJ_INLINE { return last ? nullptr : row + kWidth; });
        }
    }

  private:
    static SJ_HD void start(const void* state, R fill, int64_t i, R* v) {
        if (state) return store_lines<false>(static_cast<const R*>(state) + i, v, 4);
        SJ_LOOP
        for (int64_t j = 0; j < kWidth; ++j) v[j] = fill;
    }

    template <bool kDetach, class Next> SJ_HD void one(int64_t i, const Next& next) const {
        constexpr int64_t kBytes = kWidth * int64_t(sizeof(R));
        const R v_th = R(a.v_th), scale = R(a.scale);
        const N neuron = neuron_;  // copies: what is written here is none of their parameters
        const Reset reset = reset_;
        const S surrogate = surrogate_;
        R history[kStripSteps][kWidth], v[kWidth];
        start(a.v, R(a.v_fill), i, v);
        for (int64_t t = 0; t < a.T; ++t) {
            const R* x = static_cast<const R*>(a.x) + t * a.x_step + i;
            if (next(x)) prefetch_row(next(x), kBytes);
            R* h = history[t];
            SJ_LOOP
            for (int64_t j = 0; j < kWidth; ++j) {
                R w = R(0);
                step_forward(neuron, reset, x[j], v_th, v[j], w, h[j]);
            }
        }
        start(a.g_v_next, R(0), i, v);
        for (int64_t t = a.T - 1; t >= 0; --t) {
            const int64_t at = t * a.n + i;
            const R *g_s = static_cast<const R*>(a.g_s) + at, *h = history[t];
            if (next(g_s)) prefetch_row(next(g_s), kBytes);
            R g_x[kWidth];
            SJ_LOOP
            for (int64_t j = 0; j < kWidth; ++j) {
                R g_w = R(0);
                g_x[j] = step_backward<R, kDetach>(neuron, reset, h[j], surrogate(h[j] - v_th),
                                                   g_s[j] * scale, v_th, R(0), v[j], g_w) *
                         neuron.dh_dx();
            }
            R* to = static_cast<R*>(a.g_x) + at;
            if (claim && next(to)) prefetch_row<true>(next(to), kBytes);
            stream ? store_lines<true>(g_x, to, 4) : store_lines<false>(g_x, to, 4);
        }
        if (a.g_v) store_lines<false>(v, static_cast<R*>(a.g_v) + i, 4);
    }
};

}  // namespace SJ_ABI
}  // namespace sj
