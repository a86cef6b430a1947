#pragma once
// The charge of each neuron: H = charge(V, X, W), and its derivatives.
//
// The order of floating-point operations is part of the contract. In torch notation, with Python
// floats as scalars (torch rounds them to the tensor's precision, as the constructors do here) and
// no contraction to fused multiply-add, `sj_core`'s torch backend writes the same expressions and
// gets the same bits in float32 and float64 (EIF up to torch's own exp, which is not correctly
// rounded):
//
//   if          h = v + x
//   lif, plif   h = v + (x - (v - v_rest)) * rt           decay_input
//               h = v - (v - v_rest) * rt + x             not decay_input
//   qif         h = v + (x + a0 * (v - v_rest) * (v - v_c)) * rt
//   eif         h = v + (x + v_rest - v + delta_T * exp((v - theta_rh) * (1 / delta_T))) * rt
//   izhikevich  h = v + (x + a0 * (v - v_rest) * (v - v_c) - w) * rt
//               w = w + (a * (h - v_rest) - w) * rtw      then w = w + b * s
//
// rt = 1/tau is computed in double and multiplied, never divided by.
//
// To add a neuron: a struct here, a row in `dispatch_neuron` (launch.hpp), a row in
// `sj_kernels.info`, a reference in tests/reference.py.

#include "sj/math.hpp"

namespace sj {
inline namespace SJ_ABI {

struct NeuronBase {
    static constexpr bool kTwoStates = false;      // has W
    static constexpr bool kNonlinear = false;      // dH/dV needs V
    static constexpr bool kDecayGrad = false;      // 1/tau is learnable
    template <class R> SJ_HD void set_decay(R) {}  // where 1/tau comes as a tensor
};

template <class R> struct If : NeuronBase {
    explicit SJ_HD If(const double*) {}
    SJ_HD R charge(R v, R x, R) const { return v + x; }
    SJ_HD R dh_dx() const { return R(1); }
    SJ_HD R dh_dv(R) const { return R(1); }
};

// p: 1/tau, v_rest
template <class R, bool kDecayInput> struct Lif : NeuronBase {
    R rt, v_rest;
    explicit SJ_HD Lif(const double* p) : rt(R(p[0])), v_rest(R(p[1])) {}
    SJ_HD void set_decay(R value) { rt = value; }
    SJ_HD R charge(R v, R x, R) const {
        if (kDecayInput) return v + (x - (v - v_rest)) * rt;
        return (v - (v - v_rest) * rt) + x;
    }
    SJ_HD R dh_dx() const { return kDecayInput ? rt : R(1); }
    SJ_HD R dh_dv(R) const { return R(1) - rt; }
};

// As Lif, with the gradient of 1/tau.
template <class R, bool kDecayInput> struct Plif : Lif<R, kDecayInput> {
    static constexpr bool kNonlinear = true;
    static constexpr bool kDecayGrad = true;
    using Lif<R, kDecayInput>::Lif;
    SJ_HD R dh_ddecay(R v, R x) const {
        return kDecayInput ? x - (v - this->v_rest) : -(v - this->v_rest);
    }
};

// p: 1/tau, v_c, a0, v_rest
template <class R> struct Qif : NeuronBase {
    static constexpr bool kNonlinear = true;
    R rt, v_c, a0, v_rest;
    explicit SJ_HD Qif(const double* p) : rt(R(p[0])), v_c(R(p[1])), a0(R(p[2])), v_rest(R(p[3])) {}
    SJ_HD R charge(R v, R x, R) const { return v + (x + a0 * (v - v_rest) * (v - v_c)) * rt; }
    SJ_HD R dh_dx() const { return rt; }
    SJ_HD R dh_dv(R v) const { return R(1) + rt * a0 * ((v - v_rest) + (v - v_c)); }
};

// p: 1/tau, delta_T, theta_rh, v_rest
template <class R> struct Eif : NeuronBase {
    static constexpr bool kNonlinear = true;
    R rt, delta_t, theta_rh, v_rest, inverse;
    explicit SJ_HD Eif(const double* p)
        : rt(R(p[0])),
          delta_t(R(p[1])),
          theta_rh(R(p[2])),
          v_rest(R(p[3])),
          inverse(R(1.0 / p[1])) {}
    // In double for both precisions: H decides about spikes.
    SJ_HD R exponential(R v) const { return R(exp_(double((v - theta_rh) * inverse))); }
    SJ_HD R charge(R v, R x, R) const {
        return v + (x + v_rest - v + delta_t * exponential(v)) * rt;
    }
    SJ_HD R dh_dx() const { return rt; }
    SJ_HD R dh_dv(R v) const { return R(1) - rt + rt * exponential(v); }
};

// p: 1/tau, v_c, a0, v_rest, 1/tau_w, a, b
template <class R> struct Izhikevich : NeuronBase {
    static constexpr bool kTwoStates = true;
    static constexpr bool kNonlinear = true;
    R rt, v_c, a0, v_rest, rtw, a, b;
    explicit SJ_HD Izhikevich(const double* p)
        : rt(R(p[0])),
          v_c(R(p[1])),
          a0(R(p[2])),
          v_rest(R(p[3])),
          rtw(R(p[4])),
          a(R(p[5])),
          b(R(p[6])) {}
    SJ_HD R charge(R v, R x, R w) const { return v + (x + a0 * (v - v_rest) * (v - v_c) - w) * rt; }
    SJ_HD R dh_dx() const { return rt; }
    SJ_HD R dh_dv(R v) const { return R(1) + rt * a0 * ((v - v_rest) + (v - v_c)); }
    SJ_HD R dh_dw() const { return -rt; }
    SJ_HD R adapt(R w, R h) const { return w + (a * (h - v_rest) - w) * rtw; }
    SJ_HD R dw_dw() const { return R(1) - rtw; }
    SJ_HD R dw_dh() const { return a * rtw; }
    SJ_HD R jump() const { return b; }
};

}  // namespace SJ_ABI
}  // namespace sj
