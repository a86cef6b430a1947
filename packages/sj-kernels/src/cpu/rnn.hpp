#pragma once
// The recurrent cells' CPU driver of one instruction set (the namespace SJ_ABI).

#include "sj/rnn.hpp"

namespace sj {
inline namespace SJ_ABI {

CellDriver cpu_cell_driver();

}  // namespace SJ_ABI
}  // namespace sj
