#pragma once
// The CUDA driver. In a build without CUDA, stub.cpp stands in for it and its functions throw
// std::runtime_error.

#include "sj/launch.hpp"

namespace sj {

bool has_cuda();
Driver cuda();

// Rows of n states, of double or of float, that backward over T steps needs in `scratch`.
int64_t checkpoints(int64_t T, bool of_double);

// The same kernel bodies on the host, for tests.
Driver cuda_on_host();

}  // namespace sj
