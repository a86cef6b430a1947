#pragma once
// Steps on their way: a thread asks memory for several steps at once, and for the next ones before it
// computes with these, so that their latencies pass together. That is what sets the pace where
// there are few neurons and many steps.

#include "pack.hpp"
#include "sj/launch.hpp"
#include "sj/step.hpp"

#if defined(__CUDACC__)
#define SJ_UNROLL _Pragma("unroll")
#else
#define SJ_UNROLL
#endif

namespace sj {
inline namespace SJ_ABI {

// Steps that a thread of V neurons asks for at once: 64 bytes of float, or 32.
template <int V> constexpr int kInFlight = V == 1 ? 8 : 4;

// Packs of K steps, the k-th at `at + k * stride`. Loops over k are unrolled: packs are registers.
template <class E, int V, int K> struct Flight {
    Pack<E, V> pack[K];

    // The first `count` of them; null: zeros.
    SJ_HD void fetch(const void* base, int64_t at, int64_t stride, int64_t count) {
        SJ_UNROLL
        for (int k = 0; k < K; ++k) {
            pack[k] = Pack<E, V>{};
            if (base && k < count) pack[k] = load<E, V>(base, at + k * stride);
        }
    }
};

// Steps [begin, end) of neurons i, ..., i + V - 1, their states in v and w. After each step calls
// each(t, h, spike) with arrays of V.
template <class E, class R, int V, class N, class Reset, class F>
SJ_HD void walk(const NeuronArgs& a, int64_t i, int64_t begin, int64_t end, const N& neuron,
                const Reset& reset, const R (&th)[V], R (&v)[V], R (&w)[V], const F& each) {
    constexpr int K = kInFlight<V>;
    Flight<E, V, K> x, next;
    x.fetch(a.x, begin * a.x_step + i, a.x_step, end - begin);
    for (int64_t t = begin; t < end; t += K) {
        next.fetch(a.x, (t + K) * a.x_step + i, a.x_step, end - t - K);
        SJ_UNROLL
        for (int k = 0; k < K; ++k) {
            if (t + k >= end) break;
            R h[V];
            bool spike[V];
            SJ_UNROLL
            for (int j = 0; j < V; ++j)
                spike[j] =
                    step_forward(neuron, reset, R(widen(x.pack[k].e[j])), th[j], v[j], w[j], h[j]);
            each(t + k, h, spike);
        }
        x = next;
    }
}

}  // namespace SJ_ABI
}  // namespace sj
