// The recurrent cells: settings made once, then calls that carry pointers and sizes.

#include "../cuda/rnn.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <vector>

#include "../cpu/isa.hpp"
#include "../cuda/rnn_host.hpp"
#include "areas.hpp"

namespace nb = nanobind;

namespace sj {
namespace {

constexpr int64_t kKeepGil = 1 << 14;  // units below which releasing the GIL costs more

const void* in(uintptr_t p) { return reinterpret_cast<const void*>(p); }
void* out(uintptr_t p) { return reinterpret_cast<void*>(p); }

class Cell {
  public:
    Cell(int kind, int s1, const std::vector<double>& p1, int s2, const std::vector<double>& p2,
         double clamp)
        : cell_{} {
        if (kind < 0 || kind >= int(CellKind::kCount))
            throw std::invalid_argument("`kind` is out of range.");
        cell_.kind = CellKind(kind);
        surrogate(s1, p1, cell_.s1, cell_.p1);
        surrogate(s2, p2, cell_.s2, cell_.p2);
        cell_.clamp = clamp;
    }

    void step_forward(uintptr_t pre, uintptr_t hw, uintptr_t h, uintptr_t c, uintptr_t h_out,
                      uintptr_t aux, int64_t N, int64_t H, int dtype, int threads, int device,
                      uintptr_t stream) const {
        StepArgs a = step(N, H, dtype, threads, device, stream);
        a.pre = out(pre);
        a.hw = in(hw);
        a.h = in(h);
        a.c = in(c);
        a.h_out = out(h_out);
        a.aux = out(aux);
        run(a, N * H, driver(device).step_forward);
    }

    void step_backward(uintptr_t pre, uintptr_t h, uintptr_t c, uintptr_t aux, uintptr_t gy,
                       uintptr_t gh_in, uintptr_t gc_in, uintptr_t gp, uintptr_t gn, uintptr_t gh,
                       uintptr_t gc, int64_t N, int64_t H, int dtype, int threads, int device,
                       uintptr_t stream) const {
        StepArgs a = step(N, H, dtype, threads, device, stream);
        a.pre = out(pre);
        a.h = in(h);
        a.c = in(c);
        a.aux = out(aux);
        a.gy = in(gy);
        a.gh_in = in(gh_in);
        a.gc_in = in(gc_in);
        a.gp = out(gp);
        a.gn = out(gn);
        a.gh = out(gh);
        a.gc = out(gc);
        run(a, N * H, driver(device).step_backward);
    }

    void sequence_forward(uintptr_t w, uintptr_t b, uintptr_t h0, uintptr_t c0, uintptr_t mask,
                          uintptr_t pre, uintptr_t h_seq, uintptr_t aux, int64_t T, int64_t N,
                          int64_t H, int dtype, int threads) const {
        SequenceArgs a = sequence(w, h0, c0, mask, pre, h_seq, aux, T, N, H, dtype, threads);
        a.b = in(b);
        run(a, T * N * H, cpu_cells().sequence_forward);
    }

    void sequence_backward(uintptr_t w, uintptr_t h0, uintptr_t c0, uintptr_t mask, uintptr_t pre,
                           uintptr_t h_seq, uintptr_t aux, uintptr_t gy, uintptr_t gh_in,
                           uintptr_t gc_in, uintptr_t gp, uintptr_t gn, uintptr_t gh, uintptr_t gc,
                           int64_t T, int64_t N, int64_t H, int dtype, int threads) const {
        SequenceArgs a = sequence(w, h0, c0, mask, pre, h_seq, aux, T, N, H, dtype, threads);
        a.gy = in(gy);
        a.gh_in = in(gh_in);
        a.gc_in = in(gc_in);
        a.gp = out(gp);
        a.gn = out(gn);
        a.gh = out(gh);
        a.gc = out(gc);
        run(a, T * N * H, cpu_cells().sequence_backward);
    }

  private:
    CellSettings cell_;

    // -1: the CPU; -2: the CUDA kernels' bodies on the host, for tests.
    static CellDriver driver(int device) {
        return device == -1 ? cpu_cells() : device == -2 ? host_cells() : cuda_cells();
    }

    static void surrogate(int id, const std::vector<double>& p, Surrogate& to, double* values) {
        if (id < 0 || id >= int(Surrogate::kCount) || p.size() > 2)
            throw std::invalid_argument("A surrogate or its parameters are out of range.");
        to = Surrogate(id);
        for (std::size_t i = 0; i < p.size(); ++i) values[i] = p[i];
    }

    StepArgs step(int64_t N, int64_t H, int dtype, int threads, int device,
                  uintptr_t stream) const {
        StepArgs a{};
        a.cell = cell_;
        a.N = N;
        a.H = H;
        a.dtype = DType(dtype);
        a.threads = threads;
        a.device = device;
        a.stream = out(stream);
        return a;
    }

    SequenceArgs sequence(uintptr_t w, uintptr_t h0, uintptr_t c0, uintptr_t mask, uintptr_t pre,
                          uintptr_t h_seq, uintptr_t aux, int64_t T, int64_t N, int64_t H,
                          int dtype, int threads) const {
        SequenceArgs a{};
        a.cell = cell_;
        a.T = T;
        a.N = N;
        a.H = H;
        a.dtype = DType(dtype);
        a.threads = threads;
        a.w = in(w);
        a.h0 = in(h0);
        a.c0 = in(c0);
        a.mask = static_cast<const uint8_t*>(in(mask));
        a.pre = out(pre);
        a.h_seq = out(h_seq);
        a.aux = out(aux);
        return a;
    }

    template <class Args>
    static void run(const Args& a, int64_t units, void (*kernel)(const Args&)) {
        if (units < kKeepGil) {
            kernel(a);
        } else {
            nb::gil_scoped_release release;
            kernel(a);
        }
    }
};

}  // namespace

void bind_rnn(nb::module_& m) {
    nb::class_<Cell>(m, "Cell", "Settings of a recurrent cell.")
        .def(nb::init<int, int, const std::vector<double>&, int, const std::vector<double>&,
                      double>(),
             nb::arg("kind"), nb::arg("s1"), nb::arg("p1"), nb::arg("s2"), nb::arg("p2"),
             nb::arg("clamp"))
        .def("step_forward", &Cell::step_forward)
        .def("step_backward", &Cell::step_backward)
        .def("sequence_forward", &Cell::sequence_forward)
        .def("sequence_backward", &Cell::sequence_backward);
}

}  // namespace sj
