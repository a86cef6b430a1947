#pragma once
// Choice of the instruction set at run time: the best that was compiled and this machine has.

#include <string>
#include <vector>

#include "sj/launch.hpp"
#include "sj/rnn.hpp"

namespace sj {

// Names, best first, of what can run here; the last is the baseline.
std::vector<std::string> isa_available();
const char* isa_in_use();
// Throws std::invalid_argument for a name that is not available.
void isa_select(const std::string& name);
const Driver& cpu();
const CellDriver& cpu_cells();

}  // namespace sj
