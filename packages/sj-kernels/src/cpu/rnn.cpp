// CPU driver of the recurrent cells, compiled once per instruction set. A sequence is split by its
// batch: rows do not depend on each other, so that threads meet only at the end.

#include "rnn.hpp"

#include <cstring>
#include <limits>

#include "gemm.hpp"
#include "parallel.hpp"
#include "rows.hpp"
#include "sj/gates.hpp"

namespace sj {
inline namespace SJ_ABI {
namespace {

constexpr int64_t kSerial = 1 << 14;  // units below which threads cost more than they give

int64_t gates_of(CellKind kind) {
    return kind == CellKind::Lstm ? 4 : kind == CellKind::Gru ? 3 : 1;
}

// Derivatives d of the G*H pre-activations of a row.
template <class R> void derivatives(const CellSettings& s, const R* pre, R* d, int64_t H) {
    const One<R> zero{R(0)};
    const bool same = s.s1 == s.s2 && s.p1[0] == s.p2[0] && s.p1[1] == s.p2[1];
    const int64_t gates = gates_of(s.kind);
    if (same || s.kind == CellKind::Vanilla)
        return surrogate_row<R>(s.s1, s.p1, zero, pre, d, gates * H);
    surrogate_row<R>(s.s1, s.p1, zero, pre, d, 2 * H);
    surrogate_row<R>(s.s2, s.p2, zero, pre + 2 * H, d + 2 * H, H);
    if (gates == 4) surrogate_row<R>(s.s1, s.p1, zero, pre + 3 * H, d + 3 * H, H);
}

// Completes the GRU's candidate, whose products stand in r (complete), a (the input's) and h_n.
template <class R> void candidate_row(const R* r, const R* h_n, R* a, int64_t H) {
    SJ_LOOP
    for (int64_t j = 0; j < H; ++j) a[j] = gru_candidate(r[j], a[j], h_n[j]);
}

// Gates of one row of complete pre-activations. aux: the LSTM's c', not used by the others.
template <class R>
void gate_row(const CellSettings& s, const R* pre, const R* h, const R* c, R* h_out, R* aux,
              int64_t H) {
    if (s.kind == CellKind::Lstm) {
        const R clamp = R(s.clamp);
        const R *i = pre, *f = pre + H, *g = pre + 2 * H, *o = pre + 3 * H;
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j)
            lstm_forward(i[j], f[j], g[j], o[j], c[j], clamp, aux[j], h_out[j]);
    } else if (s.kind == CellKind::Gru) {
        const R *z = pre + H, *a = pre + 2 * H;
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) h_out[j] = gru_forward(z[j], a[j], h[j]);
    } else {
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) h_out[j] = spike_(pre[j]);
    }
}

// gh: the whole gradient of h'; on return its direct part to h. gc: of c', then of c.
template <class R>
void backward_row(const CellSettings& s, const R* pre, const R* h, const R* c, const R* aux, R* gh,
                  R* gc, R* gp, R* gn, R* d, int64_t H) {
    derivatives(s, pre, d, H);
    if (s.kind == CellKind::Lstm) {
        const R *i = pre, *f = pre + H, *g = pre + 2 * H, *o = pre + 3 * H;
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) {
            R g_i, g_f, g_g, g_o, g_c = gc[j];
            lstm_backward(i[j], f[j], g[j], o[j], d[j], d[H + j], d[2 * H + j], d[3 * H + j], c[j],
                          aux[j], gh[j], g_c, g_i, g_f, g_g, g_o);
            gc[j] = g_c;
            gh[j] = R(0);
            gp[j] = g_i;
            gp[H + j] = g_f;
            gp[2 * H + j] = g_g;
            gp[3 * H + j] = g_o;
        }
    } else if (s.kind == CellKind::Gru) {
        const R *r = pre, *z = pre + H, *a = pre + 2 * H;
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) {
            R g_r, g_z, g_hn, g_a, g_h = gh[j];
            gru_backward(r[j], z[j], a[j], d[j], d[H + j], d[2 * H + j], aux[j], h[j], g_h, g_r,
                         g_z, g_hn, g_a);
            gh[j] = g_h;
            gp[j] = g_r;
            gp[H + j] = g_z;
            gp[2 * H + j] = g_hn;
            gn[j] = g_a;
        }
    } else {
        SJ_LOOP
        for (int64_t j = 0; j < H; ++j) {
            gp[j] = d[j] * gh[j];
            gh[j] = R(0);
        }
    }
}

// ---- one step, any dtype
// -------------------------------------------------------------------------

// A half row is computed in `buffer`, any other where it stands.
template <class R> struct Row {
    Rows<R> rows;
    bool direct() const { return rows.dtype == Rows<R>::native(); }
    const R* in(const void* base, int64_t at, R* buffer, int64_t n) const {
        return base ? rows.load(base, at, buffer, n) : nullptr;
    }
    R* out(void* base, int64_t at, R* buffer) const {
        return base ? rows.target(base, at, buffer) : nullptr;
    }
    void done(void* base, int64_t at, const R* buffer, int64_t n) const {
        if (base && !direct()) rows.store(base, at, buffer, n);
    }
};

template <class R> struct Step {
    const StepArgs& a;
    int64_t block, tasks;
    int threads;
    Row<R> row;

    explicit Step(const StepArgs& args) : a(args), row{Rows<R>{args.dtype, false}} {
        threads = a.N * a.H < kSerial ? 1 : a.threads;
        block = (a.N + threads - 1) / threads;
        tasks = block ? (a.N + block - 1) / block : 0;
    }

    template <class Body> void each(int64_t task, int64_t buffers, Body&& body) const {
        Scratch scratch(std::size_t(buffers * a.H) * sizeof(R));
        R* data = static_cast<R*>(scratch.data());
        const int64_t last = (task + 1) * block < a.N ? (task + 1) * block : a.N;
        for (int64_t n = task * block; n < last; ++n) body(n, data);
    }

    static void forward_task(void* self, int64_t task) {
        const Step& s = *static_cast<const Step*>(self);
        s.each(task, 12, [&](int64_t n, R* buffer) { s.forward(n, buffer); });
    }

    static void backward_task(void* self, int64_t task) {
        const Step& s = *static_cast<const Step*>(self);
        s.each(task, 18, [&](int64_t n, R* buffer) { s.backward(n, buffer); });
    }

    void forward(int64_t n, R* buffer) const {
        const int64_t H = a.H, G = gates_of(a.cell.kind) * H, wide = n * G, at = n * H;
        R *pre_b = buffer, *hw_b = buffer + 4 * H, *h_b = hw_b + 4 * H, *aux_b = h_b + H;
        R *c_b = aux_b + H, *out_b = c_b + H;
        R* pre = const_cast<R*>(row.in(a.pre, wide, pre_b, G));
        const R* hw = row.in(a.hw, wide, hw_b, G);
        const R* h = row.in(a.h, at, h_b, H);
        const R* c = row.in(a.c, at, c_b, H);
        R* h_out = row.out(a.h_out, at, out_b);
        R* aux = row.out(a.aux, at, aux_b);
        const bool gru = a.cell.kind == CellKind::Gru;
        add_row(hw, pre, gru ? 2 * H : G);
        // A half is rounded before it decides: backward will see no more than what is kept.
        pre = round(a.pre, wide, pre, gru ? 2 * H : G);
        if (gru) {
            std::memcpy(aux, hw + 2 * H, std::size_t(H) * sizeof(R));
            candidate_row(pre, aux, pre + 2 * H, H);
            round(a.pre, wide + 2 * H, pre + 2 * H, H);
        }
        gate_row(a.cell, pre, h, c, h_out, aux, H);
        row.done(a.h_out, at, h_out, H);
        row.done(a.aux, at, aux, H);
    }

    R* round(void* base, int64_t at, R* values, int64_t n) const {
        row.done(base, at, values, n);
        return row.direct() ? values : const_cast<R*>(row.in(base, at, values, n));
    }

    void backward(int64_t n, R* buffer) const {
        const int64_t H = a.H, G = gates_of(a.cell.kind) * H, wide = n * G, at = n * H;
        R *d = buffer, *pre_b = d + 4 * H, *gp_b = pre_b + 4 * H, *h_b = gp_b + 4 * H;
        R *c_b = h_b + H, *aux_b = c_b + H, *gy_b = aux_b + H, *gn_b = gy_b + H;
        R* gc_b = gn_b + H;
        const R* pre = row.in(a.pre, wide, pre_b, G);
        const R* h = row.in(a.h, at, h_b, H);
        const R* c = row.in(a.c, at, c_b, H);
        const R* aux = row.in(a.aux, at, aux_b, H);
        const R* gy = row.in(a.gy, at, gy_b, H);
        R* gp = row.out(a.gp, wide, gp_b);
        R* gn = row.out(a.gn, at, gn_b);
        R* gh = static_cast<R*>(a.gh) + at;
        R* gc = a.gc ? static_cast<R*>(a.gc) + at : gc_b;
        copy_or_zero(a.gh_in, at, gh, H);
        if (a.gc) copy_or_zero(a.gc_in, at, gc, H);
        if (gy) add_row(gy, gh, H);
        backward_row(a.cell, pre, h, c, aux, gh, gc, gp, gn, d, H);
        row.done(a.gp, wide, gp, G);
        row.done(a.gn, at, gn, H);
    }

    static void copy_or_zero(const void* from, int64_t at, R* to, int64_t n) {
        if (!from)
            fill_row(R(0), to, n);
        else if (static_cast<const R*>(from) + at != to)
            std::memcpy(to, static_cast<const R*>(from) + at, std::size_t(n) * sizeof(R));
    }
};

// ---- a whole sequence, f32 and f64
// ---------------------------------------------------------------

template <class R> struct Run {
    const SequenceArgs& a;
    int64_t G, block, tasks, edge;
    int threads;
    R *packed, *packed_n;

    Run(const SequenceArgs& args, R* memory) : a(args), packed(memory) {
        G = gates_of(a.cell.kind) * a.H;
        edge = a.cell.kind == CellKind::Gru ? 2 * a.H : G;
        packed_n = memory + packed_size<R>(a.H, edge);
        threads = a.T * a.N * a.H < kSerial ? 1 : a.threads;
        block = (a.N + threads - 1) / threads;
        tasks = block ? (a.N + block - 1) / block : 0;
    }

    static int64_t forward_memory(const SequenceArgs& a) {
        const int64_t G = gates_of(a.cell.kind) * a.H;
        return packed_size<R>(a.H, G) + 2 * panel_width<R>() * a.H;
    }
    static int64_t backward_memory(const SequenceArgs& a) {
        return packed_size<R>(gates_of(a.cell.kind) * a.H, a.H);
    }

    const R* w() const { return static_cast<const R*>(a.w); }

    // W^T, its last H columns apart for the GRU.
    static void pack_forward(void* self, int64_t task) {
        const Run& r = *static_cast<const Run*>(self);
        const int64_t H = r.a.H, first = panels(r.edge, panel_width<R>());
        if (task < first)
            pack_panel(r.w(), 1, H, H, r.edge, task, r.packed);
        else
            pack_panel(r.w() + r.edge * H, 1, H, H, r.G - r.edge, task - first, r.packed_n);
    }

    static void pack_backward(void* self, int64_t task) {
        const Run& r = *static_cast<const Run*>(self);
        pack_panel(r.w(), r.a.H, 1, r.G, r.a.H, task, r.packed);
    }

    static void forward_task(void* self, int64_t task) {
        const Run& r = *static_cast<const Run*>(self);
        const int64_t last = (task + 1) * r.block < r.a.N ? (task + 1) * r.block : r.a.N;
        r.forward(task * r.block, last);
    }

    static void backward_task(void* self, int64_t task) {
        const Run& r = *static_cast<const Run*>(self);
        const int64_t last = (task + 1) * r.block < r.a.N ? (task + 1) * r.block : r.a.N;
        r.backward(task * r.block, last);
    }

    const R* state(const void* start, const void* seq, int64_t t) const {
        return t == 0 ? static_cast<const R*>(start)
                      : static_cast<const R*>(seq) + (t - 1) * a.N * a.H;
    }

    void forward(int64_t first, int64_t last) const {
        const int64_t H = a.H, rows = last - first;
        const bool gru = a.cell.kind == CellKind::Gru, lstm = a.cell.kind == CellKind::Lstm;
        for (int64_t t = 0; t < a.T; ++t) {
            const R* h = state(a.h0, a.h_seq, t) + first * H;
            const R* c = lstm ? state(a.c0, a.aux, t) + first * H : nullptr;
            R* pre = static_cast<R*>(a.pre) + (t * a.N + first) * G;
            R* h_out = static_cast<R*>(a.h_seq) + (t * a.N + first) * H;
            R* aux = a.aux ? static_cast<R*>(a.aux) + (t * a.N + first) * H : nullptr;
            multiply(h, H, packed, H, edge, pre, G, rows);
            if (gru) {
                for (int64_t n = 0; n < rows; ++n) {
                    if (a.b)
                        std::memcpy(aux + n * H, a.b, std::size_t(H) * sizeof(R));
                    else
                        fill_row(R(0), aux + n * H, H);
                }
                multiply(h, H, packed_n, H, H, aux, H, rows);
            }
            const uint8_t* mask = a.mask ? a.mask + t * a.N + first : nullptr;
            for (int64_t n = 0; n < rows; ++n) {
                const R* c_row = c ? c + n * H : nullptr;
                R* aux_row = aux ? aux + n * H : nullptr;
                if (gru) candidate_row(pre + n * G, aux_row, pre + n * G + 2 * H, H);
                gate_row(a.cell, pre + n * G, h + n * H, c_row, h_out + n * H, aux_row, H);
                if (mask && !mask[n]) {
                    const std::size_t bytes = std::size_t(H) * sizeof(R);
                    std::memcpy(h_out + n * H, h + n * H, bytes);
                    if (lstm) std::memcpy(aux_row, c_row, bytes);
                }
            }
        }
    }

    void backward(int64_t first, int64_t last) const {
        const int64_t H = a.H, rows = last - first, at = first * H;
        const bool lstm = a.cell.kind == CellKind::Lstm;
        Scratch scratch(std::size_t(G + H) * sizeof(R));
        R *d = static_cast<R*>(scratch.data()), *none = d + G;
        R* gh = static_cast<R*>(a.gh) + at;
        R* gc = lstm ? static_cast<R*>(a.gc) + at : none;
        Step<R>::copy_or_zero(a.gh_in, at, gh, rows * H);
        if (lstm) Step<R>::copy_or_zero(a.gc_in, at, gc, rows * H);
        for (int64_t t = a.T - 1; t >= 0; --t) {
            const int64_t step = (t * a.N + first) * H, wide = (t * a.N + first) * G;
            const R* h = state(a.h0, a.h_seq, t) + at;
            const R* c = lstm ? state(a.c0, a.aux, t) + at : nullptr;
            const R* pre = static_cast<const R*>(a.pre) + wide;
            const R* aux = a.aux ? static_cast<const R*>(a.aux) + step : nullptr;
            const R* gy = a.gy ? static_cast<const R*>(a.gy) + step : nullptr;
            R* gp = static_cast<R*>(a.gp) + wide;
            R* gn = a.gn ? static_cast<R*>(a.gn) + step : nullptr;
            const uint8_t* mask = a.mask ? a.mask + t * a.N + first : nullptr;
            if (gy) add_row(gy, gh, rows * H);
            for (int64_t n = 0; n < rows; ++n) {
                R* gn_row = gn ? gn + n * H : nullptr;
                if (mask && !mask[n]) {
                    fill_row(R(0), gp + n * G, G);
                    if (gn) fill_row(R(0), gn_row, H);
                    continue;
                }
                backward_row(a.cell, pre + n * G, h + n * H, c ? c + n * H : nullptr,
                             aux ? aux + n * H : nullptr, gh + n * H, lstm ? gc + n * H : none,
                             gp + n * G, gn_row, d, H);
            }
            multiply(gp, G, packed, G, H, gh, H, rows);
        }
    }
};

template <class R> void sequence_forward_as(const SequenceArgs& a) {
    Scratch scratch(std::size_t(Run<R>::forward_memory(a)) * sizeof(R));
    Run<R> run(a, static_cast<R*>(scratch.data()));
    const int64_t count =
        panels(run.edge, panel_width<R>()) + panels(run.G - run.edge, panel_width<R>());
    parallel_for(count, run.threads, run.pack_forward, &run);
    parallel_for(run.tasks, run.threads, run.forward_task, &run);
}

template <class R> void sequence_backward_as(const SequenceArgs& a) {
    Scratch scratch(std::size_t(Run<R>::backward_memory(a)) * sizeof(R));
    Run<R> run(a, static_cast<R*>(scratch.data()));
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
