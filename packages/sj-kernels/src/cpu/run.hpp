#pragma once
// What forward and backward share: the blocks of neurons, and how rows of them are read and written.

#include <type_traits>

#include "parallel.hpp"
#include "processor.hpp"
#include "rows.hpp"

namespace sj {
inline namespace SJ_ABI {

constexpr int64_t kBlock = 1024;           // neurons of a block, at most
constexpr int64_t kAlign = kSum;           // blocks start at multiples of it
constexpr int64_t kFew = 16;               // the same of a buffer's rows, in a single small block
constexpr int64_t kSerial = 32768;         // elements below which threads cost more than they give
constexpr int64_t kAheadBytes = 12 << 10;  // how far fetches run ahead of use
constexpr int64_t kNearBytes = 4 << 10;    // the same where outputs are fetched too: L1 is small
constexpr int64_t kStreamBytes = 4 << 20;  // outputs that would only flush the caches
constexpr int64_t kClaimBytes = 1 << 19;   // outputs too large to lie in a near cache already

struct Plan {
    int64_t block, tasks;
    int threads;
};

inline Plan plan_of(const NeuronArgs& a, int64_t limit) {
    Plan plan;
    plan.threads = a.T * a.n < kSerial ? 1 : a.threads;
    // As large as the limit allows, and of a size that gives each thread as many.
    const int64_t share = (a.n + plan.threads - 1) / plan.threads, whole = limit / kAlign * kAlign;
    const int64_t blocks = (share + whole - 1) / whole;
    plan.block = ((share + blocks - 1) / blocks + kAlign - 1) / kAlign * kAlign;
    plan.tasks = (a.n + plan.block - 1) / plan.block;
    // Few neurons over a long time need no scratch of 64 each.
    if (a.n < kAlign) plan.block = (a.n + kFew - 1) / kFew * kFew;
    return plan;
}

template <class R, class N, class Reset> struct Run {
    const NeuronArgs& a;
    const N& neuron;
    Reset reset;
    Plan plan;
    Rows<R> rows;
    int64_t ahead;
    bool claim;  // fetch the lines of outputs that stay in the caches before they are written

    // `out` is the large output. Where it is the memory of the incoming gradient, its lines have been
    // read: to write them past the caches, or to fetch them, would be for nothing.
    Run(const NeuronArgs& args, const N& n, void* out)
        : a(args),
          neuron(n),
          reset{R(args.v_reset)} {
        rows.dtype = a.dtype;
        const int64_t bytes = a.T * a.n * rows.size();
        const bool in_place = out == a.g_s;
        rows.stream = bytes >= kStreamBytes && !in_place;
        claim = bytes >= kClaimBytes && !rows.stream && !in_place;
        rows.direct = rows.stream && a.dtype == rows.native() && on_line(out) &&
                      a.n * rows.size() % kLine == 0;
        if (rows.stream) want_huge_pages(out, bytes);
    }

    // Blocks of `block` neurons at most.
    void divide(int64_t block) {
        plan = plan_of(a, block);
        ahead = (claim ? kNearBytes : kAheadBytes) / (plan.block * rows.size());
        if (ahead < 1) ahead = 1;
        if (ahead > a.T) ahead = a.T;
    }

    // Loops of their own, where they are worth the size and the time to compile: for one threshold
    // in place of a row of equal ones, and for the common surrogates without a row between.
    static constexpr bool kOneThreshold = !N::kNonlinear || N::kDecayGrad;
    static constexpr bool kFuseOne = kOneThreshold && sizeof(R) == 4;
    template <class Th> static constexpr bool kFuse = kFuseOne && std::is_same<Th, One<R>>::value;
    // Where the state before the first step stands: in the caller's tensor, or filled into buffer.
    const R* initial(const void* state, double fill, int64_t first, R* buffer, int64_t n) const {
        if (state) return static_cast<const R*>(state) + first;
        fill_row(R(fill), buffer, n);
        return buffer;
    }

    // A row that is to be fetched ahead of its use; null for a block past the end. `target`: the
    // same of an output.
    const char* row(const void* base, int64_t step, int64_t t, int64_t first, int64_t end) const {
        if (!base || first >= end) return nullptr;
        return static_cast<const char*>(base) + (t * step + first) * rows.size();
    }
    const char* target(const void* base, int64_t t, int64_t first, int64_t end) const {
        return claim ? row(base, a.n, t, first, end) : nullptr;
    }

    // Calls body(first, n, threshold) for the blocks [begin, end).
    template <class Body> void blocks(int64_t begin, int64_t end, R* buffers, Body&& body) const {
        R* thresholds = buffers + 12 * plan.block;
        for (int64_t first = begin * plan.block; first < end; first += plan.block) {
            const int64_t n = end - first < plan.block ? end - first : plan.block;
            if constexpr (kOneThreshold) {
                if (!a.v_th_ptr && !a.scale_ptr) {
                    body(first, n, One<R>{R(a.v_th)});
                    continue;
                }
            }
            if (a.v_th_ptr)
                channel_row(static_cast<const R*>(a.v_th_ptr), a, first, thresholds, n);
            else
                fill_row(R(a.v_th), thresholds, n);
            body(first, n, Each<R>{thresholds});
        }
    }

    int64_t neurons(int64_t blocks) const {
        return blocks * plan.block < a.n ? blocks * plan.block : a.n;
    }
};

}  // namespace SJ_ABI
}  // namespace sj
