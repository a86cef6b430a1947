#pragma once
// What a driver is given. Every driver (CPU per instruction set, CUDA, host launcher of the CUDA
// kernel bodies) offers `forward(const NeuronArgs&)` and `backward(const NeuronArgs&)`.
//
// Arrays of neurons hold n elements in storage order; those with time hold T * n, step outermost.
// With scale_ptr, scale is 1.
// x, s, g_s, g_x are of `dtype`; all others of the state type: double for f64, else float.
// Drivers do no checks: Python has done them. Null pointers: v, w (filled with v_fill, w_fill),
// v_seq, and any incoming gradient (zero) or any outgoing one (not wanted) but g_x. On the CPU g_x
// may be the memory of g_s: each gradient is read before it is written there.

#include <cstdint>
#include <type_traits>

#include "sj/dynamics.hpp"
#include "sj/surrogate.hpp"

namespace sj {

enum class DType : int { f32, f64, f16, bf16 };
enum class NeuronKind : int { If, Lif, Plif, Qif, Eif, Izhikevich, kCount };

struct NeuronArgs {
    // sizes; channel of neuron i = (i / inner) % channels, for v_th_ptr and scale_ptr
    int64_t T, n, channels, inner;
    int64_t x_step;  // elements between steps of x: n, or 0 for one step that repeats
    // settings
    NeuronKind neuron;
    Surrogate surrogate;
    DType dtype;
    bool hard, detach, decay_input;
    double p[8], surrogate_p[2];
    double v_th, v_reset, scale, v_fill, w_fill;
    // forward; decay_ptr holds 1/tau for Plif
    const void *x, *v, *w, *v_th_ptr, *scale_ptr, *decay_ptr;
    void *s, *v_next, *w_next, *v_seq;
    // backward; g_decay: one double
    const void *g_s, *g_v_next, *g_w_next, *g_v_seq;
    void *g_x, *g_v, *g_w, *g_decay;
    // partial: a double per 64 neurons, for g_decay; scratch (CUDA): checkpoints of the states
    void *scratch, *partial;
    void* stream;
    int device, threads;
};

inline namespace SJ_ABI {

// Calls `f(neuron)`. For Plif, p[0] must already hold the value of decay_ptr; without a gradient
// for it the neuron is a Lif.
template <class R, class F>
SJ_HD void dispatch_neuron(const NeuronArgs& a, const double* p, bool decay_grad, F&& f) {
    switch (a.neuron) {
        case NeuronKind::If: return f(If<R>(p));
        case NeuronKind::Plif:
            if (decay_grad) {
                if (a.decay_input) return f(Plif<R, true>(p));
                return f(Plif<R, false>(p));
            }
            [[fallthrough]];
        case NeuronKind::Lif:
            if (a.decay_input) return f(Lif<R, true>(p));
            return f(Lif<R, false>(p));
        case NeuronKind::Qif: return f(Qif<R>(p));
        case NeuronKind::Eif: return f(Eif<R>(p));
        case NeuronKind::Izhikevich: return f(Izhikevich<R>(p));
        case NeuronKind::kCount: break;
    }
}

}  // namespace SJ_ABI

struct Driver {
    void (*forward)(const NeuronArgs&);
    void (*backward)(const NeuronArgs&);
};

}  // namespace sj
