#pragma once
// Elements of a tensor as a thread sees them: several at once in memory, widened for arithmetic.

#include <cstddef>
#include <cstring>

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

// Words of a device, each loaded and stored in one access.
#if defined(__CUDACC__)
template <std::size_t kBytes> struct Word;
template <> struct Word<2> {
    using type = uint16_t;
};
template <> struct Word<4> {
    using type = uint32_t;
};
template <> struct Word<8> {
    using type = uint2;
};
template <> struct Word<16> {
    using type = uint4;
};
#else
template <std::size_t kBytes> struct Word {
    struct type {
        unsigned char bytes[kBytes];
    };
};
#endif

#if defined(__CUDA_ARCH__)
// nvcc takes an assignment of several registers apart again, a store each.
SJ_HD void put(uint2* to, uint2 w) {
    asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(w.x),
                 "r"(w.y)
                 : "memory");
}
SJ_HD void put(uint4* to, uint4 w) {
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
                 "r"(w.x), "r"(w.y), "r"(w.z), "r"(w.w)
                 : "memory");
}
#endif
template <class W> SJ_HD void put(W* to, W w) { *to = w; }

// Into the shared memory of a block.
#if defined(__CUDA_ARCH__)
SJ_HD void put_shared(uint2* to, uint2 w) {
    asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_shared(to)), "r"(w.x),
                 "r"(w.y)
                 : "memory");
}
SJ_HD void put_shared(uint4* to, uint4 w) {
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_shared(to)),
                 "r"(w.x), "r"(w.y), "r"(w.z), "r"(w.w)
                 : "memory");
}
#endif
template <class W> SJ_HD void put_shared(W* to, W w) { *to = w; }

// V adjacent elements, loaded and stored at once.
template <class E, int V> struct alignas(sizeof(E) * V) Pack {
    E e[V];
};

template <class E, int V> using WordOf = typename Word<sizeof(Pack<E, V>)>::type;

template <class E, int V> SJ_HD Pack<E, V> load(const E* at) {
    const auto word = *reinterpret_cast<const WordOf<E, V>*>(at);
    Pack<E, V> pack;
    std::memcpy(&pack, &word, sizeof(pack));
    return pack;
}

template <class E, int V> SJ_HD void store(E* at, const Pack<E, V>& pack) {
    WordOf<E, V> word;
    std::memcpy(&word, &pack, sizeof(pack));
    put(reinterpret_cast<WordOf<E, V>*>(at), word);
}

template <class E, int V> SJ_HD void store_shared(E* at, const E (&from)[V]) {
    WordOf<E, V> word;
    std::memcpy(&word, from, sizeof(word));
    put_shared(reinterpret_cast<WordOf<E, V>*>(at), word);
}

}  // namespace SJ_ABI
}  // namespace sj
