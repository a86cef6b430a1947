#pragma once
// All time steps of a block, forward: row by row, or several at once where the processor follows them
// and one number is the threshold of all.

#include "run.hpp"

namespace sj {
inline namespace SJ_ABI {

constexpr int kSteps = 4;              // at once: with x and s as many streams as processors follow
constexpr int64_t kStepsBlock = 4096;  // neurons of a block: V stays in the first-level cache

template <class R, class N, class Reset> struct Forward : Run<R, N, Reset> {
    using Base = Run<R, N, Reset>;
    using Base::a;
    using Base::kOneThreshold;
    using Base::neuron;
    using Base::plan;
    using Base::reset;
    using Base::rows;

    static constexpr bool kSeveral = kManyRegisters && kOneThreshold && !N::kTwoStates;
    const bool together = follows_rows();

    Forward(const NeuronArgs& args, const N& n) : Base(args, n, args.s) {
        this->divide(several() ? kStepsBlock : kBlock);
    }

    static void range(void* self, int64_t begin, int64_t end) {
        const Forward& run = *static_cast<const Forward*>(self);
        Scratch scratch(std::size_t(13 * run.plan.block) * sizeof(R));
        R* buffers = static_cast<R*>(scratch.data());
        const int64_t stop = run.neurons(end);
        run.blocks(begin, stop, buffers, [&](int64_t first, int64_t n, auto th) {
            run.block(first, n, stop, th, buffers);
        });
        if (run.carries()) stream_fence();
    }

  private:
    // A large state is carried in a buffer and passes the caches, once: after a sequence it is not
    // read soon, if at all.
    bool carries() const { return rows.stream || (this->claim && a.T > 1); }

    // Whether steps go several at once, without fetches: such long rows are foreseen.
    bool several() const {
        return kSeveral && together && a.T > 1 && !a.v_th_ptr && !a.scale_ptr && !a.v_seq &&
               a.dtype == rows.native() && rows.stream == rows.direct;
    }

    template <class Th> void block(int64_t first, int64_t n, int64_t end, Th th, R* buffers) const {
        const int64_t b = plan.block;
        R *x_buffer = buffers, *s_buffer = buffers + b, *fill = buffers + 2 * b;
        R *w_fill = buffers + 3 * b, *scales = buffers + 4 * b;
        if (a.scale_ptr) channel_row(static_cast<const R*>(a.scale_ptr), a, first, scales, n);
        R* v_next = carries() ? fill : static_cast<R*>(a.v_next) + first;
        R* w_next = nullptr;
        if (N::kTwoStates) w_next = carries() ? w_fill : static_cast<R*>(a.w_next) + first;
        const R* v = this->initial(a.v, a.v_fill, first, fill, n);
        const R* w = N::kTwoStates ? this->initial(a.w, a.w_fill, first, w_fill, n) : nullptr;
        int64_t t = 0;
        if constexpr (kSeveral) {
            const auto some = [&](int64_t left) {
                return left >= kSteps ? steps<kSteps>(t, first, n, v, v_next)
                       : left >= 2    ? steps<2>(t, first, n, v, v_next)
                                      : steps<1>(t, first, n, v, v_next);
            };
            for (; several() && t < a.T; v = v_next) t += some(a.T - t);
        }
        for (; t < a.T; ++t) {
            const int64_t at = t * a.n + first;
            const int64_t k = t + this->ahead;
            const bool here = k < a.T;
            const int64_t step = here ? k : k - a.T, from = here ? first : first + b;
            const Ahead next{this->row(a.x, a.x_step, step, from, end), rows.size(), n,
                             this->target(a.s, step, from, end)};
            const R* x = rows.load(a.x, t * a.x_step + first, x_buffer, n);
            R* s = rows.target(a.s, at, s_buffer);
            const auto fire = [&](auto scale) {
                fire_row(neuron, reset, th, scale, x, v, w, v_next, w_next, s, rows.direct, n,
                         next);
            };
            if constexpr (std::is_same<Th, Each<R>>::value) {
                a.scale_ptr ? fire(Each<R>{scales}) : fire(One<R>{R(a.scale)});
            } else {
                fire(One<R>{R(a.scale)});
            }
            v = v_next;
            w = w_next;
            rows.store(a.s, at, s, n);
            if (a.v_seq) {
                R* to = static_cast<R*>(a.v_seq) + at;
                if (rows.stream)
                    stream_row(v, to, n);
                else
                    std::memcpy(to, v, std::size_t(n) * sizeof(R));
            }
        }
        if (carries()) {
            stream_row(v_next, static_cast<R*>(a.v_next) + first, n);
            if (N::kTwoStates) stream_row(w_next, static_cast<R*>(a.w_next) + first, n);
        }
    }

    // Steps t .. t + K - 1, between which V stays in registers; returns K.
    template <int K>
    SJ_NOINLINE int steps(int64_t t, int64_t first, int64_t n, const R* v, R* v_next) const {
        constexpr int64_t kWidth = kPiece<R>;
        const R v_th = R(a.v_th), scale = R(a.scale);
        const N one = neuron;  // copies: what is written here is none of their parameters
        const Reset after = reset;
        const R* x = static_cast<const R*>(a.x) + t * a.x_step + first;
        R* s = static_cast<R*>(a.s) + t * a.n + first;
        const int64_t x_step = a.x_step, s_step = a.n,
                      whole = rows.direct ? n / kWidth * kWidth : 0;
        const auto fire = [=](int64_t i, int64_t step, R& vi) SJ_INLINE {
            R h, w = R(0);
            return step_forward(one, after, x[step * x_step + i], v_th, vi, w, h) ? scale : R(0);
        };
        for (int64_t from = 0; from < whole; from += kWidth) {
            R piece[K][kWidth];
            SJ_LOOP
            for (int64_t j = 0; j < kWidth; ++j) {
                R vi = v[from + j];
                SJ_UNROLL
                for (int k = 0; k < K; ++k) piece[k][j] = fire(from + j, k, vi);
                v_next[from + j] = vi;
            }
            for (int k = 0; k < K; ++k) store_lines<true>(piece[k], s + k * s_step + from, 4);
        }
        SJ_LOOP
        for (int64_t i = whole; i < n; ++i) {
            R vi = v[i];
            SJ_UNROLL
            for (int k = 0; k < K; ++k) s[k * s_step + i] = fire(i, k, vi);
            v_next[i] = vi;
        }
        return K;
    }
};

}  // namespace SJ_ABI
}  // namespace sj
