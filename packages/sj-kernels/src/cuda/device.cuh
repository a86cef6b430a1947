#pragma once
// What both CUDA drivers need around a launch.

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace sj {
namespace {

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // which else would be found after the next launch, and taken for its error
    throw std::runtime_error(std::string("CUDA failed in ") + what + ": " +
                             cudaGetErrorString(error) + ".");
}

// Makes the device of the tensors current for a scope. Python has done so already; what is current
// may differ from what torch takes for it, where torch left a device without a context alone.
class OnDevice {
  public:
    explicit OnDevice(int device) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        if (device != before_) check(cudaSetDevice(device), "cudaSetDevice");
        changed_ = device != before_;
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

}  // namespace
}  // namespace sj
