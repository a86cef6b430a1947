// CUDA driver of the recurrent cells: a thread per unit, one launch per step, on the caller's
// stream; no allocation and no synchronisation, so that a loop of steps can be captured in a graph.

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

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

void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess)
        throw std::runtime_error(std::string(what) + " failed: " + cudaGetErrorString(status) +
                                 ".");
}

// The caller's device for the launch, and back.
class OnDevice {
  public:
    explicit OnDevice(int device) {
        check(cudaGetDevice(&before_), "Asking for the CUDA device");
        if (before_ != device) check(cudaSetDevice(device), "Choosing the CUDA device");
        changed_ = before_ != device;
    }
    ~OnDevice() {
        if (changed_) cudaSetDevice(before_);
    }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

  private:
    int before_ = 0;
    bool changed_ = false;
};

void launch(const StepArgs& a, void (*kernel)(StepArgs)) {
    const int64_t units = a.N * a.H;
    if (units == 0) return;
    OnDevice device(a.device);
    const unsigned blocks = unsigned((units + kThreads - 1) / kThreads);
    kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(a.stream)>>>(a);
    check(cudaGetLastError(), "Launching the kernel of a recurrent cell");
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
