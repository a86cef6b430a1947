// The fused neuron: settings made once, then calls that carry pointers and sizes.

#include "../cuda/neuron.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <vector>

#include "../cpu/isa.hpp"
#include "areas.hpp"

namespace nb = nanobind;

namespace sj {
namespace {

constexpr int64_t kKeepGil = 1 << 16;  // elements below which releasing the GIL costs more

// Values of `device`; others are indices of CUDA devices.
constexpr int kCpu = -1;
constexpr int kCudaOnHost = -2;

Driver driver(int device) {
    if (device == kCpu) return cpu();
    return device == kCudaOnHost ? cuda_on_host() : cuda();
}

const void* in(uintptr_t p) { return reinterpret_cast<const void*>(p); }
void* out(uintptr_t p) { return reinterpret_cast<void*>(p); }

class Neuron {
  public:
    Neuron(int kind, const std::vector<double>& p, bool decay_input, double v_th, bool hard,
           double v_reset, int surrogate, const std::vector<double>& surrogate_p, bool detach,
           double scale)
        : args_{} {
        if (kind < 0 || kind >= int(NeuronKind::kCount) || p.size() > 8)
            throw std::invalid_argument("`kind` or `p` is out of range.");
        if (surrogate < 0 || surrogate >= int(Surrogate::kCount) || surrogate_p.size() > 2)
            throw std::invalid_argument("`surrogate` or `surrogate_p` is out of range.");
        args_.neuron = NeuronKind(kind);
        for (std::size_t i = 0; i < p.size(); ++i) args_.p[i] = p[i];
        args_.decay_input = decay_input;
        args_.v_th = v_th;
        args_.hard = hard;
        args_.v_reset = v_reset;
        args_.surrogate = Surrogate(surrogate);
        for (std::size_t i = 0; i < surrogate_p.size(); ++i) args_.surrogate_p[i] = surrogate_p[i];
        args_.detach = detach;
        args_.scale = scale;
        args_.channels = args_.inner = 1;
    }

    void forward(uintptr_t x, uintptr_t v, double v_fill, uintptr_t w, double w_fill,
                 uintptr_t v_th, uintptr_t scale, int64_t channels, int64_t inner, uintptr_t decay,
                 uintptr_t s, uintptr_t v_next, uintptr_t w_next, uintptr_t v_seq, int64_t T,
                 int64_t n, int64_t x_step, int dtype, int threads, int device,
                 uintptr_t stream) const {
        NeuronArgs a = args_;
        sizes(a, T, n, channels, inner, dtype, threads, device, stream);
        a.x_step = x_step;
        a.x = in(x);
        a.v = in(v);
        a.v_fill = v_fill;
        a.w = in(w);
        a.w_fill = w_fill;
        a.v_th_ptr = in(v_th);
        a.scale_ptr = in(scale);
        a.decay_ptr = in(decay);
        a.s = out(s);
        a.v_next = out(v_next);
        a.w_next = out(w_next);
        a.v_seq = out(v_seq);
        run(a, driver(device).forward);
    }

    double backward(uintptr_t g_s, uintptr_t g_v_next, uintptr_t g_w_next, uintptr_t g_v_seq,
                    uintptr_t x, uintptr_t v, double v_fill, uintptr_t w, double w_fill,
                    uintptr_t v_th, uintptr_t scale, int64_t channels, int64_t inner,
                    uintptr_t decay, uintptr_t g_x, uintptr_t g_v, uintptr_t g_w, uintptr_t partial,
                    bool want_decay, uintptr_t scratch, int64_t T, int64_t n, int64_t x_step,
                    int dtype, int threads, int device, uintptr_t stream) const {
        NeuronArgs a = args_;
        sizes(a, T, n, channels, inner, dtype, threads, device, stream);
        a.x_step = x_step;
        a.g_s = in(g_s);
        a.g_v_next = in(g_v_next);
        a.g_w_next = in(g_w_next);
        a.g_v_seq = in(g_v_seq);
        a.x = in(x);
        a.v = in(v);
        a.v_fill = v_fill;
        a.w = in(w);
        a.w_fill = w_fill;
        a.v_th_ptr = in(v_th);
        a.scale_ptr = in(scale);
        a.decay_ptr = in(decay);
        a.g_x = out(g_x);
        a.g_v = out(g_v);
        a.g_w = out(g_w);
        a.scratch = out(scratch);
        a.partial = out(partial);
        return run_backward(a, want_decay, driver(device));
    }

    // The common case, with as few arguments as can be: on the CPU, one state, one threshold.
    void forward_cpu(uintptr_t x, uintptr_t v, double v_fill, uintptr_t decay, uintptr_t s,
                     uintptr_t v_next, int64_t T, int64_t n, int dtype, int threads) const {
        NeuronArgs a = args_;
        sizes(a, T, n, 1, 1, dtype, threads, kCpu, 0);
        a.x = in(x);
        a.v = in(v);
        a.v_fill = v_fill;
        a.decay_ptr = in(decay);
        a.s = out(s);
        a.v_next = out(v_next);
        run(a, cpu().forward);
    }

    // Returns the gradient of a learnable 1/tau.
    double backward_cpu(uintptr_t g_s, uintptr_t g_v_next, uintptr_t x, uintptr_t v, double v_fill,
                        uintptr_t decay, bool want_decay, uintptr_t g_x, uintptr_t g_v, int64_t T,
                        int64_t n, int dtype, int threads) const {
        NeuronArgs a = args_;
        sizes(a, T, n, 1, 1, dtype, threads, kCpu, 0);
        a.g_s = in(g_s);
        a.g_v_next = in(g_v_next);
        a.x = in(x);
        a.v = in(v);
        a.v_fill = v_fill;
        a.decay_ptr = in(decay);
        a.g_x = out(g_x);
        a.g_v = out(g_v);
        return run_backward(a, want_decay, cpu());
    }

  private:
    NeuronArgs args_;

    static double run_backward(NeuronArgs& a, bool want_decay, const Driver& driver) {
        double g_decay = 0;
        if (want_decay) a.g_decay = &g_decay;
        std::vector<double> sums;
        if (want_decay && a.device == kCpu) {
            sums.resize(std::size_t((a.n + 63) / 64));
            a.partial = sums.data();
        }
        run(a, driver.backward);
        return g_decay;
    }

    static void sizes(NeuronArgs& a, int64_t T, int64_t n, int64_t channels, int64_t inner,
                      int dtype, int threads, int device, uintptr_t stream) {
        a.T = T;
        a.n = a.x_step = n;
        a.channels = channels;
        a.inner = inner;
        a.dtype = DType(dtype);
        a.threads = threads;
        a.device = device;
        a.stream = out(stream);
    }

    static void run(const NeuronArgs& a, void (*kernel)(const NeuronArgs&)) {
        if (!a.x)
            throw std::invalid_argument(
                "`x` has no memory of its own (a tensor of torch's zero kind, as tangents are): "
                "pass `x + 0`.");
        if (a.T * a.n < kKeepGil) {
            kernel(a);
        } else {
            nb::gil_scoped_release release;
            kernel(a);
        }
    }
};

}  // namespace

void bind_neuron(nb::module_& m) {
    m.def("checkpoints", &checkpoints, nb::arg("steps"), nb::arg("of_double"),
          "Rows of states that the CUDA backward over so many steps needs as scratch memory.");
    nb::class_<Neuron>(m, "Neuron", "Settings of a fused neuron.")
        .def(nb::init<int, const std::vector<double>&, bool, double, bool, double, int,
                      const std::vector<double>&, bool, double>(),
             nb::arg("kind"), nb::arg("p"), nb::arg("decay_input"), nb::arg("v_th"),
             nb::arg("hard"), nb::arg("v_reset"), nb::arg("surrogate"), nb::arg("surrogate_p"),
             nb::arg("detach"), nb::arg("scale"))
        .def("forward", &Neuron::forward)
        .def("forward_cpu", &Neuron::forward_cpu)
        .def("backward_cpu", &Neuron::backward_cpu)
        .def("backward", &Neuron::backward);
}

}  // namespace sj
