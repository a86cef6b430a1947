#pragma once
// Backward over many steps, where a block of neurons hands over to the next: while one goes back in
// time, the one behind it replays its H into the rows that the first has done with. Reads and writes
// of memory then alternate finely all the time, a row of H is fetched from the cache once for both,
// and two steps at a time halve the traffic of the states.

#include "relay_rows.hpp"

namespace sj {
inline namespace SJ_ABI {

template <class R, class N, class Reset, class S> struct Relay : RelayRows<R> {
    using Base = RelayRows<R>;
    using Base::a;
    using Base::acc;
    using Base::behind;
    using Base::block;
    using Base::from;
    using Base::g_v;
    using Base::kBytes;
    using Base::kWidth;
    using Base::v_fill;
    using Base::v_row;
    using typename Base::Block;
    using typename Base::Turn;
    template <int K> using Next = typename Base::template Next<K>;
    template <int K> using Pass = typename Base::template Pass<K>;
    template <int K> using Reads = typename Base::template Reads<K>;

    N neuron_;
    Reset reset_;
    S surrogate_;
    bool stream, claim;
    double* partial;  // sums of the gradient of 1/tau, by kSum neurons

    Relay(const NeuronArgs& args, const N& neuron, const Reset& reset, const S& surrogate,
          bool streams, bool claims, int64_t neurons, R* buffers, double* sums)
        : Base(args, neurons, buffers),
          neuron_(neuron),
          reset_(reset),
          surrogate_(surrogate),
          stream(streams),
          claim(claims),
          partial(sums) {}

    // All blocks of [first, end).
    template <bool kDetach> void backward(int64_t first, int64_t end) const {
        Turn turn{{first, 0}, this->at(first, end), {}, true};
        if (N::kDecayGrad && !a.v) fill_row(R(a.v_fill), v_fill, block);
        while (turn.back.n || turn.replay.n) {
            turn.then = this->at(turn.replay.first + turn.replay.n, end);
            start(a.g_v_next, R(0), turn.back, g_v);
            start(a.v, R(a.v_fill), turn.replay, v_row);
            if (N::kDecayGrad) fill_row(R(0), acc, turn.back.n);
            int64_t t = 0;
            for (; t + 2 <= a.T; t += 2) steps<kDetach, 2>(t, turn);
            if (t < a.T) steps<kDetach, 1>(t, turn);
            if (a.g_v && turn.back.n)
                std::memcpy(static_cast<R*>(a.g_v) + turn.back.first, g_v,
                            std::size_t(turn.back.n) * sizeof(R));
            if (N::kDecayGrad) decay_sums(acc, turn.back.n, partial + turn.back.first / kSum);
            turn = {turn.replay, turn.then, {}, !turn.forwards};
        }
    }

  private:
    static void start(const void* from, R fill, Block b, R* row) {
        if (from)
            std::memcpy(row, static_cast<const R*>(from) + b.first, std::size_t(b.n) * sizeof(R));
        else
            fill_row(fill, row, b.n);
    }

    // What the step back from row k of H needs besides: V before it, for a learnable 1/tau.
    template <class F>
    static SJ_HD void with_state(const R* h_before, const R* v_first, const Reset& reset, R v_th,
                                 const F& f) {
        if constexpr (!N::kDecayGrad)
            f(NoState<R>{});
        else if (h_before)
            f(ResetOf<R, Reset, One<R>>{reset, One<R>{v_th}, h_before});
        else
            f(Stored<R>{v_first});
    }

    // Steps t .. t + K - 1 of the block that replays, and T - 1 - t .. T - K - t of the other.
    template <bool kDetach, int K> void steps(int64_t t, const Turn& turn) const {
        const Pass<K> p = this->template pass<K>(t, turn);
        const int64_t both = turn.back.n < turn.replay.n ? turn.back.n : turn.replay.n;
        const int64_t whole = both / kWidth * kWidth;
        if (whole) together<kDetach, K>(t, turn, p, whole);
        alone<kDetach, K>(turn, p, this->template reads<K>(t + K, turn), whole);
    }

    // What has no partner: the first block, the last, and the end of a shorter one. Step by step, for
    // one copy of its loops.
    template <bool kDetach, int K>
    void alone(const Turn& turn, const Pass<K>& p, const Reads<K>& next, int64_t i) const {
        if (i >= turn.back.n && i >= turn.replay.n) return;
        for (int k = 0; k < K; ++k) {
            const R* h_before = k + 1 < K ? p.h[k + 1] : p.h_before;
            const Pass<1> one{{{p.in.x[k]}, {p.in.g_s[k]}, {p.in.g_x[k]}},
                              {p.g_x[k]},
                              {p.h[k]},
                              {p.x_back[k]},
                              h_before,
                              p.v_first};
            alone<kDetach>(turn, from(one, i), next.x[k], next.g_s[k], i);
        }
    }

    template <bool kDetach>
    SJ_NOINLINE void alone(const Turn& turn, const Pass<1>& p, const R* x_next, const R* g_next,
                           int64_t i) const {
        const R v_th = R(a.v_th), scale = R(a.scale);
        R* const none = nullptr;
        const int64_t backs = turn.back.n - i, replays = turn.replay.n - i;
        const auto ahead = [=](const R* row, int64_t n) {
            return Ahead{reinterpret_cast<const char*>(behind(row, i)), int64_t(sizeof(R)), n};
        };
        const auto back = [&](auto v_before) {
            back_row<R, kDetach>(neuron_, reset_, One<R>{v_th}, scale, p.h[0],
                                 Computed<R, S>{surrogate_}, p.in.g_s[0], v_before, p.x_back[0],
                                 g_v + i, none, p.g_x[0], stream, acc + i, backs,
                                 ahead(g_next, backs));
        };
        if (backs) with_state(p.h_before, p.v_first, reset_, v_th, back);
        if (replays)
            replay_row(neuron_, reset_, One<R>{v_th}, p.in.x[0], v_row + i, none, v_row + i, none,
                       p.h[0], replays, ahead(x_next, replays));
    }

    template <bool kDetach, int K>
    void together(int64_t t, const Turn& turn, const Pass<K>& p, int64_t whole) const {
        stream ? between_memory<kDetach, K>(t, turn, p, whole)
               : in_caches<kDetach, K>(t, turn, p, whole);
    }

    // Reads and writes alternate as finely as they can.
    template <bool kDetach, int K>
    void between_memory(int64_t t, const Turn& turn, const Pass<K>& p, int64_t whole) const {
        const R v_th = R(a.v_th), scale = R(a.scale);
        const N neuron = neuron_;  // copies: what is written here is none of their parameters
        const Reset reset = reset_;
        const S surrogate = surrogate_;
        const Next<K> ahead(*this, t, turn, whole);
        for (int64_t i = 0; i < whole; i += kWidth) {
            const Reads<K>& next = ahead.rows(i);
            const int64_t to = ahead.at(i);
            R v[kWidth], gv[kWidth], before[K][kWidth];
            store_lines<false>(v_row + i, v, 4);
            store_lines<false>(g_v + i, gv, 4);
            for (int k = 0; k < K; ++k) {
                if (next.x[k]) prefetch_row(next.x[k] + to, kBytes);
                const R* x = p.in.x[k] + i;
                R* h = p.h[k] + i;
                SJ_LOOP
                for (int64_t j = 0; j < kWidth; ++j) {
                    R w = R(0), charged;
                    before[k][j] = h[j];
                    step_forward(neuron, reset, x[j], v_th, v[j], w, charged);
                    h[j] = charged;
                }
            }
            for (int k = 0; k < K; ++k) {
                if (next.g_s[k]) prefetch_row(next.g_s[k] + to, kBytes);
                const R *g_s = p.in.g_s[k] + i, *x = p.x_back[k] + i;
                R* sum = acc + i;
                R gx[kWidth];
                const auto back = [&](auto v_before) SJ_INLINE {
                    SJ_LOOP
                    for (int64_t j = 0; j < kWidth; ++j) {
                        const R h = before[k][j], vb = v_before.at(j);
                        R g_w = R(0);
                        const R g_h =
                            step_backward<R, kDetach>(neuron, reset, h, surrogate(h - v_th),
                                                      g_s[j] * scale, v_th, vb, gv[j], g_w);
                        if constexpr (N::kDecayGrad) sum[j] += g_h * neuron.dh_ddecay(vb, x[j]);
                        gx[j] = g_h * neuron.dh_dx();
                    }
                };
                const R* h_before = k + 1 < K ? before[k + 1] : behind(p.h_before, i);
                with_state(h_before, p.v_first + i, reset, v_th, back);
                store_lines<true>(gx, p.g_x[k] + i, 4);
            }
            store_lines<false>(v, v_row + i, 4);
            store_lines<false>(gv, g_v + i, 4);
        }
    }

    // What lies between the steps of a neuron stays in registers: stores set the pace here.
    template <bool kDetach, int K>
    void in_caches(int64_t t, const Turn& turn, const Pass<K>& rows, int64_t whole) const {
        const R v_th = R(a.v_th), scale = R(a.scale);
        const N neuron = neuron_;
        const Reset reset = reset_;
        const S surrogate = surrogate_;
        const Next<K> ahead(*this, t, turn, whole);
        for (int64_t i = 0; i < whole; i += kWidth) {
            const Reads<K>& next = ahead.rows(i);
            const int64_t to = ahead.at(i);
            for (int k = 0; k < K; ++k) {
                if (next.x[k]) prefetch_row(next.x[k] + to, kBytes);
                if (next.g_s[k]) prefetch_row(next.g_s[k] + to, kBytes);
                if (claim && next.g_x[k]) prefetch_row<true>(next.g_x[k] + to, kBytes);
            }
            const Pass<K> p = from(rows, i);
            R *v_of = v_row + i, *g_of = g_v + i, *sum = acc + i;
            const auto both = [&](auto v_before) SJ_INLINE {
                SJ_LOOP
                for (int64_t j = 0; j < kWidth; ++j) {
                    R v = v_of[j], gv = g_of[j], total = N::kDecayGrad ? sum[j] : R(0), h[K + 1];
                    for (int k = 0; k < K; ++k) {
                        R w = R(0), charged;
                        h[k] = p.h[k][j];
                        step_forward(neuron, reset, p.in.x[k][j], v_th, v, w, charged);
                        p.h[k][j] = charged;
                    }
                    for (int k = 0; k < K; ++k) {
                        R vb = R(0), g_w = R(0);
                        if constexpr (N::kDecayGrad)
                            vb = k + 1 < K ? reset.apply(h[k + 1] - v_th >= R(0), h[k + 1], v_th)
                                           : v_before.at(j);
                        const R g_h =
                            step_backward<R, kDetach>(neuron, reset, h[k], surrogate(h[k] - v_th),
                                                      p.in.g_s[k][j] * scale, v_th, vb, gv, g_w);
                        if constexpr (N::kDecayGrad)
                            total += g_h * neuron.dh_ddecay(vb, p.x_back[k][j]);
                        p.g_x[k][j] = g_h * neuron.dh_dx();
                    }
                    v_of[j] = v;
                    g_of[j] = gv;
                    if constexpr (N::kDecayGrad) sum[j] = total;
                }
            };
            with_state(p.h_before, p.v_first, reset, v_th, both);
        }
    }
};

}  // namespace SJ_ABI
}  // namespace sj
