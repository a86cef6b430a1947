// The bodies of the CUDA kernels in a loop on the host: what a device will compute can be tested
// where there is none.

#include "rnn_host.hpp"

#include "sj/rnn_unit.hpp"

namespace sj {
namespace {

void each(const StepArgs& a, void (*unit)(const StepArgs&, int64_t)) {
    for (int64_t i = 0; i < a.N * a.H; ++i) unit(a, i);
}

template <class R> void forward_unit(const StepArgs& a, int64_t i) { step_forward_unit<R>(a, i); }
template <class R> void backward_unit(const StepArgs& a, int64_t i) { step_backward_unit<R>(a, i); }

void step_forward(const StepArgs& a) {
    if (a.dtype == DType::f64)
        each(a, forward_unit<double>);
    else
        each(a, forward_unit<float>);
}

void step_backward(const StepArgs& a) {
    if (a.dtype == DType::f64)
        each(a, backward_unit<double>);
    else
        each(a, backward_unit<float>);
}

}  // namespace

CellDriver host_cells() { return CellDriver{step_forward, step_backward, nullptr, nullptr}; }

}  // namespace sj
