#pragma once
// What the CPU driver asks of the processor besides its instruction set.

#include <cstdint>

namespace sj {

// Bytes of a core's second-level cache that one thread may fill: three quarters of it.
int64_t cache_share();

// Whether memory keeps its speed where several rows, each far from the next, are read and written in
// turn, a few cache lines of each: then four steps at once are fastest, else fetched rows and relays.
// Known of AMD's family 25 (Zen 3 and 4); family 26 reads rows less than 8 MiB apart at half speed so.
bool follows_rows();
void set_follows_rows(bool value);  // for tests: results do not depend on it

}  // namespace sj
