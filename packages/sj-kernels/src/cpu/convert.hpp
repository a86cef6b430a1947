#pragma once
// Rows between memory and arithmetic: half-precision conversion and non-temporal stores.
// Round to nearest even; every finite half, subnormals included, survives the round trip.

#include <cstdint>
#include <cstring>

#include "sj/half.hpp"
#include "sj/launch.hpp"

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#define SJ_X86 1
#endif

// SJ_LOOP: over neurons, to be vectorised; SJ_UNROLL: over a few steps within it, of a known number.
#if defined(__clang__)
#define SJ_LOOP _Pragma("clang loop vectorize(assume_safety)")
#define SJ_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define SJ_LOOP _Pragma("GCC ivdep")
#define SJ_UNROLL _Pragma("GCC unroll 8")
#elif defined(_MSC_VER)
#define SJ_LOOP __pragma(loop(ivdep))
#define SJ_UNROLL
#else
#define SJ_LOOP
#define SJ_UNROLL
#endif

#if defined(_MSC_VER)
#define SJ_NOINLINE __declspec(noinline)
#define SJ_INLINE
#else
#define SJ_NOINLINE __attribute__((noinline))
#define SJ_INLINE __attribute__((always_inline))  // of a lambda
#endif

namespace sj {
inline namespace SJ_ABI {

// Called per row: one copy of each loop serves all neurons.
SJ_NOINLINE inline void load_half(const uint16_t* from, float* to, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
        _mm512_storeu_ps(to + i, _mm512_cvtph_ps(packed));
    }
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(packed));
    }
#endif
    SJ_LOOP
    for (int64_t j = i; j < n; ++j) to[j] = half_to_float(from[j]);
}

SJ_NOINLINE inline void store_half(const float* from, uint16_t* to, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        __m256i packed = _mm512_cvtps_ph(_mm512_loadu_ps(from + i), 0);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), packed);
    }
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        __m128i packed = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), 0);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), packed);
    }
#endif
    SJ_LOOP
    for (int64_t j = i; j < n; ++j) to[j] = float_to_half(from[j]);
}

SJ_NOINLINE inline void load_bfloat(const uint16_t* from, float* to, int64_t n) {
    SJ_LOOP
    for (int64_t i = 0; i < n; ++i) to[i] = bfloat_to_float(from[i]);
}

SJ_NOINLINE inline void store_bfloat(const float* from, uint16_t* to, int64_t n) {
    SJ_LOOP
    for (int64_t i = 0; i < n; ++i) to[i] = float_to_bfloat(from[i]);
}

constexpr int64_t kLine = 64;  // bytes of a cache line

// Whether registers hold what lies between four steps: the narrow ones of SSE do not.
#if defined(SJ_X86) && !defined(__AVX__)
constexpr bool kManyRegisters = false;
#else
constexpr bool kManyRegisters = true;
#endif

// Copies whole cache lines; with kStream past the caches, to an aligned address: an ordinary store
// would first read the line it overwrites.
template <bool kStream, class R> SJ_HD void store_lines(const R* from, R* to, int64_t lines) {
#if defined(SJ_X86)
    const float* source = reinterpret_cast<const float*>(from);
    float* target = reinterpret_cast<float*>(to);
    for (int64_t i = 0; i < lines * 16; i += 16) {
#if defined(__AVX512F__)
        const __m512 line = _mm512_loadu_ps(source + i);
        kStream ? _mm512_stream_ps(target + i, line) : _mm512_storeu_ps(target + i, line);
#elif defined(__AVX__)
        for (int k = 0; k < 16; k += 8) {
            const __m256 half = _mm256_loadu_ps(source + i + k);
            kStream ? _mm256_stream_ps(target + i + k, half)
                    : _mm256_storeu_ps(target + i + k, half);
        }
#else
        for (int k = 0; k < 16; k += 4) {
            const __m128 part = _mm_loadu_ps(source + i + k);
            kStream ? _mm_stream_ps(target + i + k, part) : _mm_storeu_ps(target + i + k, part);
        }
#endif
    }
#else
    std::memcpy(to, from, std::size_t(lines * kLine));
#endif
}

inline bool on_line(const void* address) {
    return reinterpret_cast<uintptr_t>(address) % uintptr_t(kLine) == 0;
}

// Copies past the caches, from and to any address.
template <class R> SJ_NOINLINE void stream_row(const R* from, R* to, int64_t n) {
    constexpr int64_t kPerLine = kLine / int64_t(sizeof(R));
    int64_t head = 0;
    while (head < n && !on_line(to + head)) {
        to[head] = from[head];
        ++head;
    }
    const int64_t lines = (n - head) / kPerLine, tail = head + lines * kPerLine;
    store_lines<true>(from + head, to + head, lines);
    std::memcpy(to + tail, from + tail, std::size_t(n - tail) * sizeof(R));
}

inline void stream_fence() {
#if defined(SJ_X86)
    _mm_sfence();
#endif
}

template <bool kForWriting = false> SJ_HD void prefetch_row(const void* row, int64_t bytes) {
#if defined(__GNUC__)
    const char* p = static_cast<const char*>(row);
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, kForWriting);
#else
    (void)row;
    (void)bytes;
#endif
}

// Row access to an array of `dtype` whose arithmetic is done in R.
template <class R> struct Rows {
    DType dtype;
    bool stream;  // large outputs pass the caches,
    bool direct;  // straight from the registers where each row begins on a cache line

    static constexpr DType native() { return sizeof(R) == 8 ? DType::f64 : DType::f32; }
    int64_t size() const { return dtype == DType::f64 ? 8 : dtype == DType::f32 ? 4 : 2; }

    // The row itself, or its conversion in `buffer`.
    const R* load(const void* base, int64_t at, R* buffer, int64_t n) const {
        if (dtype == native()) return static_cast<const R*>(base) + at;
        const uint16_t* row = static_cast<const uint16_t*>(base) + at;
        if constexpr (sizeof(R) == 4) {
            dtype == DType::f16 ? load_half(row, buffer, n) : load_bfloat(row, buffer, n);
        }
        return buffer;
    }

    // Where to compute a row that `store` then completes.
    R* target(void* base, int64_t at, R* buffer) const {
        return dtype == native() && (direct || !stream) ? static_cast<R*>(base) + at : buffer;
    }

    void store(void* base, int64_t at, const R* buffer, int64_t n) const {
        if (dtype == native()) {
            if (stream && !direct) stream_row(buffer, static_cast<R*>(base) + at, n);
            return;
        }
        uint16_t* row = static_cast<uint16_t*>(base) + at;
        if constexpr (sizeof(R) == 4) {
            dtype == DType::f16 ? store_half(buffer, row, n) : store_bfloat(buffer, row, n);
        }
    }
};

}  // namespace SJ_ABI
}  // namespace sj
