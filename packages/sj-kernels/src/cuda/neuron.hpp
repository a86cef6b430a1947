#pragma once
// The CUDA driver. In a build without CUDA, stub.cpp stands in for it and its functions throw
// std::runtime_error.

#include "sj/launch.hpp"

namespace sj {

bool has_cuda();
Driver cuda();

// The same kernel bodies on the host, for tests.
Driver cuda_on_host();

}  // namespace sj
