#pragma once
// Which rows a relay reads and writes, and when: a block goes back in time while the one behind it
// replays its H into the rows that the first has done with.

#include "rows.hpp"

namespace sj {
inline namespace SJ_ABI {

constexpr int64_t kRelayBytes = 2048;  // of each row are fetched ahead of use

// Between rows of H: those of whole pages would meet in one set of the first-level cache.
inline int64_t relay_stride(int64_t block) { return block % 1024 ? block : block + 80; }

template <class R> struct RelayRows {
    const NeuronArgs& a;
    int64_t block, stride;
    R *v_row, *g_v, *acc, *v_fill, *history;  // rows of `block` neurons; T of the last

    static constexpr int64_t kWidth = kPiece<R>;
    static constexpr int64_t kDistance = kRelayBytes / int64_t(sizeof(R)) / kWidth * kWidth;
    static constexpr int64_t kBytes = kWidth * int64_t(sizeof(R));

    RelayRows(const NeuronArgs& args, int64_t neurons, R* buffers)
        : a(args),
          block(neurons),
          stride(relay_stride(neurons)),
          v_row(buffers),
          g_v(buffers + neurons),
          acc(buffers + 2 * neurons),
          v_fill(buffers + 3 * neurons),
          history(buffers + 4 * neurons) {}

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

    // The rows of steps t .. t + K - 1 of the block that replays, and T - 1 - t .. T - K - t of the
    // other.
    template <int K> Pass<K> pass(int64_t t, const Turn& turn) const {
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
        return p;
    }

    // The rows of a pass from the i-th neuron of a block on.
    template <int K> static Pass<K> from(Pass<K> p, int64_t i) {
        for (int k = 0; k < K; ++k) {
            p.in.x[k] += i;
            p.in.g_s[k] += i;
            p.g_x[k] += i;
            p.h[k] += i;
            p.x_back[k] += i;
        }
        p.h_before = behind(p.h_before, i);
        p.v_first += i;
        return p;
    }

    static const R* behind(const R* row, int64_t i) { return row ? row + i : nullptr; }

    // Which rows, and where, are to be fetched while the i-th neurons of a block are at work.
    template <int K> struct Next {
        int64_t passes, rest, whole;
        Reads<K> near, far;

        Next(const RelayRows& relay, int64_t t, const Turn& turn, int64_t neurons)
            : passes(kDistance / neurons),
              rest(kDistance % neurons),
              whole(neurons),
              near(relay.template reads<K>(t + passes * K, turn)),
              far(relay.template reads<K>(t + (passes + 1) * K, turn)) {}
        SJ_HD bool wraps(int64_t i) const { return i + rest >= whole; }
        SJ_HD const Reads<K>& rows(int64_t i) const { return wraps(i) ? far : near; }
        SJ_HD int64_t at(int64_t i) const { return i + rest - (wraps(i) ? whole : 0); }
    };
};

}  // namespace SJ_ABI
}  // namespace sj
