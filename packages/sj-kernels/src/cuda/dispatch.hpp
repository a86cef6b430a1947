#pragma once
// From the settings of a call to the types of a body.

#include "body.hpp"

namespace sj {
inline namespace SJ_ABI {

// Calls launcher.run<R, E, V, N, Reset>() for the element type, width, neuron and reset of `a`.
// Wide accesses need aligned rows; they are compiled for the neurons that are used most.
template <class R, class E, class Launcher> void dispatch_body(const NeuronArgs& a, Launcher& l) {
    constexpr int kWide = sizeof(R) == 8 ? 2 : 4;
    const auto aligned = [&](const void* p) {
        return reinterpret_cast<uintptr_t>(p) % (sizeof(E) * kWide) == 0;
    };
    const bool wide = a.n % kWide == 0 && a.n / kWide >= 16384 && aligned(a.x) && aligned(a.s) &&
                      aligned(a.g_s) && aligned(a.g_x);
    dispatch_neuron<R>(a, a.p, a.g_decay != nullptr, [&](const auto& neuron) {
        using N = std::decay_t<decltype(neuron)>;
        if constexpr (!N::kNonlinear) {
            if (wide) {
                if (a.hard)
                    l.template run<R, E, kWide, N, HardReset<R>>(a);
                else
                    l.template run<R, E, kWide, N, SoftReset<R>>(a);
                return;
            }
        }
        if (a.hard)
            l.template run<R, E, 1, N, HardReset<R>>(a);
        else
            l.template run<R, E, 1, N, SoftReset<R>>(a);
    });
}

template <class Launcher> void dispatch(const NeuronArgs& a, Launcher&& l) {
    switch (a.dtype) {
        case DType::f32: return dispatch_body<float, float>(a, l);
        case DType::f64: return dispatch_body<double, double>(a, l);
        case DType::f16: return dispatch_body<float, F16>(a, l);
        case DType::bf16: return dispatch_body<float, BF16>(a, l);
    }
}

}  // namespace SJ_ABI
}  // namespace sj
