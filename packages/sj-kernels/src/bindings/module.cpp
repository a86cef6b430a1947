#include "areas.hpp"

NB_MODULE(_ext, m) {
    m.doc() = "Kernels of sj_kernels on raw pointers; all checks are made in Python.";
    sj::bind_neuron(m);
    sj::bind_info(m);
}
