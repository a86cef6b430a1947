#pragma once
// Threads, scratch memory and the floating-point mode of the CPU driver.

#include <cstddef>
#include <cstdint>

namespace sj {

// Splits [0, tasks) into `threads` ranges and calls work(context, begin, end) for each. Runs on the
// OpenMP team that torch has loaded, found at run time, so that no second pool spins beside it;
// without one, on threads of its own that live for the call. Throws std::bad_alloc where a range had
// no memory for its scratch.
void parallel_ranges(int64_t tasks, int threads, void (*work)(void*, int64_t, int64_t),
                     void* context);

// The same, calling task(context, i) for each i.
void parallel_for(int64_t tasks, int threads, void (*task)(void*, int64_t), void* context);

// "openmp" or "std::thread".
const char* parallel_backend();

// Asks for pages of 2 MiB in a large output that is about to be written as a whole: a fresh one then
// costs one page fault in place of 512, and fewer misses in the tables of addresses (Linux).
void want_huge_pages(void* data, int64_t bytes);

// 64-byte aligned scratch of the calling thread; small ones are kept for the next call.
class Scratch {
  public:
    explicit Scratch(std::size_t bytes);
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    void* data() const { return data_; }

  private:
    void* data_;
    bool owned_;
};

// Flush-to-zero and denormals-are-zero for the current scope: potentials and gradients that decay
// would otherwise end in denormals, several times slower.
class FlushToZero {
  public:
    FlushToZero();
    ~FlushToZero();
    FlushToZero(const FlushToZero&) = delete;
    FlushToZero& operator=(const FlushToZero&) = delete;

  private:
    uint64_t saved_;
};

}  // namespace sj
