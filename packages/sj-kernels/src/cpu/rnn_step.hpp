#pragma once
// One step of a recurrent cell, any dtype: the state's product is given.

#include <cstring>

#include "parallel.hpp"
#include "rnn_rows.hpp"

namespace sj {
inline namespace SJ_ABI {

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

    explicit Step(const StepArgs& args) : a(args), row{Rows<R>{args.dtype, false, false}} {
        threads = a.N * a.H < kSerialUnits ? 1 : a.threads;
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
};

}  // namespace SJ_ABI
}  // namespace sj
