#pragma once
// The reset after a spike, and its derivative with respect to H.
//
//   hard  V = s ? v_reset : H     dV/dH = (1 - s) + (v_reset - H) gs
//   soft  V = s ? H - v_th : H    dV/dH = 1 - v_th gs
//
// gs is the surrogate's derivative at H - v_th; its term is absent with detach_reset.

#include "sj/math.hpp"

namespace sj {
inline namespace SJ_ABI {

template <class R> struct HardReset {
    R v_reset;
    SJ_HD R apply(bool spike, R h, R) const { return spike ? v_reset : h; }
    SJ_HD R detached(bool spike) const { return spike ? R(0) : R(1); }
    SJ_HD R through_spike(R h, R) const { return v_reset - h; }
};

template <class R> struct SoftReset {
    R v_reset;  // unused: one initialiser for both
    SJ_HD R apply(bool spike, R h, R v_th) const { return spike ? h - v_th : h; }
    SJ_HD R detached(bool) const { return R(1); }
    SJ_HD R through_spike(R, R v_th) const { return -v_th; }
};

}  // namespace SJ_ABI
}  // namespace sj
