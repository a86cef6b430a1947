#pragma once
// The surrogate of a backward kernel, chosen at run time.

#include <cstddef>
#include <cstring>

#include "sj/launch.hpp"

#if defined(__CUDACC__)
#define SJ_HD_ON_DEVICE SJ_HD
#define SJ_UNROLL _Pragma("unroll")
#else
#define SJ_HD_ON_DEVICE inline
#define SJ_UNROLL
#endif

namespace sj {
inline namespace SJ_ABI {

// A surrogate constructed on the host: its constants reach the kernel as a parameter.
template <class R> struct AnySurrogate {
    static constexpr std::size_t kBytes = 24;
    Surrogate id;
    alignas(8) unsigned char bytes[kBytes];

    explicit AnySurrogate(const NeuronArgs& a) : id(a.surrogate), bytes{} {
        unsigned char* to = bytes;
        dispatch_surrogate<R>(a.surrogate, a.surrogate_p, [to](const auto& s) {
            static_assert(sizeof(s) <= kBytes, "a surrogate with more constants");
            std::memcpy(to, &s, sizeof(s));
        });
    }

    template <class S> SJ_HD const S& as() const { return *reinterpret_cast<const S*>(bytes); }
};

SJ_HD bool is_common(Surrogate id) { return id == Surrogate::ATan || id == Surrogate::Sigmoid; }

template <class R> SJ_HD_ON_DEVICE R rare_surrogate(const AnySurrogate<R>& any, R x) {
    switch (any.id) {
        case Surrogate::PiecewiseQuadratic: return any.template as<PiecewiseQuadratic<R>>()(x);
        case Surrogate::PiecewiseExp: return any.template as<PiecewiseExp<R>>()(x);
        case Surrogate::SoftSign: return any.template as<SoftSign<R>>()(x);
        case Surrogate::SuperSpike: return any.template as<SuperSpike<R>>()(x);
        case Surrogate::NonzeroSignLogAbs: return any.template as<NonzeroSignLogAbs<R>>()(x);
        case Surrogate::Erf: return any.template as<Erf<R>>()(x);
        case Surrogate::QPseudoSpike: return any.template as<QPseudoSpike<R>>()(x);
        case Surrogate::FakeNumericalGradient:
            return any.template as<FakeNumericalGradient<R>>()(x);
        case Surrogate::LogTailedReLU: return any.template as<LogTailedReLU<R>>()(x);
        case Surrogate::Rect: return any.template as<Rect<R>>()(x);
        case Surrogate::PiecewiseLeakyReLU: return any.template as<PiecewiseLeakyReLU<R>>()(x);
        case Surrogate::SquarewaveFourierSeries:
            return any.template as<SquarewaveFourierSeries<R>>()(x);
        case Surrogate::S2NN: return any.template as<S2NN<R>>()(x);
        case Surrogate::LeakyKReLU: return any.template as<LeakyKReLU<R>>()(x);
        default: return R(0);
    }
}

// The two common surrogates have kernels of their own on the device: with all 16 in it, a kernel
// needs a third more registers, and spills if they are called rather than copied in.
enum class Surrogates { common, rare, all };

// Of V neurons at once: one branch for all.
template <Surrogates kOf, class R, int V>
SJ_HD void surrogate_gradients(const AnySurrogate<R>& any, const R (&x)[V], R (&to)[V]) {
    if (kOf == Surrogates::rare || (kOf == Surrogates::all && !is_common(any.id))) {
        SJ_UNROLL
        for (int j = 0; j < V; ++j) to[j] = rare_surrogate(any, x[j]);
    } else if (any.id == Surrogate::ATan) {
        SJ_UNROLL
        for (int j = 0; j < V; ++j) to[j] = any.template as<ATan<R>>()(x[j]);
    } else {
        SJ_UNROLL
        for (int j = 0; j < V; ++j) to[j] = any.template as<Sigmoid<R>>()(x[j]);
    }
}

}  // namespace SJ_ABI
}  // namespace sj
