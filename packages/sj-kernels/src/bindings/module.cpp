#include "areas.hpp"

namespace nb = nanobind;

NB_MODULE(_ext, m) {
    nb::set_leak_warnings(false);  // settings are cached until the interpreter ends
    m.doc() = "Kernels of sj_kernels on raw pointers; all checks are made in Python.";
    sj::bind_neuron(m);
    sj::bind_rnn(m);
    sj::bind_info(m);
}
