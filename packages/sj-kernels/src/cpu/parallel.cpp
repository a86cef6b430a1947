#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if defined(_WIN32)
#include <malloc.h>
#else
#include <dlfcn.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sj {
namespace {

// What torch's OpenMP offers; null without one. It is asked for among what torch itself is linked to:
// not every build of torch makes it global, and another library may have brought another one.
struct OpenMP {
    void (*parallel)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
    int (*thread)() = nullptr;

    OpenMP() {
#if !defined(_WIN32)
        for (const char* name : {"libtorch_cpu.so", "@rpath/libtorch_cpu.dylib"}) {
            void* torch = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
            if (!torch) continue;
            find(torch);
            dlclose(torch);  // it stays loaded: Python holds it
        }
        if (!found()) find(RTLD_DEFAULT);
#endif
    }
    bool found() const { return parallel && thread; }

  private:
#if !defined(_WIN32)
    void find(void* where) {
        parallel = reinterpret_cast<decltype(parallel)>(dlsym(where, "GOMP_parallel"));
        thread = reinterpret_cast<decltype(thread)>(dlsym(where, "omp_get_thread_num"));
    }
#endif
};

const OpenMP& openmp() {
    static const OpenMP found;
    return found;
}

constexpr int64_t kMostRanges = 1024;

struct Team {
    std::atomic<bool> taken[kMostRanges];
    std::atomic<bool> out_of_memory;  // no exception may leave a thread of OpenMP
    int64_t tasks, ranges;
    void (*work)(void*, int64_t, int64_t);
    void* context;
};

// Takes the range of one's own first: a thread then meets what it has left in its cache the call
// before, where a race for the next range costs up to twice the time. Then any that is left: right
// for a team smaller than asked for, and for one that wakes late.
void take(Team& team, int64_t mine) {
    FlushToZero mode;
    for (int64_t k = 0; k < team.ranges; ++k) {
        const int64_t i = (mine + k) % team.ranges;
        if (team.taken[i].exchange(true, std::memory_order_relaxed)) continue;
        try {
            team.work(team.context, i * team.tasks / team.ranges,
                      (i + 1) * team.tasks / team.ranges);
        } catch (const std::bad_alloc&) {
            team.out_of_memory.store(true, std::memory_order_relaxed);
        }
    }
}

void take_in_openmp(void* team) { take(*static_cast<Team*>(team), openmp().thread()); }

void* aligned(std::size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
#if defined(_WIN32)
    void* p = _aligned_malloc(bytes, 64);
#else
    void* p = std::aligned_alloc(64, bytes);
#endif
    if (!p) throw std::bad_alloc();
    return p;
}

void release(void* p) {
#if defined(_WIN32)
    _aligned_free(p);
#else
    std::free(p);
#endif
}

constexpr std::size_t kKept = std::size_t(2) << 20;

struct Kept {
    void* data = nullptr;
    std::size_t bytes = 0;
    bool busy = false;
    ~Kept() { release(data); }
};

Kept& kept() {
    static thread_local Kept k;
    return k;
}

}  // namespace

void parallel_ranges(int64_t tasks, int threads, void (*work)(void*, int64_t, int64_t),
                     void* context) {
    Team team;
    team.tasks = tasks;
    team.ranges = std::clamp<int64_t>(std::min<int64_t>(threads, tasks), 1, kMostRanges);
    team.work = work;
    team.context = context;
    team.out_of_memory.store(false, std::memory_order_relaxed);
    for (int64_t i = 0; i < team.ranges; ++i) team.taken[i].store(false, std::memory_order_relaxed);
    if (team.ranges == 1) {
        take(team, 0);
    } else if (openmp().found()) {
        openmp().parallel(take_in_openmp, &team, unsigned(team.ranges), 0);
    } else {
        std::vector<std::thread> helpers;
        for (int64_t i = 1; i < team.ranges; ++i)
            helpers.emplace_back([&team, i] { take(team, i); });
        take(team, 0);
        for (std::thread& helper : helpers) helper.join();
    }
    if (team.out_of_memory.load(std::memory_order_relaxed)) throw std::bad_alloc();
}

void parallel_for(int64_t tasks, int threads, void (*task)(void*, int64_t), void* context) {
    struct Each {
        void (*task)(void*, int64_t);
        void* context;
    } each{task, context};
    const auto work = [](void* data, int64_t begin, int64_t end) {
        const Each& e = *static_cast<const Each*>(data);
        for (int64_t i = begin; i < end; ++i) e.task(e.context, i);
    };
    parallel_ranges(tasks, threads, work, &each);
}

const char* parallel_backend() { return openmp().found() ? "openmp" : "std::thread"; }

void want_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr uintptr_t kPage = uintptr_t(2) << 20;
    const uintptr_t begin = reinterpret_cast<uintptr_t>(data), end = begin + uintptr_t(bytes);
    const uintptr_t from = (begin + kPage - 1) / kPage * kPage, to = end / kPage * kPage;
    // A hint: where it is refused, nothing changes.
    if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#else
    (void)data;
    (void)bytes;
#endif
}

Scratch::Scratch(std::size_t bytes) {
    Kept& k = kept();
    owned_ = bytes > kKept || k.busy;
    if (owned_) {
        data_ = aligned(bytes);
        return;
    }
    if (k.bytes < bytes) {
        release(k.data);
        k.data = nullptr;
        k.bytes = 0;
        k.data = aligned(bytes);
        k.bytes = bytes;
    }
    k.busy = true;
    data_ = k.data;
}

Scratch::~Scratch() {
    if (owned_)
        release(data_);
    else
        kept().busy = false;
}

#if defined(__x86_64__) || defined(_M_X64)
FlushToZero::FlushToZero() : saved_(_mm_getcsr()) { _mm_setcsr(unsigned(saved_) | 0x8040u); }
FlushToZero::~FlushToZero() { _mm_setcsr(unsigned(saved_)); }
#elif defined(__aarch64__) && defined(__GNUC__)
FlushToZero::FlushToZero() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" : : "r"(saved_ | (uint64_t(1) << 24)));
}
FlushToZero::~FlushToZero() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }
#else
FlushToZero::FlushToZero() : saved_(0) {}
FlushToZero::~FlushToZero() {}
#endif

}  // namespace sj
