#include "processor.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#if !defined(_WIN32)
#include <unistd.h>
#endif
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
#include <intrin.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sj {
namespace {

int64_t find_cache_share() {
    int64_t bytes = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    if (bytes <= 0) bytes = int64_t(512) << 10;  // not told: the smallest of current processors
    return std::clamp<int64_t>(bytes / 4 * 3, int64_t(192) << 10, int64_t(1536) << 10);
}

// The family of a processor of AMD's; 0 for others.
unsigned amd_family() {
    unsigned a = 0, b = 0, c = 0, d = 0;
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
    int info[4];
    __cpuid(info, 0);
    b = unsigned(info[1]), c = unsigned(info[2]), d = unsigned(info[3]);
    __cpuid(info, 1);
    a = unsigned(info[0]);
#elif defined(__x86_64__)
    unsigned most;
    if (!__get_cpuid(0, &most, &b, &c, &d)) return 0;
    unsigned other_b, other_c, other_d;
    __get_cpuid(1, &a, &other_b, &other_c, &other_d);
#endif
    const unsigned words[3] = {b, d, c};
    if (std::memcmp(words, "AuthenticAMD", sizeof words) != 0) return 0;
    const unsigned family = (a >> 8) & 15;
    return family == 15 ? family + ((a >> 20) & 255) : family;
}

std::atomic<bool>& follows() {
    static std::atomic<bool> value{amd_family() == 25};
    return value;
}

}  // namespace

int64_t cache_share() {
    static const int64_t share = find_cache_share();
    return share;
}

bool follows_rows() { return follows().load(std::memory_order_relaxed); }
void set_follows_rows(bool value) { follows().store(value, std::memory_order_relaxed); }

}  // namespace sj
