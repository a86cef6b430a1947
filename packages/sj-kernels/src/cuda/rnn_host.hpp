#pragma once
// Host launcher of the CUDA kernel bodies of the recurrent cells: single steps only.

#include "sj/rnn.hpp"

namespace sj {

CellDriver host_cells();

}  // namespace sj
