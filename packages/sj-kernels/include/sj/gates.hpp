#pragma once
// Gate arithmetic of the spiking recurrent cells, one unit at a time: the only place where it is
// written. S is Theta in forward; in backward d* is the surrogate's derivative at the
// pre-activation. In torch's notation, and in this order of operations:
//
// LSTM (i, f, g, o)   c' = f * c + i * g; c' = min(c', clamp), straight through; h' = o * c'
//   backward          gc = gc + gh * o; g_i = di * (gc * g); g_f = df * (gc * c);
//                     g_g = dg * (gc * i); g_o = do * (gh * c'); gc = gc * f
// GRU (r, z, n)       r = S(x_r + h_r); z = S(x_z + h_z); a = x_n + r * h_n; n = S(a);
//                     h' = (1 - z) * n + z * h
//   backward          g_a = gh * (1 - z) * da; g_r = dr * (g_a * h_n); g_z = dz * (gh * (h - n));
//                     g_hn = g_a * r; gh = gh * z, to which the product of the gates is added
// vanilla             h' = S(a); backward: g_a = da * gh

#include "sj/surrogate.hpp"

namespace sj {
inline namespace SJ_ABI {

template <class R> SJ_HD R spike_(R x) { return x >= R(0) ? R(1) : R(0); }

template <class R> SJ_HD void lstm_forward(R i, R f, R g, R o, R c, R clamp, R& c_next, R& h_next) {
    R next = spike_(f) * c + spike_(i) * spike_(g);
    next = next > clamp ? clamp : next;  // no clamp: infinity
    c_next = next;
    h_next = spike_(o) * next;
}

template <class R>
SJ_HD void lstm_backward(R i, R f, R g, R o, R di, R df, R dg, R d_o, R c, R c_next, R gh, R& gc,
                         R& g_i, R& g_f, R& g_g, R& g_o) {
    R total = gc + gh * spike_(o);
    g_i = di * (total * spike_(g));
    g_f = df * (total * c);
    g_g = dg * (total * spike_(i));
    g_o = d_o * (gh * c_next);
    gc = total * spike_(f);
}

// The candidate's pre-activation; r is a complete pre-activation.
template <class R> SJ_HD R gru_candidate(R r, R x_n, R h_n) { return x_n + spike_(r) * h_n; }

template <class R> SJ_HD R gru_forward(R z, R a, R h) {
    R z_spike = spike_(z);
    return (R(1) - z_spike) * spike_(a) + z_spike * h;
}

template <class R>
SJ_HD void gru_backward(R r, R z, R a, R dr, R dz, R da, R h_n, R h, R& gh, R& g_r, R& g_z, R& g_hn,
                        R& g_a) {
    R z_spike = spike_(z);
    R candidate = gh * (R(1) - z_spike) * da;
    g_a = candidate;
    g_r = dr * (candidate * h_n);
    g_z = dz * (gh * (h - spike_(a)));
    g_hn = candidate * spike_(r);
    gh = gh * z_spike;
}

}  // namespace SJ_ABI
}  // namespace sj
