#pragma once
// Elements of a tensor as a thread sees them: several at once in memory, widened for arithmetic.

#include "sj/half.hpp"

namespace sj {
inline namespace SJ_ABI {

struct F16 {
    uint16_t bits;
};
struct BF16 {
    uint16_t bits;
};

SJ_HD float widen(float x) { return x; }
SJ_HD double widen(double x) { return x; }
SJ_HD float widen(F16 x) { return half_to_float(x.bits); }
SJ_HD float widen(BF16 x) { return bfloat_to_float(x.bits); }
SJ_HD void narrow(float x, float& to) { to = x; }
SJ_HD void narrow(double x, double& to) { to = x; }
SJ_HD void narrow(float x, F16& to) { to.bits = float_to_half(x); }
SJ_HD void narrow(float x, BF16& to) { to.bits = float_to_bfloat(x); }

// V adjacent elements, loaded and stored at once.
template <class E, int V> struct alignas(sizeof(E) * V) Pack {
    E e[V];
};

template <class E, int V> SJ_HD Pack<E, V> load(const void* base, int64_t at) {
    return *reinterpret_cast<const Pack<E, V>*>(static_cast<const E*>(base) + at);
}

template <class E, int V> SJ_HD void store(void* base, int64_t at, const Pack<E, V>& pack) {
    *reinterpret_cast<Pack<E, V>*>(static_cast<E*>(base) + at) = pack;
}

}  // namespace SJ_ABI
}  // namespace sj
