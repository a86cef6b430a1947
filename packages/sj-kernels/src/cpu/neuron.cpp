// CPU driver, compiled once per instruction set: blocks of neurons outside, time inside, so that
// states and the recomputed H stay in cache and every tensor crosses the memory bus once.

#include "neuron.hpp"

#include "backward.hpp"
#include "forward.hpp"

namespace sj {
inline namespace SJ_ABI {
namespace {

// Parameters with 1/tau read from the tensor of a learnable one.
template <class R> void read_parameters(const NeuronArgs& a, double* p) {
    for (int i = 0; i < 8; ++i) p[i] = a.p[i];
    if (a.decay_ptr) p[0] = double(*static_cast<const R*>(a.decay_ptr));
}

template <class Blocks> void run_blocks(Blocks blocks) {
    parallel_ranges(blocks.plan.tasks, blocks.plan.threads, blocks.range, &blocks);
}

template <class R> void forward_as(const NeuronArgs& a) {
    double p[8];
    read_parameters<R>(a, p);
    dispatch_neuron<R>(a, p, false, [&](const auto& neuron) {
        using N = std::decay_t<decltype(neuron)>;
        if (a.hard) {
            run_blocks(Forward<R, N, HardReset<R>>(a, neuron));
        } else {
            run_blocks(Forward<R, N, SoftReset<R>>(a, neuron));
        }
    });
}

template <class R> void backward_as(const NeuronArgs& a) {
    double p[8];
    read_parameters<R>(a, p);
    dispatch_neuron<R>(a, p, a.g_decay != nullptr, [&](const auto& neuron) {
        using N = std::decay_t<decltype(neuron)>;
        if (a.hard) {
            run_blocks(Backward<R, N, HardReset<R>>(a, neuron));
        } else {
            run_blocks(Backward<R, N, SoftReset<R>>(a, neuron));
        }
    });
    if (a.g_decay) {
        const double* partial = static_cast<const double*>(a.partial);
        double total = 0;
        for (int64_t i = 0; i < (a.n + kSum - 1) / kSum; ++i) total += partial[i];
        *static_cast<double*>(a.g_decay) = total;
    }
}

void forward(const NeuronArgs& a) {
    if (a.dtype == DType::f64)
        forward_as<double>(a);
    else
        forward_as<float>(a);
}

void backward(const NeuronArgs& a) {
    if (a.dtype == DType::f64)
        backward_as<double>(a);
    else
        backward_as<float>(a);
}

}  // namespace

Driver cpu_driver() { return Driver{forward, backward}; }

}  // namespace SJ_ABI
}  // namespace sj
