#pragma once
// One function per area; each adds its names to the module.

#include <nanobind/nanobind.h>

namespace sj {

void bind_neuron(nanobind::module_& m);
void bind_rnn(nanobind::module_& m);
void bind_info(nanobind::module_& m);

}  // namespace sj
