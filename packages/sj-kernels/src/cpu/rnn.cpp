// CPU driver of the recurrent cells, compiled once per instruction set.

#include "rnn.hpp"

#include "rnn_sequence.hpp"
#include "rnn_step.hpp"

namespace sj {
inline namespace SJ_ABI {
namespace {

template <class R> void sequence_forward_as(const SequenceArgs& a) {
    Scratch scratch(std::size_t(Sequence<R>::forward_memory(a)) * sizeof(R));
    Sequence<R> run(a, static_cast<R*>(scratch.data()));
    const int64_t count =
        panels(run.edge, panel_width<R>()) + panels(run.G - run.edge, panel_width<R>());
    parallel_for(count, run.threads, run.pack_forward, &run);
    parallel_for(run.tasks, run.threads, run.forward_task, &run);
}

template <class R> void sequence_backward_as(const SequenceArgs& a) {
    Scratch scratch(std::size_t(Sequence<R>::backward_memory(a)) * sizeof(R));
    Sequence<R> run(a, static_cast<R*>(scratch.data()));
    parallel_for(panels(a.H, panel_width<R>()), run.threads, run.pack_backward, &run);
    parallel_for(run.tasks, run.threads, run.backward_task, &run);
}

template <class R> void step_forward_as(const StepArgs& a) {
    Step<R> step(a);
    parallel_for(step.tasks, step.threads, step.forward_task, &step);
}

template <class R> void step_backward_as(const StepArgs& a) {
    Step<R> step(a);
    parallel_for(step.tasks, step.threads, step.backward_task, &step);
}

void step_forward(const StepArgs& a) {
    if (a.dtype == DType::f64)
        step_forward_as<double>(a);
    else
        step_forward_as<float>(a);
}

void step_backward(const StepArgs& a) {
    if (a.dtype == DType::f64)
        step_backward_as<double>(a);
    else
        step_backward_as<float>(a);
}

void sequence_forward(const SequenceArgs& a) {
    if (a.dtype == DType::f64)
        sequence_forward_as<double>(a);
    else
        sequence_forward_as<float>(a);
}

void sequence_backward(const SequenceArgs& a) {
    if (a.dtype == DType::f64)
        sequence_backward_as<double>(a);
    else
        sequence_backward_as<float>(a);
}

}  // namespace

CellDriver cpu_cell_driver() {
    return CellDriver{step_forward, step_backward, sequence_forward, sequence_backward};
}

}  // namespace SJ_ABI
}  // namespace sj
