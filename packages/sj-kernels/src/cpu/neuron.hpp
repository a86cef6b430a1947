#pragma once
// The CPU driver of one instruction set (the namespace SJ_ABI that this is included under).

#include "sj/launch.hpp"

namespace sj {
inline namespace SJ_ABI {

Driver cpu_driver();

}  // namespace SJ_ABI
}  // namespace sj
