#pragma once
// The recurrent cells' CUDA driver: single steps; the products are torch's. In a build without
// CUDA, rnn_stub.cpp stands in for it and its functions throw std::runtime_error.

#include "sj/rnn.hpp"

namespace sj {

CellDriver cuda_cells();

}  // namespace sj
