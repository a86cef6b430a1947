// The CUDA driver: launches the bodies of body.hpp on the caller's stream and device. No
// synchronisation and no allocation, so that calls can be captured in a CUDA graph.

#include <type_traits>

#include "device.cuh"
#include "dispatch.hpp"
#include "neuron.hpp"

namespace sj {
namespace {

template <class R, class E, int V, class N, class Reset>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ NeuronArgs a) {
    forward_body<R, E, V, N, Reset>(a, int64_t(blockIdx.x) * kThreads + threadIdx.x);
}

// Blocks per SM: without a bound ptxas spills values to save a few registers.
template <class R> constexpr int kBlocks = sizeof(R) == 8 ? 4 : 6;

template <class R, class E, int V, class N, class Reset, Surrogates kOf>
__global__ void __launch_bounds__(kThreads, kBlocks<R>)
    backward_kernel(const __grid_constant__ NeuronArgs a,
                    const __grid_constant__ AnySurrogate<R> any) {
    extern __shared__ __align__(16) unsigned char memory[];
    const double sum =
        backward_body<R, E, V, N, Reset, kOf>(a, any, int64_t(blockIdx.x) * kThreads + threadIdx.x,
                                              int(threadIdx.x), reinterpret_cast<R*>(memory));
    if constexpr (N::kDecayGrad) {
        __shared__ double sums[kThreads];
        sums[threadIdx.x] = sum;
        __syncthreads();
        const int64_t first = int64_t(blockIdx.x) * kThreads + threadIdx.x;
        if (threadIdx.x % kSum == 0 && first < a.n)
            static_cast<double*>(a.partial)[first / kSum] = partial_sum(sums + threadIdx.x);
    }
}

template <int V> unsigned blocks(const NeuronArgs& a) {
    const int64_t threads = (a.n + V - 1) / V;
    return unsigned((threads + kThreads - 1) / kThreads);
}

struct Forward {
    template <class R, class E, int V, class N, class Reset> void run(const NeuronArgs& a) {
        forward_kernel<R, E, V, N, Reset>
            <<<blocks<V>(a), kThreads, 0, static_cast<cudaStream_t>(a.stream)>>>(a);
    }
};

struct Backward {
    template <class R, class E, int V, class N, class Reset> void run(const NeuronArgs& a) {
        const AnySurrogate<R> any(a);
        const int64_t steps = a.T < kSegment<R, V> ? a.T : kSegment<R, V>;
        const std::size_t bytes = std::size_t(steps) * V * kThreads * sizeof(R);
        const cudaStream_t stream = static_cast<cudaStream_t>(a.stream);
        const auto kernel = is_common(a.surrogate)
                                ? backward_kernel<R, E, V, N, Reset, Surrogates::common>
                                : backward_kernel<R, E, V, N, Reset, Surrogates::rare>;
        kernel<<<blocks<V>(a), kThreads, bytes, stream>>>(a, any);
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
