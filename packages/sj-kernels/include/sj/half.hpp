#pragma once
// float16 and bfloat16, held as their bits. Round to nearest even; subnormals survive, NaN stays NaN.

#include "sj/math.hpp"

namespace sj {
inline namespace SJ_ABI {

SJ_HD float half_to_float(uint16_t half) {
#if defined(__CUDA_ARCH__)
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
#else
    uint32_t magnitude = half & 0x7fffu;
    uint32_t sign = uint32_t(half & 0x8000u) << 16;
    uint32_t special = magnitude >= 0x7c00u ? 0x38000000u : 0u;  // infinities and NaN
    uint32_t normal = (magnitude << 13) + 0x38000000u + special;
    uint32_t tiny = bit_cast<uint32_t>(float(int32_t(magnitude)) * 5.9604644775390625e-8f);
    return bit_cast<float>((magnitude < 0x400u ? tiny : normal) | sign);
#endif
}

SJ_HD uint16_t float_to_half(float value) {
#if defined(__CUDA_ARCH__)
    uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
#else
    uint32_t bits = bit_cast<uint32_t>(value);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
    uint32_t tiny = bit_cast<uint32_t>(bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    uint32_t finite = magnitude < 0x38800000u ? tiny : normal;
    return uint16_t((magnitude >= 0x47800000u ? special : finite) | sign);
#endif
}

SJ_HD float bfloat_to_float(uint16_t bfloat) { return bit_cast<float>(uint32_t(bfloat) << 16); }

SJ_HD uint16_t float_to_bfloat(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint16_t bfloat;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bfloat) : "f"(value));
    return bfloat;
#else
    uint32_t bits = bit_cast<uint32_t>(value);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return uint16_t(value == value ? rounded : 0x7fc0u);
#endif
}

}  // namespace SJ_ABI
}  // namespace sj
