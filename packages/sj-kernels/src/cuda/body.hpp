#pragma once
// What a CUDA thread does, free of CUDA: the kernels of neuron.cu and the host launcher of host.cpp
// run these bodies. A thread owns V adjacent neurons and loops over time with their states in
// registers.
//
// Backward keeps no history in global memory: H of kSegment steps at a time is recomputed into
// shared memory, from checkpoints of the states that a first sweep wrote (none if T <= kSegment).

#include "any_surrogate.hpp"
#include "pack.hpp"
#include "sj/step.hpp"

#if defined(__CUDACC__)
#define SJ_UNROLL _Pragma("unroll")
#else
#define SJ_UNROLL
#endif

namespace sj {
inline namespace SJ_ABI {

constexpr int kThreads = 128;  // of a block
constexpr int kSegment = 8;    // steps of H in shared memory
constexpr int kSum = 64;       // neurons per partial sum of the decay's gradient

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
    per_neuron(a.scale_ptr, 1.0, a, i, scale);
    Pack<E, V> x = load<E, V>(a.x, i);
    for (int64_t t = 0; t < a.T; ++t) {
        const int64_t at = t * a.n + i;
        Pack<E, V> next = x, s;
        if (t + 1 < a.T) next = load<E, V>(a.x, (t + 1) * a.x_step + i);
        SJ_UNROLL
        for (int j = 0; j < V; ++j) {
            R h;
            bool spike = step_forward(neuron, reset, R(widen(x.e[j])), th[j], v[j], w[j], h);
            narrow(spike ? R(a.scale) * scale[j] : R(0), s.e[j]);
        }
        store<E, V>(a.s, at, s);
        if (a.v_seq) {
            SJ_UNROLL
            for (int j = 0; j < V; ++j) static_cast<R*>(a.v_seq)[at + j] = v[j];
        }
        x = next;
    }
    SJ_UNROLL
    for (int j = 0; j < V; ++j) {
        static_cast<R*>(a.v_next)[i + j] = v[j];
        if (N::kTwoStates) static_cast<R*>(a.w_next)[i + j] = w[j];
    }
}

// `shared`: kSegment * V * kThreads values, [step][neuron][thread]; returns the thread's sum of the
// decay's gradient.
template <class R, class E, int V, class N, class Reset, Surrogates kOf>
SJ_HD double backward_body(const NeuronArgs& a, const AnySurrogate<R>& any, int64_t q, int thread,
                           R* shared) {
    const int64_t i = q * V;
    if (i >= a.n) return 0;
    const N neuron = make_neuron<R, N>(a);
    const Reset reset{R(a.v_reset)};
    const int64_t last = (a.T - 1) / kSegment;  // segment
    constexpr int kStates = N::kTwoStates ? 2 : 1;
    R v[V], w[V], th[V], scale[V], g_v[V], g_w[V];
    double g_decay = 0;
    per_neuron(a.v_th_ptr, a.v_th, a, i, th);
    per_neuron(a.scale_ptr, 1.0, a, i, scale);
    initial(a.g_v_next, 0, i, g_v);
    initial(a.g_w_next, 0, i, g_w);

    R* const checkpoints = static_cast<R*>(a.scratch);
    initial(a.v, a.v_fill, i, v);
    initial(a.w, a.w_fill, i, w);
    for (int64_t t = 0; t < last * kSegment; ++t) {
        const Pack<E, V> x = load<E, V>(a.x, t * a.x_step + i);
        SJ_UNROLL
        for (int j = 0; j < V; ++j) {
            R h;
            step_forward(neuron, reset, R(widen(x.e[j])), th[j], v[j], w[j], h);
        }
        if ((t + 1) % kSegment == 0) {
            R* to = checkpoints + ((t + 1) / kSegment - 1) * kStates * a.n + i;
            SJ_UNROLL
            for (int j = 0; j < V; ++j) {
                to[j] = v[j];
                if (N::kTwoStates) to[a.n + j] = w[j];
            }
        }
    }

    for (int64_t segment = last; segment >= 0; --segment) {
        R v_start[V];
        if (segment > 0) {
            const R* from = checkpoints + (segment - 1) * kStates * a.n + i;
            SJ_UNROLL
            for (int j = 0; j < V; ++j) {
                v[j] = from[j];
                if (N::kTwoStates) w[j] = from[a.n + j];
            }
        } else {
            initial(a.v, a.v_fill, i, v);
            initial(a.w, a.w_fill, i, w);
        }
        SJ_UNROLL
        for (int j = 0; j < V; ++j) v_start[j] = v[j];
        const int64_t begin = segment * kSegment;
        const int steps = a.T - begin < kSegment ? int(a.T - begin) : kSegment;
        for (int k = 0; k < steps; ++k) {
            const Pack<E, V> x = load<E, V>(a.x, (begin + k) * a.x_step + i);
            SJ_UNROLL
            for (int j = 0; j < V; ++j) {
                R h;
                step_forward(neuron, reset, R(widen(x.e[j])), th[j], v[j], w[j], h);
                shared[(k * V + j) * kThreads + thread] = h;
            }
        }
        for (int k = steps - 1; k >= 0; --k) {
            const int64_t at = (begin + k) * a.n + i;
            Pack<E, V> g_s{}, g_x, x{};
            if (a.g_s) g_s = load<E, V>(a.g_s, at);
            if (N::kDecayGrad) x = load<E, V>(a.x, (begin + k) * a.x_step + i);
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
                const R incoming = R(widen(g_s.e[j])) * (R(a.scale) * scale[j]);
                const R g_h = a.detach ? step_backward<R, true>(neuron, reset, h, gs, incoming,
                                                                th[j], v_before, g_v[j], g_w[j])
                                       : step_backward<R, false>(neuron, reset, h, gs, incoming,
                                                                 th[j], v_before, g_v[j], g_w[j]);
                if constexpr (N::kDecayGrad)
                    g_decay += double(g_h * neuron.dh_ddecay(v_before, R(widen(x.e[j]))));
                narrow(g_h * neuron.dh_dx(), g_x.e[j]);
            }
            store<E, V>(a.g_x, at, g_x);
        }
    }
    SJ_UNROLL
    for (int j = 0; j < V; ++j) {
        if (a.g_v) static_cast<R*>(a.g_v)[i + j] = g_v[j];
        if (N::kTwoStates && a.g_w) static_cast<R*>(a.g_w)[i + j] = g_w[j];
    }
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
