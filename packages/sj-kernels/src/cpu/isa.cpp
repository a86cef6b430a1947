#include "isa.hpp"

#include <cstdlib>
#include <stdexcept>

#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
#elif defined(SJ_HAS_X86_LEVELS)
#include <cpuid.h>
#endif

namespace sj {

#define SJ_DECLARE(name)          \
    namespace name {              \
    Driver cpu_driver();          \
    CellDriver cpu_cell_driver(); \
    }
SJ_DECLARE(baseline)
#if defined(SJ_HAS_X86_LEVELS)
SJ_DECLARE(avx2)
SJ_DECLARE(avx512)
#endif
#undef SJ_DECLARE

namespace {

struct Entry {
    const char* name;
    Driver driver;
    CellDriver cells;
};

#if defined(SJ_HAS_X86_LEVELS)
bool has_avx2() {
#if defined(_MSC_VER)
    int info[4];
    __cpuidex(info, 1, 0);
    bool base = (info[2] & (1 << 27)) && (info[2] & (1 << 12)) && (info[2] & (1 << 29));
    if (!base || (_xgetbv(0) & 6) != 6) return false;
    __cpuidex(info, 7, 0);
    return (info[1] & (1 << 5)) != 0;
#else
    // Not every Clang knows the word "f16c" here. What AVX2 asks of the system suffices for it.
    unsigned a, b, c, d;
    const bool halves = __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 29));
    return halves && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
}

bool has_avx512() {
#if defined(_MSC_VER)
    if (!has_avx2() || (_xgetbv(0) & 0xe6) != 0xe6) return false;
    int info[4];
    __cpuidex(info, 7, 0);
    const int needed = (1 << 16) | (1 << 17) | (1 << 30) | int(1u << 31);  // F, DQ, BW, VL
    return (info[1] & needed) == needed;
#else
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
}
#endif

std::vector<Entry> find_entries() {
    std::vector<Entry> found;
#if defined(SJ_HAS_X86_LEVELS)
    if (has_avx512()) found.push_back({"avx512", avx512::cpu_driver(), avx512::cpu_cell_driver()});
    if (has_avx2()) found.push_back({"avx2", avx2::cpu_driver(), avx2::cpu_cell_driver()});
#endif
    found.push_back({"baseline", baseline::cpu_driver(), baseline::cpu_cell_driver()});
    return found;
}

const std::vector<Entry>& entries() {
    static const std::vector<Entry> found = find_entries();
    return found;
}

const Entry*& current() {
    static const Entry* entry = &entries().front();
    return entry;
}

}  // namespace

std::vector<std::string> isa_available() {
    std::vector<std::string> names;
    for (const Entry& entry : entries()) names.push_back(entry.name);
    return names;
}

const char* isa_in_use() { return current()->name; }

void isa_select(const std::string& name) {
    for (const Entry& entry : entries()) {
        if (name == entry.name) {
            current() = &entry;
            return;
        }
    }
    std::string known;
    for (const Entry& entry : entries())
        known += (known.empty() ? "'" : ", '") + std::string(entry.name) + "'";
    throw std::invalid_argument("`name` (='" + name + "') must be one of " + known + ".");
}

const Driver& cpu() { return current()->driver; }
const CellDriver& cpu_cells() { return current()->cells; }

}  // namespace sj
