// The CUDA bodies under a host launcher: blocks and threads as loops, so that index arithmetic, time
// loop, checkpoints and reduction are tested on machines without a GPU.

#include <type_traits>
#include <vector>

#include "dispatch.hpp"
#include "neuron.hpp"

namespace sj {
namespace {

struct Forward {
    template <class R, class E, int V, class N, class Reset> void run(const NeuronArgs& a) {
        const int64_t threads = (a.n + V - 1) / V;
        for (int64_t q = 0; q < (threads + kThreads - 1) / kThreads * kThreads; ++q)
            forward_body<R, E, V, N, Reset>(a, q);
    }
};

struct Backward {
    template <class R, class E, int V, class N, class Reset> void run(const NeuronArgs& a) {
        const AnySurrogate<R> any(a);
        const int64_t blocks = ((a.n + V - 1) / V + kThreads - 1) / kThreads;
        std::vector<R> shared(std::size_t(kSegment<R, V>) * V * kThreads);
        std::vector<double> sums(kThreads);
        for (int64_t block = 0; block < blocks; ++block) {
            for (int thread = 0; thread < kThreads; ++thread) {
                const int64_t q = block * kThreads + thread;
                sums[std::size_t(thread)] = backward_body<R, E, V, N, Reset, Surrogates::all>(
                    a, any, q, thread, shared.data());
            }
            if (!a.partial) continue;
            for (int k = 0; k < kThreads; k += kSum) {
                if (block * kThreads + k >= a.n) break;
                static_cast<double*>(a.partial)[(block * kThreads + k) / kSum] =
                    partial_sum(sums.data() + k);
            }
        }
    }
};

void forward(const NeuronArgs& a) { dispatch(a, Forward{}); }
void backward(const NeuronArgs& a) { dispatch(a, Backward{}); }

}  // namespace

int64_t checkpoints(int64_t T, bool of_double) {
    return of_double ? checkpoints_of<double>(T) : checkpoints_of<float>(T);
}
Driver cuda_on_host() { return Driver{forward, backward}; }

}  // namespace sj
