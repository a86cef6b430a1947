#pragma once
// All time steps of a block, backward: H is recomputed first. Several steps at once where the threshold
// is one number and the surrogate a common one, else row by row.

#include <algorithm>

#include "relay.hpp"
#include "run.hpp"
#include "strip.hpp"

namespace sj {
inline namespace SJ_ABI {

constexpr int64_t kRelayBlock = 8192;   // neurons of a block of a relay between memory and memory
constexpr int64_t kStripRow = 8 << 20;  // bytes between steps from which all processors follow

template <class R, class N, class Reset> struct Backward : Run<R, N, Reset> {
    using Base = Run<R, N, Reset>;
    using Base::a;
    using Base::kFuseOne;
    using Base::neuron;
    using Base::plan;
    using Base::reset;
    using Base::rows;
    template <class Th> static constexpr bool kFuse = Base::template kFuse<Th>;

    double* partial;
    const bool together = follows_rows();

    Backward(const NeuronArgs& args, const N& n)
        : Base(args, n, args.g_x),
          partial(static_cast<double*>(args.partial)) {
        this->divide(most_neurons());
    }

    static void range(void* self, int64_t begin, int64_t end) {
        const Backward& run = *static_cast<const Backward*>(self);
        run.a.detach ? run.template blocks_of<true>(begin, end)
                     : run.template blocks_of<false>(begin, end);
        if (run.rows.stream) stream_fence();
    }

    template <bool kDetach> void blocks_of(int64_t begin, int64_t end) const {
        const int64_t b = plan.block;
        Scratch scratch(std::size_t(13 * b + a.T * relay_stride(b)) * sizeof(R));
        R* buffers = static_cast<R*>(scratch.data());
        const int64_t stop = this->neurons(end);
        if (many_steps()) {
            many<kDetach>(begin * b, stop, buffers);
            return;
        }
        this->blocks(begin, stop, buffers, [&](int64_t first, int64_t n, auto th) {
            block<kDetach>(first, n, stop, th, buffers);
        });
    }

  private:
    // Over few steps by strips, where 1/tau is not learnable, else by a relay.
    static constexpr bool kStrips = kFuseOne && !N::kNonlinear;
    bool by_strips() const {
        const bool follows = together || a.T == 1 || a.n * int64_t(sizeof(R)) >= kStripRow;
        return kStrips && follows && Strips<R, N, Reset, ATan<R>>::take(a);
    }

    bool many_steps() const {
        return kFuseOne && !a.v_th_ptr && !a.scale_ptr && a.dtype == rows.native() &&
               rows.stream == rows.direct && a.g_s && !a.g_v_seq &&
               (a.surrogate == Surrogate::ATan || a.surrogate == Surrogate::Sigmoid);
    }

    // So that H of a block over all steps stays in the second-level cache.
    int64_t most_neurons() const {
        int64_t block = cache_share() / (a.T * int64_t(sizeof(R)));
        if (a.g_decay) block /= 2;  // beside it x, which is read twice
        block = std::min(block, many_steps() && rows.stream ? kRelayBlock : kBlock);
        return std::max(block, kAlign);
    }

    // All blocks of [first, end), by strips or a relay.
    template <bool kDetach> void many(int64_t first, int64_t end, R* buffers) const {
        if constexpr (kFuseOne) {
            const auto go = [&](auto surrogate) {
                using S = decltype(surrogate);
                if constexpr (kStrips) {
                    if (by_strips())
                        return Strips<R, N, Reset, S>{a,           neuron,     reset,  surrogate,
                                                      rows.direct, plan.block, buffers}
                            .template backward<kDetach>(first, end);
                }
                Relay<R, N, Reset, S>{a,           neuron,     reset,   surrogate, rows.direct,
                                      this->claim, plan.block, buffers, partial}
                    .template backward<kDetach>(first, end);
            };
            a.surrogate == Surrogate::ATan ? go(ATan<R>(a.surrogate_p))
                                           : go(Sigmoid<R>(a.surrogate_p));
        }
    }

    // H of all steps; apart, for one copy of it with a detached reset and without. Memory never
    // rests: the last steps fetch the first gradients, and the last of the backward the next
    // block's input.
    template <class Th>
    SJ_NOINLINE void replay(int64_t first, int64_t n, int64_t end, Th th, R* buffers,
                            const R* v_first) const {
        const int64_t b = plan.block;
        R *x_buffer = buffers, *w0 = buffers + 3 * b, *v_row = buffers + 8 * b;
        R *w_row = buffers + 9 * b, *history = buffers + 13 * b;
        const R* v = v_first;
        const R* w = N::kTwoStates ? this->initial(a.w, a.w_fill, first, w0, n) : nullptr;
        for (int64_t t = 0; t < a.T; ++t) {
            const int64_t k = t + this->ahead;
            const Ahead next{k < a.T ? this->row(a.x, a.x_step, k, first, end)
                                     : this->row(a.g_s, a.n, 2 * a.T - 1 - k, first, end),
                             rows.size(), n,
                             k < a.T ? nullptr : this->target(a.g_x, 2 * a.T - 1 - k, first, end)};
            const R* x = rows.load(a.x, t * a.x_step + first, x_buffer, n);
            replay_row(neuron, reset, th, x, v, w, v_row, w_row, history + t * b, n, next);
            v = v_row;
            w = w_row;
        }
    }

    template <bool kDetach, class Th>
    void block(int64_t first, int64_t n, int64_t end, Th th, R* buffers) const {
        const int64_t b = plan.block;
        R *x_buffer = buffers, *g_buffer = buffers + b, *v0 = buffers + 2 * b;
        R *scales = buffers + 4 * b, *gs = buffers + 5 * b;  // rows 3, 8, 9: of the replay
        R *g_v = buffers + 6 * b, *g_w = buffers + 7 * b;
        R *acc = buffers + 10 * b, *gx_buffer = buffers + 11 * b;
        R* history = buffers + 13 * b;  // row 12: thresholds

        const R* v_first = this->initial(a.v, a.v_fill, first, v0, n);
        replay(first, n, end, th, buffers, v_first);

        start(a.g_v_next, first, g_v, n);
        if (N::kTwoStates) start(a.g_w_next, first, g_w, n);
        if (N::kDecayGrad) fill_row(R(0), acc, n);
        if (a.scale_ptr) channel_row(static_cast<const R*>(a.scale_ptr), a, first, scales, n);
        if (!a.g_s) fill_row(R(0), g_buffer, n);
        for (int64_t t = a.T - 1; t >= 0; --t) {
            const int64_t at = t * a.n + first;
            const int64_t k = t - this->ahead;
            const Ahead next{k >= 0 ? this->row(a.g_s, a.n, k, first, end)
                                    : this->row(a.x, a.x_step, -1 - k, first + b, end),
                             rows.size(), n, k < 0 ? nullptr : this->target(a.g_x, k, first, end)};
            const R* h = history + t * b;
            const R* g_s = a.g_s ? rows.load(a.g_s, at, g_buffer, n) : g_buffer;
            if (a.g_s && a.scale_ptr) {
                scale_row(g_s, scales, g_buffer, n);
                g_s = g_buffer;
            }
            if (a.g_v_seq) add_row(static_cast<const R*>(a.g_v_seq) + at, g_v, n);
            const R* x = nullptr;
            if constexpr (N::kDecayGrad) x = rows.load(a.x, t * a.x_step + first, x_buffer, n);
            R* g_x = rows.target(a.g_x, at, gx_buffer);
            const auto back = [&](auto surrogate, auto v_before) {
                back_row<R, kDetach>(neuron, reset, th, R(a.scale), h, surrogate, g_s, v_before, x,
                                     g_v, g_w, g_x, rows.direct, acc, n, next);
            };
            const auto after_state = [&](auto surrogate) {
                if constexpr (!N::kNonlinear)
                    back(surrogate, NoState<R>{});
                else if (t > 0)
                    back(surrogate, ResetOf<R, Reset, Th>{reset, th, h - b});
                else
                    back(surrogate, Stored<R>{v_first});
            };
            if (kFuse<Th> && a.surrogate == Surrogate::ATan) {
                if constexpr (kFuse<Th>) after_state(Computed<R, ATan<R>>{ATan<R>(a.surrogate_p)});
            } else if (kFuse<Th> && a.surrogate == Surrogate::Sigmoid) {
                if constexpr (kFuse<Th>)
                    after_state(Computed<R, Sigmoid<R>>{Sigmoid<R>(a.surrogate_p)});
            } else {
                surrogate_row(a.surrogate, a.surrogate_p, th, h, gs, n);
                after_state(Stored<R>{gs});
            }
            rows.store(a.g_x, at, g_x, n);
        }
        finish(a.g_v, first, g_v, n);
        if (N::kTwoStates) finish(a.g_w, first, g_w, n);
        if (N::kDecayGrad) decay_sums(acc, n, partial + first / kSum);
    }

    static void start(const void* gradient, int64_t first, R* row, int64_t n) {
        if (gradient)
            std::memcpy(row, static_cast<const R*>(gradient) + first, std::size_t(n) * sizeof(R));
        else
            fill_row(R(0), row, n);
    }

    static void finish(void* gradient, int64_t first, const R* row, int64_t n) {
        if (gradient)
            std::memcpy(static_cast<R*>(gradient) + first, row, std::size_t(n) * sizeof(R));
    }
};

}  // namespace SJ_ABI
}  // namespace sj
