#include <stdexcept>

#include "neuron.hpp"

namespace sj {
namespace {

void refuse(const NeuronArgs&) { throw std::runtime_error("sj-kernels was built without CUDA."); }

}  // namespace

bool has_cuda() { return false; }
Driver cuda() { return Driver{refuse, refuse}; }

}  // namespace sj
