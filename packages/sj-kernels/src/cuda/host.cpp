// The CUDA bodies under a host launcher: blocks and threads as loops, so that index arithmetic, time
// loop, checkpoints and reduction are tested on machines without a GPU.

#include <type_traits>
#include <vector>

#include "dispatch.hpp"
#include "neuron.hpp"

namespace sj {
namespace {

struct Forward {
    template <class R, class E, int V, class Reset, class N>
    void run(const NeuronArgs& a, const N& neuron) {
        for (int64_t q = 0; q < blocks(a.n, V, kThreads) * kThreads; ++q)
            forward_body<R, E, V, N, Reset>(a, neuron, q);
    }
};

struct Backward {
    template <class R, class E, int V, class Reset, class N>
    void run(const NeuronArgs& a, const N& neuron) {
        const AnySurrogate<R> any(a);
        const Block block = block_of<R, V>(a.T);
        // As much as a launch asks for, so that a sanitizer sees what goes beyond it.
        std::vector<Pack<R, V>> shared(shared_bytes<R, V>(block, a.T) / sizeof(Pack<R, V>));
        std::vector<double> sums(std::size_t(block.threads));
        for (int64_t k = 0; k < blocks(a.n, V, block.threads); ++k) {
            const int64_t first = k * block.threads;
            for (int thread = 0; thread < block.threads; ++thread)
                sums[std::size_t(thread)] = backward_body<R, E, V, N, Reset, Surrogates::all>(
                    a, any, neuron, block, first + thread, thread, shared.data()->e);
            if (!a.partial) continue;
            for (int at = 0; at < block.threads && first + at < a.n; at += kSum)
                static_cast<double*>(a.partial)[(first + at) / kSum] =
                    partial_sum(&sums[std::size_t(at)]);
        }
    }
};

void forward(const NeuronArgs& a) { dispatch(a, Forward{}); }
void backward(const NeuronArgs& a) { dispatch(a, Backward{}); }

}  // namespace

int64_t checkpoints(int64_t T, bool of_double) {
    return of_double ? checkpoints_of<double, kWide<double>>(T)
                     : checkpoints_of<float, kWide<float>>(T);
}
Driver cuda_on_host() { return Driver{forward, backward}; }

}  // namespace sj
