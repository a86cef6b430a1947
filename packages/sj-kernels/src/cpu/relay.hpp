#pragma once
// Backward over many steps, where a block of neurons hands over to the next: while one goes back in
// time, the one behind it replays its H into the rows that the first has done with. Reads and writes
// of memory then alternate finely all the time, a row of H is fetched from the cache once for both,
// and two steps at a time halve the traffic of the states.

#include "rows.hpp"

namespace sj {
inline namespace SJ_ABI {

constexpr int64_t kRelayBytes = 2048;  // of each row are fetched ahead of use

// Between rows of H: those of whole pages would meet in one set of the first-level cache.
inline int64_t relay_stride(int64_t block) { return block % 1024 ? block : block + 80; }

template <class R, class N, class Reset, class S> struct Relay {
    const NeuronArgs& a;
    N neuron_;
    Reset reset_;
    S surrogate_;
    bool stream, claim;
    int64_t block, stride;
    R *v_row, *g_v, *acc, *v_fill, *history;  // rows of `block` neurons; T of the last
    double* partial;                          // sums of the gradient of 1/tau, by kSum neurons

    static constexpr int64_t kWidth = kPiece<R>;

    Relay(const NeuronArgs& args, const N& neuron, const Reset& reset, const S& surrogate,
          bool streams, bool claims, int64_t neurons, R* buffers, double* sums)
        : a(args),
          neuron_(neuron),
          reset_(reset),
          surrogate_(surrogate),
          stream(streams),
          claim(claims),
          block(neurons),
          stride(relay_stride(neurons)),
          v_row(buffers),
          g_v(buffers + neurons),
          acc(buffers + 2 * neurons),
          v_fill(buffers + 3 * neurons),
          history(buffers + 4 * neurons),
          partial(sums) {}

    // All blocks of [first, end).
    template <bool kDetach> void backward(int64_t first, int64_t end) const {
        Turn turn{{first, 0}, at(first, end), {}, true};
        if (N::kDecayGrad && !a.v) fill_row(R(a.v_fill), v_fill, block);
        while (turn.back.n || turn.replay.n) {
            turn.then = at(turn.replay.first + turn.replay.n, end);
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
    struct Block {
        int64_t first, n;
    };
    struct Turn {
        Block back, replay, then;
        bool forwards;  // whether step t of `replay` takes row t, or the row of T - 1 - t
    };
    template <int K> struct Reads {  // rows of K steps, and those that are written meanwhile
        const R *x[K], *g_s[K], *g_x[K];
    };
    template <int K> struct Pass {  // all rows of K steps; for a learnable 1/tau the last three
        Reads<K> in;
        R *g_x[K], *h[K];
        const R *x_back[K], *h_before, *v_first;  // H before the last step back, V before all
    };

    Block at(int64_t first, int64_t end) const {
        return {first, end - first < block ? end - first : block};
    }

    static void start(const void* from, R fill, Block b, R* row) {
        if (from)
            std::memcpy(row, static_cast<const R*>(from) + b.first, std::size_t(b.n) * sizeof(R));
        else
            fill_row(fill, row, b.n);
    }

    // The rows that are read `t` steps after a turn began, possibly in the turn behind it.
    const R* x_row(int64_t t, const Turn& turn) const {
        const bool now = t < a.T;
        const Block b = now ? turn.replay : turn.then;
        return static_cast<const R*>(a.x) + (now ? t : t - a.T) * a.x_step + b.first;
    }
    const R* g_row(const void* base, int64_t t, const Turn& turn) const {
        const bool now = t < a.T;
        const Block b = now ? turn.back : turn.replay;
        return static_cast<const R*>(base) + (a.T - 1 - (now ? t : t - a.T)) * a.n + b.first;
    }
    template <int K> Reads<K> reads(int64_t t, const Turn& turn) const {
        Reads<K> rows;
        for (int k = 0; k < K; ++k) {
            const bool known = t + k < 2 * a.T;
            rows.x[k] = known ? x_row(t + k, turn) : nullptr;
            rows.g_s[k] = known ? g_row(a.g_s, t + k, turn) : nullptr;
            rows.g_x[k] = known ? g_row(a.g_x, t + k, turn) : nullptr;
        }
        return rows;
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
    static const R* behind(const R* row, int64_t i) { return row ? row + i : nullptr; }

    // Steps t .. t + K - 1 of the block that replays, and T - 1 - t .. T - K - t of the other.
    template <bool kDetach, int K> void steps(int64_t t, const Turn& turn) const {
        Pass<K> p;
        p.in = reads<K>(t, turn);
        for (int k = 0; k < K; ++k) {
            const int64_t back = a.T - 1 - t - k;
            p.g_x[k] = static_cast<R*>(a.g_x) + back * a.n + turn.back.first;
            p.h[k] = history + (turn.forwards ? t + k : back) * stride;
            p.x_back[k] = static_cast<const R*>(a.x) + back * a.x_step + turn.back.first;
        }
        const int64_t before = a.T - 1 - t - K;
        p.h_before = before < 0 ? nullptr : history + (turn.forwards ? t + K : before) * stride;
        p.v_first = a.v ? static_cast<const R*>(a.v) + turn.back.first : v_fill;
        const int64_t both = turn.back.n < turn.replay.n ? turn.back.n : turn.replay.n;
        const int64_t whole = both / kWidth * kWidth;
        if (whole) together<kDetach, K>(t, turn, p, whole);
        alone<kDetach, K>(turn, p, reads<K>(t + K, turn), whole);
    }

    // What has no partner: the first block, the last, and the end of a shorter one.
    template <bool kDetach, int K>
    void alone(const Turn& turn, const Pass<K>& p, const Reads<K>& next, int64_t from) const {
        const R v_th = R(a.v_th), scale = R(a.scale);
        R* const none = nullptr;
        const int64_t backs = turn.back.n - from, replays = turn.replay.n - from;
        const auto ahead = [=](const R* row, int64_t n) {
            return Ahead{reinterpret_cast<const char*>(behind(row, from)), int64_t(sizeof(R)), n};
        };
        for (int k = 0; k < K; ++k) {
            const R* h_before = k + 1 < K ? p.h[k + 1] : p.h_before;
            const auto back = [&](auto v_before) {
                back_row<R, kDetach>(neuron_, reset_, One<R>{v_th}, scale, p.h[k] + from,
                                     Computed<R, S>{surrogate_}, p.in.g_s[k] + from, v_before,
                                     p.x_back[k] + from, g_v + from, none, p.g_x[k] + from, stream,
                                     acc + from, backs, ahead(next.g_s[k], backs));
            };
            if (backs) with_state(behind(h_before, from), p.v_first + from, reset_, v_th, back);
            if (replays)
                replay_row(neuron_, reset_, One<R>{v_th}, p.in.x[k] + from, v_row + from, none,
                           v_row + from, none, p.h[k] + from, replays, ahead(next.x[k], replays));
        }
    }

    template <bool kDetach, int K>
    void together(int64_t t, const Turn& turn, const Pass<K>& p, int64_t whole) const {
        const R v_th = R(a.v_th), scale = R(a.scale);
        const N neuron = neuron_;  // copies: what is written here is none of their parameters
        const Reset reset = reset_;
        const S surrogate = surrogate_;
        constexpr int64_t kDistance = kRelayBytes / int64_t(sizeof(R)) / kWidth * kWidth;
        constexpr int64_t kBytes = kWidth * int64_t(sizeof(R));
        const int64_t passes = kDistance / whole, rest = kDistance % whole;
        const Reads<K> near = reads<K>(t + passes * K, turn);
        const Reads<K> far = reads<K>(t + (passes + 1) * K, turn);
        for (int64_t i = 0; i < whole; i += kWidth) {
            const bool wraps = i + rest >= whole;
            const Reads<K>& next = wraps ? far : near;
            const int64_t to = i + rest - (wraps ? whole : 0);
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
                if (claim && next.g_x[k]) prefetch_row<true>(next.g_x[k] + to, kBytes);
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
                stream ? store_lines<true>(gx, p.g_x[k] + i, 4)
                       : store_lines<false>(gx, p.g_x[k] + i, 4);
            }
            store_lines<false>(v, v_row + i, 4);
            store_lines<false>(gv, g_v + i, 4);
        }
    }
};

}  // namespace SJ_ABI
}  // namespace sj
