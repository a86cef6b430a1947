#pragma once
// The shape of a block of the CUDA kernels, and how many steps of H it keeps in shared memory.

#include <cstddef>
#include <cstdint>

#include "sj/math.hpp"

namespace sj {
inline namespace SJ_ABI {

constexpr int kThreads = 128;  // of a block, at most
constexpr int kSum = 64;       // neurons per partial sum of the decay's gradient
constexpr int kSharedBytes = 32 * 1024;
constexpr int kMostSteps = 64;  // of a segment

struct Block {
    int threads;
    int segment;  // steps of H in shared memory
};

// For backward. A sweep for checkpoints reads x once more: up to kMostSteps it is avoided, if need
// be by fewer threads, which then find memory for more steps each. Beyond, segments are as long as
// a full block has memory for.
template <class R, int V> Block block_of(int64_t T) {
    Block block{kThreads, kSharedBytes / (kThreads * V * int(sizeof(R)))};
    if (T > kMostSteps) return block;
    while (block.segment < T) {
        block.threads /= 2;
        block.segment *= 2;
    }
    return block;
}

// Whether V neurons of a thread, where they can be, are better than one. Not where a block would have
// a quarter of its threads: loads of a single neuron by all of them keep memory busier, unless each
// is of two bytes and costs as many instructions as one of eight.
template <class R, class E> bool takes_wide(int64_t T) {
    return T <= kMostSteps / 2 || T > kMostSteps || sizeof(E) < sizeof(R);
}

template <class R, int V> std::size_t shared_bytes(const Block& block, int64_t T) {
    const int64_t steps = T < block.segment ? T : block.segment;
    return std::size_t(steps) * V * std::size_t(block.threads) * sizeof(R);
}

inline int64_t blocks(int64_t n, int V, int threads) {
    const int64_t all = (n + V - 1) / V;
    return (all + threads - 1) / threads;
}

// Rows of n states for backward's checkpoints, enough for V neurons of a thread and for one.
template <class R, int V> int64_t checkpoints_of(int64_t T) {
    return T <= kMostSteps ? 0 : (T - 1) / block_of<R, V>(T).segment;
}

}  // namespace SJ_ABI
}  // namespace sj
