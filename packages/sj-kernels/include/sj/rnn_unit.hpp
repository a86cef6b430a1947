#pragma once
// One unit of one step of a recurrent cell, from memory to memory: the body of the CUDA kernels,
// which a host launcher can run as well. `index` = n * H + j.

#include "sj/gates.hpp"
#include "sj/half.hpp"
#include "sj/rnn.hpp"

namespace sj {
inline namespace SJ_ABI {

SJ_HD int64_t rnn_gates(CellKind kind) {
    return kind == CellKind::Lstm ? 4 : kind == CellKind::Gru ? 3 : 1;
}

template <class R> SJ_HD R derivative_at(Surrogate id, const double* p, R x) {
    R value = R(0);
    dispatch_surrogate<R>(id, p, [&](auto surrogate) { value = surrogate(x); });
    return value;
}

// Element access to arrays of the cell's dtype, in R.
template <class R> struct Elements {
    DType dtype;
    SJ_HD R get(const void* base, int64_t i) const {
        if constexpr (sizeof(R) == 8) {
            return static_cast<const R*>(base)[i];
        } else {
            if (dtype == DType::f32) return static_cast<const R*>(base)[i];
            const uint16_t bits = static_cast<const uint16_t*>(base)[i];
            return dtype == DType::f16 ? half_to_float(bits) : bfloat_to_float(bits);
        }
    }
    // Writes x and gives it back as it is kept.
    SJ_HD R put(void* base, int64_t i, R x) const {
        if constexpr (sizeof(R) == 8) {
            static_cast<R*>(base)[i] = x;
            return x;
        } else {
            if (dtype == DType::f32) {
                static_cast<R*>(base)[i] = x;
                return x;
            }
            const uint16_t bits = dtype == DType::f16 ? float_to_half(x) : float_to_bfloat(x);
            static_cast<uint16_t*>(base)[i] = bits;
            return dtype == DType::f16 ? half_to_float(bits) : bfloat_to_float(bits);
        }
    }
};

template <class R> SJ_HD void step_forward_unit(const StepArgs& a, int64_t index) {
    const Elements<R> e{a.dtype};
    const int64_t n = index / a.H, j = index % a.H, H = a.H;
    const int64_t first = n * rnn_gates(a.cell.kind) * H + j;
    auto complete = [&](int64_t gate) {
        const int64_t at = first + gate * H;
        return e.put(a.pre, at, e.get(a.pre, at) + e.get(a.hw, at));
    };
    R h;
    if (a.cell.kind == CellKind::Lstm) {
        R c, i = complete(0), f = complete(1), g = complete(2), o = complete(3);
        lstm_forward(i, f, g, o, e.get(a.c, index), R(a.cell.clamp), c, h);
        e.put(a.aux, index, c);
    } else if (a.cell.kind == CellKind::Gru) {
        const R r = complete(0), z = complete(1);
        const R h_n = e.put(a.aux, index, e.get(a.hw, first + 2 * H));
        const int64_t at = first + 2 * H;
        const R candidate = e.put(a.pre, at, gru_candidate(r, e.get(a.pre, at), h_n));
        h = gru_forward(z, candidate, e.get(a.h, index));
    } else {
        h = spike_(complete(0));
    }
    e.put(a.h_out, index, h);
}

template <class R> SJ_HD void step_backward_unit(const StepArgs& a, int64_t index) {
    const Elements<R> e{a.dtype};
    const CellSettings& s = a.cell;
    const int64_t n = index / a.H, j = index % a.H, H = a.H;
    const int64_t first = n * rnn_gates(s.kind) * H + j;
    R gh = a.gh_in ? static_cast<const R*>(a.gh_in)[index] : R(0);
    if (a.gy) gh = gh + e.get(a.gy, index);
    auto pre = [&](int64_t gate) { return e.get(a.pre, first + gate * H); };
    auto d1 = [&](R x) { return derivative_at<R>(s.s1, s.p1, x); };
    auto d2 = [&](R x) { return derivative_at<R>(s.s2, s.p2, x); };
    auto put = [&](int64_t gate, R x) { e.put(a.gp, first + gate * H, x); };
    if (s.kind == CellKind::Lstm) {
        R gc = a.gc_in ? static_cast<const R*>(a.gc_in)[index] : R(0);
        R g_i, g_f, g_g, g_o, i = pre(0), f = pre(1), g = pre(2), o = pre(3);
        lstm_backward(i, f, g, o, d1(i), d1(f), d2(g), d1(o), e.get(a.c, index),
                      e.get(a.aux, index), gh, gc, g_i, g_f, g_g, g_o);
        put(0, g_i);
        put(1, g_f);
        put(2, g_g);
        put(3, g_o);
        static_cast<R*>(a.gc)[index] = gc;
        gh = R(0);
    } else if (s.kind == CellKind::Gru) {
        R g_r, g_z, g_hn, g_a, r = pre(0), z = pre(1), candidate = pre(2);
        gru_backward(r, z, candidate, d1(r), d1(z), d2(candidate), e.get(a.aux, index),
                     e.get(a.h, index), gh, g_r, g_z, g_hn, g_a);
        put(0, g_r);
        put(1, g_z);
        put(2, g_hn);
        e.put(a.gn, index, g_a);
    } else {
        put(0, d1(pre(0)) * gh);
        gh = R(0);
    }
    static_cast<R*>(a.gh)[index] = gh;
}

}  // namespace SJ_ABI
}  // namespace sj
