#pragma once
// What a CUDA thread does, free of CUDA: the kernels of neuron.cu and the host launcher of host.cpp
// run these bodies. A thread owns V adjacent neurons and loops over time with their states in
// registers.
//
// Backward keeps no history in global memory: H of a segment of steps at a time is recomputed into
// shared memory, from checkpoints of the states that a first sweep wrote (none if T is a segment).

#include "any_surrogate.hpp"
#include "flight.hpp"

namespace sj {
inline namespace SJ_ABI {

constexpr int kThreads = 128;  // of a block
constexpr int kSum = 64;       // neurons per partial sum of the decay's gradient

// Steps of H in shared memory: at most 32 KiB of a block, so that an SM holds seven.
template <class R, int V> constexpr int kSegment = 32 * 1024 / (kThreads * V * int(sizeof(R)));

// A sweep for checkpoints reads x once more: where only a thread of one neuron can do without it,
// that is better than V neurons.
template <class R, int V> bool takes_wide(int64_t T) {
    return T <= kSegment<R, V> || T > kSegment<R, 1>;
}

// Parameters with 1/tau read from the tensor of a learnable one.
template <class R, class N> SJ_HD N make_neuron(const NeuronArgs& a) {
    double p[8];
    for (int i = 0; i < 8; ++i) p[i] = a.p[i];
    if (a.decay_ptr) p[0] = double(*static_cast<const R*>(a.decay_ptr));
    return N(p);
}

template <class R, int V>
SJ_HD void per_neuron(const void* values, double value, const NeuronArgs& a, int64_t i,
                      R (&to)[V]) {
    SJ_UNROLL
    for (int j = 0; j < V; ++j)
        to[j] = values ? static_cast<const R*>(values)[((i + j) / a.inner) % a.channels] : R(value);
}

template <class R, int V>
SJ_HD void initial(const void* state, double fill, int64_t i, R (&to)[V]) {
    SJ_UNROLL
    for (int j = 0; j < V; ++j) to[j] = state ? static_cast<const R*>(state)[i + j] : R(fill);
}

// Into a tensor of our own, whose rows are aligned; null: not wanted.
template <class R, int V> SJ_HD void keep(void* state, int64_t i, const R (&from)[V]) {
    Pack<R, V> pack;
    SJ_UNROLL
    for (int j = 0; j < V; ++j) pack.e[j] = from[j];
    if (state) store<R, V>(state, i, pack);
}

// R: arithmetic; E: elements of x and s; V: neurons of a thread; q: the thread.
template <class R, class E, int V, class N, class Reset>
SJ_HD void forward_body(const NeuronArgs& a, int64_t q) {
    const int64_t i = q * V;
    if (i >= a.n) return;
    const N neuron = make_neuron<R, N>(a);
    const Reset reset{R(a.v_reset)};
    R v[V], w[V], th[V], scale[V];
    initial(a.v, a.v_fill, i, v);
    initial(a.w, a.w_fill, i, w);
    per_neuron(a.v_th_ptr, a.v_th, a, i, th);
    per_neuron(a.scale_ptr, a.scale, a, i, scale);
    walk<E>(a, i, 0, a.T, neuron, reset, th, v, w, [&](int64_t t, const auto&, const auto& spike) {
        Pack<E, V> s;
        SJ_UNROLL
        for (int j = 0; j < V; ++j) narrow(spike[j] ? scale[j] : R(0), s.e[j]);
        store<E, V>(a.s, t * a.n + i, s);
        keep(a.v_seq, t * a.n + i, v);
    });
    keep(a.v_next, i, v);
    if (N::kTwoStates) keep(a.w_next, i, w);
}

// `shared`: as many steps of H as a segment has, [step][neuron][thread]; returns the thread's sum of
// the decay's gradient.
template <class R, class E, int V, class N, class Reset, Surrogates kOf>
SJ_HD double backward_body(const NeuronArgs& a, const AnySurrogate<R>& any, int64_t q, int thread,
                           R* shared) {
    const int64_t i = q * V;
    if (i >= a.n) return 0;
    const N neuron = make_neuron<R, N>(a);
    const Reset reset{R(a.v_reset)};
    constexpr int kSteps = kSegment<R, V>, kStates = N::kTwoStates ? 2 : 1;
    // Each step in flight is a copy of the surrogate's code: few copies where that is long.
    constexpr int K = kOf == Surrogates::common ? kInFlight<V> : V == 1 ? 2 : 1;
    const int64_t last = (a.T - 1) / kSteps;  // segment
    R v[V], w[V], th[V], scale[V], g_v[V], g_w[V];
    double g_decay = 0;
    per_neuron(a.v_th_ptr, a.v_th, a, i, th);
    per_neuron(a.scale_ptr, a.scale, a, i, scale);
    initial(a.g_v_next, 0, i, g_v);
    initial(a.g_w_next, 0, i, g_w);

    // Of the states after segment k.
    const auto checkpoint = [&](int64_t k) {
        return static_cast<R*>(a.scratch) + k * kStates * a.n;
    };
    initial(a.v, a.v_fill, i, v);
    initial(a.w, a.w_fill, i, w);
    walk<E>(a, i, 0, last * kSteps, neuron, reset, th, v, w,
            [&](int64_t t, const auto&, const auto&) {
                if ((t + 1) % kSteps != 0) return;
                keep(checkpoint(t / kSteps), i, v);
                if (N::kTwoStates) keep(checkpoint(t / kSteps) + a.n, i, w);
            });

    for (int64_t segment = last; segment >= 0; --segment) {
        const bool first = segment == 0;
        initial(first ? a.v : checkpoint(segment - 1), a.v_fill, i, v);
        if (N::kTwoStates) initial(first ? a.w : checkpoint(segment - 1) + a.n, a.w_fill, i, w);
        R v_start[V];
        SJ_UNROLL
        for (int j = 0; j < V; ++j) v_start[j] = v[j];
        const int64_t begin = segment * kSteps;
        const int steps = a.T - begin < kSteps ? int(a.T - begin) : kSteps;
        walk<E>(a, i, begin, begin + steps, neuron, reset, th, v, w,
                [&](int64_t t, const auto& h, const auto&) {
                    SJ_UNROLL
                    for (int j = 0; j < V; ++j)
                        shared[(int(t - begin) * V + j) * kThreads + thread] = h[j];
                });

        Flight<E, V, K> g_s, x, next_g_s, next_x;
        const auto fetch = [&](int k, Flight<E, V, K>& g_to, Flight<E, V, K>& x_to) {
            g_to.fetch(a.g_s, (begin + k) * a.n + i, -a.n, k + 1);
            if (N::kDecayGrad) x_to.fetch(a.x, (begin + k) * a.x_step + i, -a.x_step, k + 1);
        };
        fetch(steps - 1, g_s, x);
        for (int top = steps - 1; top >= 0; top -= K) {
            fetch(top - K, next_g_s, next_x);
            SJ_UNROLL
            for (int b = 0; b < K; ++b) {
                const int k = top - b;
                if (k < 0) break;
                const int64_t at = (begin + k) * a.n + i;
                Pack<E, V> g_x;
                if (a.g_v_seq) {
                    SJ_UNROLL
                    for (int j = 0; j < V; ++j) g_v[j] += static_cast<const R*>(a.g_v_seq)[at + j];
                }
                SJ_UNROLL
                for (int j = 0; j < V; ++j) {
                    const R h = shared[(k * V + j) * kThreads + thread];
                    const R gs = surrogate_gradient<kOf>(any, h - th[j]);
                    R v_before = v_start[j];
                    if (N::kNonlinear && k > 0) {
                        const R before = shared[((k - 1) * V + j) * kThreads + thread];
                        v_before = reset.apply(before - th[j] >= R(0), before, th[j]);
                    }
                    const R incoming = R(widen(g_s.pack[b].e[j])) * scale[j];
                    const R g_h = a.detach
                                      ? step_backward<R, true>(neuron, reset, h, gs, incoming,
                                                               th[j], v_before, g_v[j], g_w[j])
                                      : step_backward<R, false>(neuron, reset, h, gs, incoming,
                                                                th[j], v_before, g_v[j], g_w[j]);
                    if constexpr (N::kDecayGrad) {
                        const R x_j = R(widen(x.pack[b].e[j]));
                        g_decay += double(g_h * neuron.dh_ddecay(v_before, x_j));
                    }
                    narrow(g_h * neuron.dh_dx(), g_x.e[j]);
                }
                store<E, V>(a.g_x, at, g_x);
            }
            g_s = next_g_s;
            if (N::kDecayGrad) x = next_x;
        }
    }
    keep(a.g_v, i, g_v);
    if (N::kTwoStates) keep(a.g_w, i, g_w);
    return g_decay;
}

// In a fixed order: the result does not depend on the scheduling of blocks.
SJ_HD double partial_sum(const double* sums) {
    double sum = 0;
    for (int k = 0; k < kSum; ++k) sum += sums[k];
    return sum;
}

}  // namespace SJ_ABI
}  // namespace sj
