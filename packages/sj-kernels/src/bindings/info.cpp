// What was built and what is in use.

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "../cpu/isa.hpp"
#include "../cpu/parallel.hpp"
#include "../cpu/processor.hpp"
#include "../cuda/neuron.hpp"
#include "areas.hpp"

namespace nb = nanobind;

namespace sj {

void bind_info(nb::module_& m) {
    m.def("build", [] {
        nb::dict info;
        info["version"] = SJ_VERSION;
        info["compiler"] = SJ_COMPILER;
        info["build_type"] = SJ_BUILD_TYPE;
        info["cuda"] = has_cuda();
        info["cuda_version"] = SJ_CUDA_VERSION;
        info["cuda_architectures"] = SJ_CUDA_ARCHITECTURES;
        info["sanitizers"] = SJ_SANITIZERS;
        return info;
    });
    m.def("isa_available", &isa_available);
    m.def("isa_in_use", &isa_in_use);
    m.def("isa_select", &isa_select, nb::arg("name"));
    m.def("follows_rows", &follows_rows);
    m.def("set_follows_rows", &set_follows_rows, nb::arg("value"));
    m.def("parallel_backend", &parallel_backend);
}

}  // namespace sj
