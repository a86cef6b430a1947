// CUDA driver of the recurrent cells: a thread per unit, one launch per step, on the caller's
// stream; no allocation and no synchronisation, so that a loop of steps can be captured in a graph.

#include "device.cuh"
#include "rnn.hpp"
#include "sj/rnn_unit.hpp"

namespace sj {
namespace {

constexpr int kThreads = 128;

template <class R> __global__ void __launch_bounds__(kThreads) forward_kernel(StepArgs a) {
    const int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (index < a.N * a.H) step_forward_unit<R>(a, index);
}

template <class R> __global__ void __launch_bounds__(kThreads) backward_kernel(StepArgs a) {
    const int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (index < a.N * a.H) step_backward_unit<R>(a, index);
}

void launch(const StepArgs& a, void (*kernel)(StepArgs)) {
    const int64_t units = a.N * a.H;
    if (units == 0) return;
    OnDevice device(a.device);
    const unsigned blocks = unsigned((units + kThreads - 1) / kThreads);
    kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(a.stream)>>>(a);
    check(cudaGetLastError(), "the launch of a recurrent cell's step");
}

void step_forward(const StepArgs& a) {
    launch(a, a.dtype == DType::f64 ? forward_kernel<double> : forward_kernel<float>);
}

void step_backward(const StepArgs& a) {
    launch(a, a.dtype == DType::f64 ? backward_kernel<double> : backward_kernel<float>);
}

}  // namespace

CellDriver cuda_cells() { return CellDriver{step_forward, step_backward, nullptr, nullptr}; }

}  // namespace sj
