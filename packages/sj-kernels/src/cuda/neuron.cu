// The CUDA driver: launches the bodies of body.hpp on the caller's stream and device. No
// synchronisation and no allocation, so that calls can be captured in a CUDA graph.

#include <type_traits>

#include "device.cuh"
#include "dispatch.hpp"
#include "neuron.hpp"

namespace sj {
namespace {

template <class R, class E, int V, class N, class Reset>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const __grid_constant__ NeuronArgs a, const __grid_constant__ N neuron) {
    forward_body<R, E, V, N, Reset>(a, neuron, int64_t(blockIdx.x) * kThreads + threadIdx.x);
}

// Blocks per SM: without a bound ptxas spills values to save a few registers; so it does where there
// are too few for EIF's exponential, in double, or for eight steps of four halves.
template <class R, class E, int V, class N>
constexpr int kBlocks = sizeof(R) == 8                        ? 4
                        : N::kNonlinear || V * sizeof(E) == 8 ? 5
                                                              : 6;

template <class R, class E, int V, class N, class Reset, Surrogates kOf>
__global__ void __launch_bounds__(kThreads, kBlocks<R, E, V, N>)
    backward_kernel(const __grid_constant__ NeuronArgs a,
                    const __grid_constant__ AnySurrogate<R> any, const __grid_constant__ N neuron,
                    const __grid_constant__ Block block) {
    extern __shared__ __align__(16) unsigned char memory[];
    const int64_t first = int64_t(blockIdx.x) * block.threads + threadIdx.x;
    const double sum = backward_body<R, E, V, N, Reset, kOf>(
        a, any, neuron, block, first, int(threadIdx.x), reinterpret_cast<R*>(memory));
    if constexpr (N::kDecayGrad) {
        __shared__ double sums[kThreads];
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.x % kSum == 0 && first < a.n)
            static_cast<double*>(a.partial)[first / kSum] = partial_sum(sums + threadIdx.x);
    }
}

struct Forward {
    template <class R, class E, int V, class Reset, class N>
    void run(const NeuronArgs& a, const N& neuron) {
        forward_kernel<R, E, V, N, Reset><<<unsigned(blocks(a.n, V, kThreads)), kThreads, 0,
                                            static_cast<cudaStream_t>(a.stream)>>>(a, neuron);
    }
};

struct Backward {
    template <class R, class E, int V, class Reset, class N>
    void run(const NeuronArgs& a, const N& neuron) {
        const AnySurrogate<R> any(a);
        const Block block = block_of<R, V>(a.T);
        static_assert(!N::kDecayGrad || V == 1, "partial sums are of a neuron per thread");
        const auto kernel = is_common(a.surrogate)
                                ? backward_kernel<R, E, V, N, Reset, Surrogates::common>
                                : backward_kernel<R, E, V, N, Reset, Surrogates::rare>;
        kernel<<<unsigned(blocks(a.n, V, block.threads)), block.threads,
                 shared_bytes<R, V>(block, a.T), static_cast<cudaStream_t>(a.stream)>>>(
            a, any, neuron, block);
    }
};

void forward(const NeuronArgs& a) {
    OnDevice device(a.device);
    dispatch(a, Forward{});
    check(cudaGetLastError(), "the launch of a neuron's forward");
}

void backward(const NeuronArgs& a) {
    OnDevice device(a.device);
    dispatch(a, Backward{});
    check(cudaGetLastError(), "the launch of a neuron's backward");
}

}  // namespace

bool has_cuda() { return true; }
Driver cuda() { return Driver{forward, backward}; }

}  // namespace sj
