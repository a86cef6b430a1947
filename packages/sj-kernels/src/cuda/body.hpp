#pragma once
// What a CUDA thread does, free of CUDA: the kernels of neuron.cu and the host launcher of host.cpp
// run these bodies. A thread owns V adjacent neurons and loops over time with their states in
// registers. Addresses run along with the steps: a product per step and array costs as much as the
// neuron.
//
// Backward keeps no history in global memory: H of a segment of steps at a time is recomputed into
// shared memory, from checkpoints of the states that a first sweep wrote (none if T is a segment).

#include "block.hpp"
#include "flight.hpp"

namespace sj {
inline namespace SJ_ABI {

// `given` with 1/tau read from the tensor of a learnable one.
template <class R, class N> SJ_HD N with_decay(const NeuronArgs& a, N given) {
    if (a.decay_ptr) given.set_decay(*static_cast<const R*>(a.decay_ptr));
    return given;
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

// At an address of our own, aligned.
template <class R, int V> SJ_HD void keep(R* at, const R (&from)[V]) {
    Pack<R, V> pack;
    SJ_UNROLL
    for (int j = 0; j < V; ++j) pack.e[j] = from[j];
    store<R, V>(at, pack);
}

// Into a tensor of our own, whose rows are aligned; null: not wanted.
template <class R, int V> SJ_HD void keep_state(void* state, int64_t i, const R (&from)[V]) {
    if (state) keep(static_cast<R*>(state) + i, from);
}

// R: arithmetic; E: elements of x and s; V: neurons of a thread; q: the thread.
template <class R, class E, int V, class N, class Reset>
SJ_HD void forward_body(const NeuronArgs& a, const N& given, int64_t q) {
    const int64_t i = q * V;
    if (i >= a.n) return;
    const N neuron = with_decay<R>(a, given);
    const Reset reset{R(a.v_reset)};
    R v[V], w[V], th[V], scale[V];
    E one[V];
    initial(a.v, a.v_fill, i, v);
    initial(a.w, a.w_fill, i, w);
    per_neuron(a.v_th_ptr, a.v_th, a, i, th);
    per_neuron(a.scale_ptr, a.scale, a, i, scale);
    SJ_UNROLL
    for (int j = 0; j < V; ++j) narrow(scale[j], one[j]);
    E* s_at = offset<E>(a.s, i);
    R* v_at = offset<R>(a.v_seq, i);
    walk<E>(a, i, 0, a.T, neuron, reset, th, v, w, [&](const auto&, const auto& spike) {
        Pack<E, V> s;
        SJ_UNROLL
        for (int j = 0; j < V; ++j) s.e[j] = spike[j] ? one[j] : E{};
        store<E, V>(s_at, s);
        s_at += a.n;
        if (v_at) {
            keep(v_at, v);
            v_at += a.n;
        }
    });
    keep_state(a.v_next, i, v);
    if (N::kTwoStates) keep_state(a.w_next, i, w);
}

// `shared`: the block's memory for H, [step of a segment][thread][neuron]; returns the thread's sum
// of the decay's gradient.
template <class R, class E, int V, class N, class Reset, Surrogates kOf>
SJ_HD double backward_body(const NeuronArgs& a, const AnySurrogate<R>& any, const N& given,
                           const Block& block, int64_t q, int thread, R* shared) {
    const int64_t i = q * V;
    if (i >= a.n) return 0;
    const N neuron = with_decay<R>(a, given);
    const Reset reset{R(a.v_reset)};
    constexpr int kStates = N::kTwoStates ? 2 : 1;
    // Each step in flight is a copy of the surrogate's code: few copies where that is long.
    constexpr int K = kOf == Surrogates::common ? kInFlight<E, V> : V == 1 ? 2 : 1;
    const int64_t last = (a.T - 1) / block.segment;  // segment
    const int row = block.threads * V;               // of shared memory
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
    int to_go = block.segment;
    R* kept = offset<R>(a.scratch, i);
    walk<E>(a, i, 0, last * block.segment, neuron, reset, th, v, w, [&](const auto&, const auto&) {
        if (--to_go > 0) return;
        to_go = block.segment;
        keep(kept, v);
        kept += a.n;
        if (N::kTwoStates) {
            keep(kept, w);
            kept += a.n;
        }
    });

    for (int64_t segment = last; segment >= 0; --segment) {
        const bool first = segment == 0;
        initial(first ? a.v : checkpoint(segment - 1), a.v_fill, i, v);
        if (N::kTwoStates) initial(first ? a.w : checkpoint(segment - 1) + a.n, a.w_fill, i, w);
        R v_start[V];
        SJ_UNROLL
        for (int j = 0; j < V; ++j) v_start[j] = v[j];
        const int64_t begin = segment * block.segment;
        const int steps = int(a.T - begin < block.segment ? a.T - begin : block.segment);
        R* h_at = shared + thread * V;
        walk<E>(a, i, begin, begin + steps, neuron, reset, th, v, w,
                [&](const auto& h, const auto&) {
                    store_shared(h_at, h);
                    h_at += row;
                });

        int64_t at = (begin + steps - 1) * a.n + i;
        Flight<E, V, K> g_s(offset<const E>(a.g_s, at), -a.n, steps);
        Flight<E, V, K> x(
            N::kDecayGrad ? offset<const E>(a.x, (begin + steps - 1) * a.x_step + i) : nullptr,
            -a.x_step, steps);
        for (int top = steps - 1; top >= 0; top -= K) {
            SJ_UNROLL
            for (int b = 0; b < K; ++b) {
                if (top < b) break;
                h_at -= row;
                const Pack<R, V> h = load<R, V>(h_at);
                Pack<E, V> g_x;
                if (a.g_v_seq) {
                    SJ_UNROLL
                    for (int j = 0; j < V; ++j) g_v[j] += static_cast<const R*>(a.g_v_seq)[at + j];
                }
                R over[V], gs[V];
                SJ_UNROLL
                for (int j = 0; j < V; ++j) over[j] = h.e[j] - th[j];
                surrogate_gradients<kOf>(any, over, gs);
                SJ_UNROLL
                for (int j = 0; j < V; ++j) {
                    R v_before = v_start[j];
                    if (N::kNonlinear && top > b) {
                        const R before = h_at[j - row];
                        v_before = reset.apply(before - th[j] >= R(0), before, th[j]);
                    }
                    const R g = R(widen(g_s.pack[b].e[j])) * scale[j];
                    const R g_h = a.detach
                                      ? step_backward<R, true>(neuron, reset, h.e[j], gs[j], g,
                                                               th[j], v_before, g_v[j], g_w[j])
                                      : step_backward<R, false>(neuron, reset, h.e[j], gs[j], g,
                                                                th[j], v_before, g_v[j], g_w[j]);
                    if constexpr (N::kDecayGrad)
                        g_decay +=
                            double(g_h * neuron.dh_ddecay(v_before, R(widen(x.pack[b].e[j]))));
                    narrow(g_h * neuron.dh_dx(), g_x.e[j]);
                }
                g_s.ask(b);
                if (N::kDecayGrad) x.ask(b);
                store<E, V>(static_cast<E*>(a.g_x) + at, g_x);
                at -= a.n;
            }
        }
    }
    keep_state(a.g_v, i, g_v);
    if (N::kTwoStates) keep_state(a.g_w, i, g_w);
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
