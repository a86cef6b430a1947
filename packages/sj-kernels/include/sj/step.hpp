#pragma once
// One time step of one neuron, forward and backward: the only recurrence of the repository. The CPU
// driver runs it over rows of neurons, the CUDA driver over time in a thread.

#include "sj/dynamics.hpp"
#include "sj/reset.hpp"

namespace sj {
inline namespace SJ_ABI {

// H = charge(V, X); S = Theta(H - v_th); V <- reset(S, H); W <- adapt(W, H) + b S.
template <class R, class Neuron, class Reset>
SJ_HD bool step_forward(const Neuron& neuron, const Reset& reset, R x, R v_th, R& v, R& w, R& h) {
    h = neuron.charge(v, x, w);
    bool spike = h - v_th >= R(0);
    v = reset.apply(spike, h, v_th);
    if constexpr (Neuron::kTwoStates) {
        w = neuron.adapt(w, h);
        w = w + neuron.jump() * (spike ? R(1) : R(0));
    }
    return spike;
}

// Given h of the step, surrogate gs = g'(h - v_th), gradient g_s of the spike and g_v, g_w of the
// states after the step, returns gH and leaves in g_v, g_w the gradients of the states before it.
// `v_before` is read by nonlinear neurons only. gX = gH * dh_dx().
template <class R, bool kDetach, class Neuron, class Reset>
SJ_HD R step_backward(const Neuron& neuron, const Reset& reset, R h, R gs, R g_s, R v_th,
                      R v_before, R& g_v, R& g_w) {
    bool spike = h - v_th >= R(0);
    if constexpr (Neuron::kTwoStates) g_s = g_s + neuron.jump() * g_w;
    R dv_dh = reset.detached(spike);
    if constexpr (!kDetach) dv_dh = dv_dh + reset.through_spike(h, v_th) * gs;
    R g_h = g_s * gs + g_v * dv_dh;
    if constexpr (Neuron::kTwoStates) {
        g_h = g_h + g_w * neuron.dw_dh();
        g_w = g_w * neuron.dw_dw() + g_h * neuron.dh_dw();
    }
    g_v = g_h * neuron.dh_dv(v_before);
    return g_h;
}

}  // namespace SJ_ABI
}  // namespace sj
