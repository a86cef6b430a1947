#pragma once
// From the settings of a call to the types of a body.

#include "body.hpp"

namespace sj {
inline namespace SJ_ABI {

template <class R> constexpr int kWide = 16 / int(sizeof(R));
constexpr int64_t kWideThreads = 1 << 16;

// Calls launcher.run<R, E, V, Reset>(a, neuron) for the element type, width, neuron and reset of `a`.
// Wide accesses need aligned rows, and so many neurons that a device is busy with a thread for
// several; they are compiled for the neurons that are used most.
template <class R, class E, class Launcher> void dispatch_body(const NeuronArgs& a, Launcher& l) {
    const auto aligned = [&](const void* p) {
        return reinterpret_cast<uintptr_t>(p) % (sizeof(E) * kWide<R>) == 0;
    };
    const bool wide = a.n % kWide<R> == 0 && a.n / kWide<R> >= kWideThreads && aligned(a.x) &&
                      aligned(a.s) && aligned(a.g_s) && aligned(a.g_x) &&
                      (!a.g_x || takes_wide<R, E>(a.T));
    dispatch_neuron<R>(a, a.p, a.g_decay != nullptr, [&](const auto& neuron) {
        using N = std::decay_t<decltype(neuron)>;
        if constexpr (!N::kNonlinear) {
            if (wide) {
                if (a.hard)
                    l.template run<R, E, kWide<R>, HardReset<R>>(a, neuron);
                else
                    l.template run<R, E, kWide<R>, SoftReset<R>>(a, neuron);
                return;
            }
        }
        if (a.hard)
            l.template run<R, E, 1, HardReset<R>>(a, neuron);
        else
            l.template run<R, E, 1, SoftReset<R>>(a, neuron);
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
