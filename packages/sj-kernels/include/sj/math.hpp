#pragma once
// Elementary functions that vectorise as plain loops and give the same bits on every instruction
// set: no fused multiply-add, no tables, no branches. Results below the normal range are zero (the
// kernels run with flush-to-zero). NaN stays NaN.

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define SJ_HD __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define SJ_HD __forceinline
#else
#define SJ_HD inline __attribute__((always_inline))
#endif

// Every instruction set gets its own copy of the templates: were they shared, the linker could keep
// the AVX-512 one for the baseline.
#ifndef SJ_ABI
#define SJ_ABI generic
#endif

namespace sj {
inline namespace SJ_ABI {

template <class To, class From> SJ_HD To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "bit_cast needs equal sizes");
    To to;
    std::memcpy(&to, &from, sizeof(To));
    return to;
}

// e^-y for y >= 0: 2^z = 2^n 2^f with z = -y log2(e) and abs(f) <= 1/2, a minimax polynomial for
// 2^f. Relative error below 3e-7 + 5e-8 y.
SJ_HD float exp_minus_(float y) {
    const float kMagic = 12582912.f;  // 1.5 * 2^23: adding it rounds to an integer
    float z = y * -1.44269504f;
    z = -127.f > z ? -127.f : z;  // there the scale below is zero
    float shifted = z + kMagic;
    float f = z - (shifted - kMagic);
    float p = 1.3264734e-3f;
    p = p * f + 9.671513e-3f;
    p = p * f + 5.5507336e-2f;
    p = p * f + 0.24022242f;
    p = p * f + 0.693147f;
    p = p * f + 1.f;
    return p * bit_cast<float>((bit_cast<uint32_t>(shifted) + 127u) << 23);
}

// e^x: 2^n e^r with abs(r) <= ln(2)/2, a Taylor polynomial for e^r, relative error below 5e-16.
SJ_HD double exp_(double x) {
    const double kMagic = 6755399441055744.0;  // 1.5 * 2^52
    double lo = x < -708.0 ? -708.0 : x;
    double y = lo > 710.0 ? 710.0 : lo;
    double shifted = y * 1.4426950408889634 + kMagic;
    double n = shifted - kMagic;
    double r = (y - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    uint64_t scale = (bit_cast<uint64_t>(shifted) + 1022u) << 52;
    double e = (p * bit_cast<double>(scale)) * 2.0;
    return x < -708.0 ? 0.0 : e;
}

SJ_HD double exp_minus_(double y) { return exp_(-y); }

// ln(x) for normal x > 0: x = 2^n m with m in [sqrt(1/2), sqrt(2)), ln(m) = 2 atanh((m-1)/(m+1)).
SJ_HD double log_(double x) {
    uint64_t bits = bit_cast<uint64_t>(x);
    const uint64_t kHalfSqrt = 0x3fe6a09e667f3bcdULL;
    uint64_t shift = bits - kHalfSqrt;
    // exponent as a double without a 64-bit integer conversion, which AVX2 lacks
    uint64_t biased = (shift >> 52) + ((shift >> 63) ? 0xfffffffffffff000ULL : 0ULL);
    double n = bit_cast<double>(biased + 0x4338000000000000ULL) - 6755399441055744.0;
    double m = bit_cast<double>(bits - (biased << 52));
    double z = (m - 1.0) / (m + 1.0);
    double z2 = z * z;
    double p = 1.0 / 21.0;
    p = p * z2 + 1.0 / 19.0;
    p = p * z2 + 1.0 / 17.0;
    p = p * z2 + 1.0 / 15.0;
    p = p * z2 + 1.0 / 13.0;
    p = p * z2 + 1.0 / 11.0;
    p = p * z2 + 1.0 / 9.0;
    p = p * z2 + 1.0 / 7.0;
    p = p * z2 + 1.0 / 5.0;
    p = p * z2 + 1.0 / 3.0;
    double log_m = 2.0 * (z + z * z2 * p);
    double y = n * 6.93147180369123816490e-01 + (log_m + n * 1.90821492927058770002e-10);
    return x < 1.7976931348623157e308 ? y : x + x;  // +inf and NaN
}

// cos(x) to 1e-15 for abs(x) < 1e6; beyond that a value in [-1, 1]; NaN for infinities.
SJ_HD double cos_(double x) {
    const double kMagic = 6755399441055744.0;
    double shifted = x * 0.63661977236758134308 + kMagic;  // 2/pi
    double n = shifted - kMagic;
    uint64_t quadrant = bit_cast<uint64_t>(shifted) & 3u;
    double r = ((x - n * 1.57079632673412561417) - n * 6.07710050630396597660e-11) -
               n * 2.02226624879595063154e-21;
    double low = r < -0.8 ? -0.8 : r;
    r = low > 0.8 ? 0.8 : low;
    double r2 = r * r;
    double c = -1.0 / 87178291200.0;
    c = c * r2 + 1.0 / 479001600.0;
    c = c * r2 - 1.0 / 3628800.0;
    c = c * r2 + 1.0 / 40320.0;
    c = c * r2 - 1.0 / 720.0;
    c = c * r2 + 1.0 / 24.0;
    c = c * r2 - 0.5;
    c = c * r2 + 1.0;
    double s = 1.0 / 6227020800.0;
    s = s * r2 - 1.0 / 39916800.0;
    s = s * r2 + 1.0 / 362880.0;
    s = s * r2 - 1.0 / 5040.0;
    s = s * r2 + 1.0 / 120.0;
    s = s * r2 - 1.0 / 6.0;
    s = s * r2 * r + r;
    double y = (quadrant & 1u) ? s : c;
    return (quadrant == 1u || quadrant == 2u) ? -y : y;
}

// a / b for gradients: on a device within 2 units in the last place, by 2 instructions in place of
// 10 and a branch; zero where abs(b) is beyond 2^126.
SJ_HD double quotient_(double a, double b) { return a / b; }
SJ_HD float quotient_(float a, float b) {
#if defined(__CUDA_ARCH__)
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(b));
    return a * inverse;
#else
    return a / b;
#endif
}

template <class R> SJ_HD R abs_(R x) { return std::fabs(x); }  // one instruction, a mask

}  // namespace SJ_ABI
}  // namespace sj
