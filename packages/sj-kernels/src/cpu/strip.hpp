#pragma once
// Backward over a single step, or over few: each neuron through all steps at once, so that what lies
// between them never leaves the registers. All else takes the relay, or rows.

#include "rows.hpp"

namespace sj {
inline namespace SJ_ABI {

// At most: more would be more streams than processors follow.
constexpr int kStripSteps = kManyRegisters ? 4 : 2;

template <class R, class N, class Reset, class S> struct Strips {
    const NeuronArgs& a;
    N neuron;
    Reset reset;
    S surrogate;
    bool stream;
    int64_t block;
    R* buffers;  // three rows of `block` neurons

    static bool take(const NeuronArgs& a) {
        return a.T == 1 || (a.T <= kStripSteps && !a.v && !a.g_v_next && !a.g_v);
    }

    // The neurons of [first, end).
    template <bool kDetach> void backward(int64_t first, int64_t end) const {
        switch (a.T) {
            case 1: return with_states<kDetach>(first, end);
            case 2: return steps<kDetach, 2>(first, end, Fresh{R(a.v_fill)});
            case 3: return steps<kDetach, 3>(first, end, Fresh{R(a.v_fill)});
            default: return steps<kDetach, kStripSteps>(first, end, Fresh{R(a.v_fill)});
        }
    }

  private:
    static constexpr int64_t kWidth = kPiece<R>;

    // V before the steps, the gradient of V after them, and what becomes of that of V before.
    struct Fresh {
        R v_fill;
        SJ_HD R v(int64_t) const { return v_fill; }
        SJ_HD R gradient(int64_t) const { return R(0); }
        SJ_HD void keep(int64_t, R) const {}
        SJ_HD Fresh from(int64_t) const { return *this; }
    };
    struct Given {
        const R *v_row, *g_next;
        R* g_v;
        SJ_HD R v(int64_t j) const { return v_row[j]; }
        SJ_HD R gradient(int64_t j) const { return g_next[j]; }
        SJ_HD void keep(int64_t j, R value) const { g_v[j] = value; }
        SJ_HD Given from(int64_t j) const { return {v_row + j, g_next + j, g_v + j}; }
    };

    template <bool kDetach> void with_states(int64_t first, int64_t end) const {
        R *fill = buffers, *zero = buffers + block, *unread = buffers + 2 * block;
        if (!a.v) fill_row(R(a.v_fill), fill, block);
        if (!a.g_v_next) fill_row(R(0), zero, block);
        for (int64_t i = first; i < end; i += block) {
            const Given given{a.v ? static_cast<const R*>(a.v) + i : fill,
                              a.g_v_next ? static_cast<const R*>(a.g_v_next) + i : zero,
                              a.g_v ? static_cast<R*>(a.g_v) + i : unread};
            steps<kDetach, 1>(i, end - i < block ? end : i + block, given);
        }
    }

    template <bool kDetach, int K, class States>
    void steps(int64_t first, int64_t end, const States states) const {
        const R v_th = R(a.v_th), scale = R(a.scale);
        const N one = neuron;  // copies: what is written here is none of their parameters
        const Reset after = reset;
        const S derivative = surrogate;
        const R *x = static_cast<const R*>(a.x) + first,
                *g_s = static_cast<const R*>(a.g_s) + first;
        R* g_x = static_cast<R*>(a.g_x) + first;
        const int64_t n = end - first, x_step = a.x_step, step = a.n;
        const auto back = [=](int64_t i, const States own, R* to, int64_t to_step,
                              int64_t width) SJ_INLINE {
            SJ_LOOP
            for (int64_t j = 0; j < width; ++j) {
                R v = own.v(j), g_v = own.gradient(j), h[K], w = R(0);
                SJ_UNROLL
                for (int k = 0; k < K; ++k)
                    step_forward(one, after, x[k * x_step + i + j], v_th, v, w, h[k]);
                SJ_UNROLL
                for (int done = 0; done < K; ++done) {
                    const int k = K - 1 - done;
                    const R gs = derivative(h[k] - v_th), g = g_s[k * step + i + j] * scale;
                    to[k * to_step + j] =
                        step_backward<R, kDetach>(one, after, h[k], gs, g, v_th, R(0), g_v, w) *
                        one.dh_dx();
                }
                own.keep(j, g_v);
            }
        };
        const int64_t whole = stream ? n / kWidth * kWidth : 0;
        for (int64_t i = 0; i < whole; i += kWidth) {
            R piece[K][kWidth];
            back(i, states.from(i), piece[0], kWidth, kWidth);
            for (int k = 0; k < K; ++k) store_lines<true>(piece[k], g_x + k * step + i, 4);
        }
        back(whole, states.from(whole), g_x + whole, step, n - whole);
    }
};

}  // namespace SJ_ABI
}  // namespace sj
