#pragma once
// Steps on their way: a thread asks memory for several steps at once, and for one more whenever it
// has used one, so that their latencies pass together. That is what sets the pace where there are few
// threads, each with many steps.

#include "any_surrogate.hpp"
#include "pack.hpp"
#include "sj/launch.hpp"
#include "sj/step.hpp"

namespace sj {
inline namespace SJ_ABI {

// Steps of V neurons under way: 64 bytes; 8 steps of a single neuron.
template <class E, int V> constexpr int kInFlight = V == 1 ? 8 : 64 / (V * int(sizeof(E)));

// The next K steps of `count`, each `stride` elements from the one before. Loops over k are
// unrolled: packs are registers. Null: zeros.
template <class E, int V, int K> struct Flight {
    Pack<E, V> pack[K];
    const E* next;
    int64_t stride;
    int left;  // steps not asked for

    SJ_HD Flight(const E* first, int64_t stride, int count)
        : next(first),
          stride(stride),
          left(first ? count : 0) {
        SJ_UNROLL
        for (int k = 0; k < K; ++k) {
            pack[k] = Pack<E, V>{};
            ask(k);
        }
    }

    // For the next step, in place of the k-th: once that one is used.
    SJ_HD void ask(int k) {
        if (left <= 0) return;
        --left;
        pack[k] = load<E, V>(next);
        next += stride;
    }
};

template <class T> SJ_HD T* offset(const void* base, int64_t elements) {
    return base ? static_cast<T*>(const_cast<void*>(base)) + elements : nullptr;
}

// Steps [begin, end) of neurons i, ..., i + V - 1, their states in v and w. After each step calls
// each(h, spike) with arrays of V.
template <class E, class R, int V, class N, class Reset, class F>
SJ_HD void walk(const NeuronArgs& a, int64_t i, int64_t begin, int64_t end, const N& neuron,
                const Reset& reset, const R (&th)[V], R (&v)[V], R (&w)[V], const F& each) {
    constexpr int K = kInFlight<E, V>;
    constexpr int64_t kMost = 1 << 30;  // steps counted in 32 bits
    while (begin < end) {
        const int count = int(end - begin < kMost ? end - begin : kMost);
        Flight<E, V, K> x(offset<const E>(a.x, begin * a.x_step + i), a.x_step, count);
        for (int t = 0; t < count; t += K) {
            SJ_UNROLL
            for (int k = 0; k < K; ++k) {
                if (t + k >= count) break;
                R h[V];
                bool spike[V];
                SJ_UNROLL
                for (int j = 0; j < V; ++j)
                    spike[j] = step_forward(neuron, reset, R(widen(x.pack[k].e[j])), th[j], v[j],
                                            w[j], h[j]);
                x.ask(k);
                each(h, spike);
            }
        }
        begin += count;
    }
}

}  // namespace SJ_ABI
}  // namespace sj
