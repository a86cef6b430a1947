#pragma once
// All steps of a recurrent cell with their products, f32 and f64. A sequence is split by its batch:
// rows do not depend on each other, so that threads meet only at the end.

#include <cstring>

#include "gemm.hpp"
#include "parallel.hpp"
#include "rnn_rows.hpp"

namespace sj {
inline namespace SJ_ABI {

template <class R> struct Sequence {
    const SequenceArgs& a;
    int64_t G, block, tasks, edge;
    int threads;
    R *packed, *packed_n;

    Sequence(const SequenceArgs& args, R* memory) : a(args), packed(memory) {
        G = gates_of(a.cell.kind) * a.H;
        edge = a.cell.kind == CellKind::Gru ? 2 * a.H : G;
        packed_n = memory + packed_size<R>(a.H, edge);
        threads = a.T * a.N * a.H < kSerialUnits ? 1 : a.threads;
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
        const Sequence& r = *static_cast<const Sequence*>(self);
        const int64_t H = r.a.H, first = panels(r.edge, panel_width<R>());
        if (task < first)
            pack_panel(r.w(), 1, H, H, r.edge, task, r.packed);
        else
            pack_panel(r.w() + r.edge * H, 1, H, H, r.G - r.edge, task - first, r.packed_n);
    }

    static void pack_backward(void* self, int64_t task) {
        const Sequence& r = *static_cast<const Sequence*>(self);
        pack_panel(r.w(), r.a.H, 1, r.G, r.a.H, task, r.packed);
    }

    static void forward_task(void* self, int64_t task) {
        const Sequence& r = *static_cast<const Sequence*>(self);
        const int64_t last = (task + 1) * r.block < r.a.N ? (task + 1) * r.block : r.a.N;
        r.forward(task * r.block, last);
    }

    static void backward_task(void* self, int64_t task) {
        const Sequence& r = *static_cast<const Sequence*>(self);
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
        copy_or_zero(a.gh_in, at, gh, rows * H);
        if (lstm) copy_or_zero(a.gc_in, at, gc, rows * H);
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

}  // namespace SJ_ABI
}  // namespace sj
