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
    bool stream;
    int64_t block, stride;
    R *v_row, *g_v, *history;  // one row each of `block` neurons, and T of them

    static constexpr int64_t kWidth = kPiece<R>;

    Relay(const NeuronArgs& args, const N& neuron, const Reset& reset, const S& surrogate,
          bool streams, int64_t neurons, R* buffers)
        : a(args),
          neuron_(neuron),
          reset_(reset),
          surrogate_(surrogate),
          stream(streams),
          block(neurons),
          stride(relay_stride(neurons)),
          v_row(buffers),
          g_v(buffers + neurons),
          history(buffers + 2 * neurons) {}

    // All blocks of [first, end).
    template <bool kDetach> void backward(int64_t first, int64_t end) const {
        Turn turn{{first, 0}, at(first, end), {}, true};
        while (turn.back.n || turn.replay.n) {
            turn.then = at(turn.replay.first + turn.replay.n, end);
            start(a.g_v_next, R(0), turn.back, g_v);
            start(a.v, R(a.v_fill), turn.replay, v_row);
            int64_t t = 0;
            for (; t + 2 <= a.T; t += 2) steps<kDetach, 2>(t, turn);
            if (t < a.T) steps<kDetach, 1>(t, turn);
            if (a.g_v && turn.back.n)
                std::memcpy(static_cast<R*>(a.g_v) + turn.back.first, g_v,
                            std::size_t(turn.back.n) * sizeof(R));
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
    template <int K> struct Reads {  // rows of K steps
        const R *x[K], *g_s[K];
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
    const R* g_row(int64_t t, const Turn& turn) const {
        const bool now = t < a.T;
        const Block b = now ? turn.back : turn.replay;
        return static_cast<const R*>(a.g_s) + (a.T - 1 - (now ? t : t - a.T)) * a.n + b.first;
    }
    template <int K> Reads<K> reads(int64_t t, const Turn& turn) const {
        Reads<K> rows;
        for (int k = 0; k < K; ++k) {
            const bool known = t + k < 2 * a.T;
            rows.x[k] = known ? x_row(t + k, turn) : nullptr;
            rows.g_s[k] = known ? g_row(t + k, turn) : nullptr;
        }
        return rows;
    }

    // Steps t .. t + K - 1 of the block that replays, and T - 1 - t .. T - K - t of the other.
    template <bool kDetach, int K> void steps(int64_t t, const Turn& turn) const {
        const Reads<K> now = reads<K>(t, turn), next = reads<K>(t + K, turn);
        R *g_x[K], *h[K];
        for (int k = 0; k < K; ++k) {
            const int64_t back = a.T - 1 - t - k;
            g_x[k] = static_cast<R*>(a.g_x) + back * a.n + turn.back.first;
            h[k] = history + (turn.forwards ? t + k : back) * stride;
        }
        const int64_t both = turn.back.n < turn.replay.n ? turn.back.n : turn.replay.n;
        const int64_t whole = both / kWidth * kWidth;
        if (whole) together<kDetach, K>(t, turn, now, g_x, h, whole);

        // What has no partner: the first block, the last, and the end of a shorter one.
        const R v_th = R(a.v_th), scale = R(a.scale);
        R* const none = nullptr;
        const int64_t backs = turn.back.n - whole, replays = turn.replay.n - whole;
        const auto behind = [=](const R* row, int64_t n) {
            return Ahead{row ? reinterpret_cast<const char*>(row + whole) : nullptr,
                         int64_t(sizeof(R)), n};
        };
        for (int k = 0; k < K; ++k) {
            if (backs)
                back_row<R, kDetach>(neuron_, reset_, One<R>{v_th}, scale, h[k] + whole,
                                     Computed<R, S>{surrogate_}, now.g_s[k] + whole, NoState<R>{},
                                     none, g_v + whole, none, g_x[k] + whole, stream, none, backs,
                                     behind(next.g_s[k], backs));
            if (replays)
                replay_row(neuron_, reset_, One<R>{v_th}, now.x[k] + whole, v_row + whole, none,
                           v_row + whole, none, h[k] + whole, replays, behind(next.x[k], replays));
        }
    }

    template <bool kDetach, int K>
    void together(int64_t t, const Turn& turn, const Reads<K>& now, R* const* g_x, R* const* h,
                  int64_t whole) const {
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
                const R* x = now.x[k] + i;
                R* hk = h[k] + i;
                SJ_LOOP
                for (int64_t j = 0; j < kWidth; ++j) {
                    R w = R(0), charged;
                    before[k][j] = hk[j];
                    step_forward(neuron, reset, x[j], v_th, v[j], w, charged);
                    hk[j] = charged;
                }
            }
            for (int k = 0; k < K; ++k) {
                if (next.g_s[k]) prefetch_row(next.g_s[k] + to, kBytes);
                const R* g_s = now.g_s[k] + i;
                R gx[kWidth];
                SJ_LOOP
                for (int64_t j = 0; j < kWidth; ++j) {
                    const R hj = before[k][j];
                    R g_w = R(0);
                    gx[j] = step_backward<R, kDetach>(neuron, reset, hj, surrogate(hj - v_th),
                                                      g_s[j] * scale, v_th, R(0), gv[j], g_w) *
                            neuron.dh_dx();
                }
                stream ? store_lines<true>(gx, g_x[k] + i, 4)
                       : store_lines<false>(gx, g_x[k] + i, 4);
            }
            store_lines<false>(v, v_row + i, 4);
            store_lines<false>(gv, g_v + i, 4);
        }
    }
};

}  // namespace SJ_ABI
}  // namespace sj
