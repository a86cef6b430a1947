#pragma once
// C += A B for a matrix B that is used many times: packed once into panels of a few vectors'
// columns, which stay in cache while blocks of rows pass by.

#include <cstdint>

#include "convert.hpp"

namespace sj {
inline namespace SJ_ABI {

// A register of R; generic code for the baseline, where the compiler vectorises fixed-size loops.
template <class R> struct Vec {
    static constexpr int kSize = 16 / int(sizeof(R));
    R at[kSize];
    static Vec load(const R* p) {
        Vec v;
        for (int i = 0; i < kSize; ++i) v.at[i] = p[i];
        return v;
    }
    void store(R* p) const {
        for (int i = 0; i < kSize; ++i) p[i] = at[i];
    }
    void add_product(R a, const Vec& b) {
        for (int i = 0; i < kSize; ++i) at[i] += a * b.at[i];
    }
};

#if defined(__AVX512F__)
template <> struct Vec<float> {
    static constexpr int kSize = 16;
    __m512 at;
    static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
    void store(float* p) const { _mm512_storeu_ps(p, at); }
    void add_product(float a, const Vec& b) { at = _mm512_fmadd_ps(_mm512_set1_ps(a), b.at, at); }
};
template <> struct Vec<double> {
    static constexpr int kSize = 8;
    __m512d at;
    static Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
    void store(double* p) const { _mm512_storeu_pd(p, at); }
    void add_product(double a, const Vec& b) { at = _mm512_fmadd_pd(_mm512_set1_pd(a), b.at, at); }
};
#elif defined(__AVX2__)
template <> struct Vec<float> {
    static constexpr int kSize = 8;
    __m256 at;
    static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
    void store(float* p) const { _mm256_storeu_ps(p, at); }
    void add_product(float a, const Vec& b) { at = _mm256_fmadd_ps(_mm256_set1_ps(a), b.at, at); }
};
template <> struct Vec<double> {
    static constexpr int kSize = 4;
    __m256d at;
    static Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
    void store(double* p) const { _mm256_storeu_pd(p, at); }
    void add_product(double a, const Vec& b) { at = _mm256_fmadd_pd(_mm256_set1_pd(a), b.at, at); }
};
#endif

// Rows of A and vectors of B that are multiplied in registers at once.
#if defined(__AVX512F__)
constexpr int kRows = 8;
#else
constexpr int kRows = 4;
#endif
constexpr int kVecs = 2;

template <class R> constexpr int64_t panel_width() { return kVecs * Vec<R>::kSize; }

inline int64_t panels(int64_t columns, int64_t width) { return (columns + width - 1) / width; }

template <class R> int64_t packed_size(int64_t inner, int64_t columns) {
    return panels(columns, panel_width<R>()) * panel_width<R>() * inner;
}

// Panel `index` of B [inner, columns], B(k, j) = b[k * row + j * column], padded by zeros.
template <class R>
void pack_panel(const R* b, int64_t row, int64_t column, int64_t inner, int64_t columns,
                int64_t index, R* packed) {
    constexpr int64_t width = panel_width<R>();
    const int64_t first = index * width;
    R* to = packed + first * inner;
    const int64_t used = columns - first < width ? columns - first : width;
    for (int64_t k = 0; k < inner; ++k) {
        for (int64_t j = 0; j < used; ++j) to[k * width + j] = b[k * row + (first + j) * column];
        for (int64_t j = used; j < width; ++j) to[k * width + j] = R(0);
    }
}

template <class R, int M>
inline void multiply_block(const R* a, int64_t lda, const R* panel, int64_t inner, R* c,
                           int64_t ldc) {
    using V = Vec<R>;
    V sum[M][kVecs];
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < kVecs; ++v) sum[m][v] = V::load(c + m * ldc + v * V::kSize);
    for (int64_t k = 0; k < inner; ++k) {
        V b[kVecs];
        for (int v = 0; v < kVecs; ++v) b[v] = V::load(panel + (k * kVecs + v) * V::kSize);
        for (int m = 0; m < M; ++m) {
            const R x = a[m * lda + k];
            for (int v = 0; v < kVecs; ++v) sum[m][v].add_product(x, b[v]);
        }
    }
    for (int m = 0; m < M; ++m)
        for (int v = 0; v < kVecs; ++v) sum[m][v].store(c + m * ldc + v * V::kSize);
}

template <class R, int M>
void multiply_rows(const R* a, int64_t lda, const R* panel, int64_t inner, R* c, int64_t ldc,
                   int64_t used) {
    constexpr int64_t width = panel_width<R>();
    if (used == width) return multiply_block<R, M>(a, lda, panel, inner, c, ldc);
    R edge[M * width];
    for (int m = 0; m < M; ++m)
        for (int64_t j = 0; j < width; ++j) edge[m * width + j] = j < used ? c[m * ldc + j] : R(0);
    multiply_block<R, M>(a, lda, panel, inner, edge, width);
    for (int m = 0; m < M; ++m)
        for (int64_t j = 0; j < used; ++j) c[m * ldc + j] = edge[m * width + j];
}

// C [rows, columns] += A [rows, inner] B, with row distances ldc and lda.
template <class R>
void multiply(const R* a, int64_t lda, const R* packed, int64_t inner, int64_t columns, R* c,
              int64_t ldc, int64_t rows) {
    constexpr int64_t width = panel_width<R>();
    const int64_t count = panels(columns, width);
    for (int64_t p = 0; p < count; ++p) {
        const R* panel = packed + p * width * inner;
        const int64_t used = columns - p * width < width ? columns - p * width : width;
        R* to = c + p * width;
        int64_t n = 0;
        for (; n + kRows <= rows; n += kRows)
            multiply_rows<R, kRows>(a + n * lda, lda, panel, inner, to + n * ldc, ldc, used);
        for (; n + 4 <= rows; n += 4)
            multiply_rows<R, 4>(a + n * lda, lda, panel, inner, to + n * ldc, ldc, used);
        for (; n < rows; ++n)
            multiply_rows<R, 1>(a + n * lda, lda, panel, inner, to + n * ldc, ldc, used);
    }
}

}  // namespace SJ_ABI
}  // namespace sj
