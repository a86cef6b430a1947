// CPU driver, compiled once per instruction set: blocks of neurons outside, time inside, so that
// states and the recomputed H stay in cache and every tensor crosses the memory bus once.

#include "neuron.hpp"

#include <type_traits>

#include "parallel.hpp"
#include "relay.hpp"
#include "rows.hpp"
#include "strip.hpp"

namespace sj {
inline namespace SJ_ABI {
namespace {

constexpr int64_t kBlock = 1024;           // neurons of a block, at most;
constexpr int64_t kRelayBlock = 4096;      // of a relay between memory and memory
constexpr int64_t kAlign = kSum;           // blocks start at multiples of it
constexpr int64_t kSerial = 32768;         // elements below which threads cost more than they give
constexpr int64_t kAheadBytes = 12 << 10;  // how far reads run ahead of use
constexpr int64_t kStreamBytes = 4 << 20;  // outputs that would only flush the caches

struct Plan {
    int64_t block, tasks;
    int threads;
};

Plan plan_of(const NeuronArgs& a, int64_t limit) {
    Plan plan;
    plan.threads = a.T * a.n < kSerial ? 1 : a.threads;
    // As large as the limit allows, and of a size that gives each thread as many.
    const int64_t share = (a.n + plan.threads - 1) / plan.threads, whole = limit / kAlign * kAlign;
    const int64_t blocks = (share + whole - 1) / whole;
    plan.block = ((share + blocks - 1) / blocks + kAlign - 1) / kAlign * kAlign;
    plan.tasks = (a.n + plan.block - 1) / plan.block;
    return plan;
}

// Parameters with 1/tau read from the tensor of a learnable one.
template <class R> void read_parameters(const NeuronArgs& a, double* p) {
    for (int i = 0; i < 8; ++i) p[i] = a.p[i];
    if (a.decay_ptr) p[0] = double(*static_cast<const R*>(a.decay_ptr));
}

template <class R, class N, class Reset> struct Run {
    const NeuronArgs& a;
    const N& neuron;
    Reset reset;
    Plan plan;
    Rows<R> rows;
    double* partial;
    int64_t ahead;

    Run(const NeuronArgs& args, const N& n, double* partial_sums)
        : a(args),
          neuron(n),
          reset{R(args.v_reset)},
          partial(partial_sums) {
        rows.dtype = a.dtype;
        rows.stream = a.T * a.n * rows.size() >= kStreamBytes;
        const void* out = a.g_x ? a.g_x : a.s;
        rows.direct = rows.stream && a.dtype == rows.native() && on_line(out) &&
                      a.n * rows.size() % kLine == 0;
        plan = plan_of(a, a.g_x ? backward_block() : kBlock);
        ahead = kAheadBytes / (plan.block * rows.size());
        if (ahead < 1) ahead = 1;
        if (ahead > a.T) ahead = a.T;
    }

    // Loops of their own, where they are worth the size and the time to compile: for one threshold
    // in place of a row of equal ones, and for the common surrogates without a row between.
    static constexpr bool kOneThreshold = !N::kNonlinear || N::kDecayGrad;
    static constexpr bool kFuseOne = kOneThreshold && sizeof(R) == 4;
    template <class Th> static constexpr bool kFuse = kFuseOne && std::is_same<Th, One<R>>::value;
    // Backward by relays, and by strips where 1/tau is not learnable: several steps at once.
    static constexpr bool kStrips = kFuseOne && !N::kNonlinear;

    bool many_steps() const {
        return kFuseOne && !a.v_th_ptr && !a.scale_ptr && a.dtype == rows.native() &&
               rows.stream == rows.direct && a.g_s && !a.g_v_seq &&
               (a.surrogate == Surrogate::ATan || a.surrogate == Surrogate::Sigmoid);
    }

    // So that H of a block over all steps stays in the second-level cache.
    int64_t backward_block() const {
        int64_t block = cache_share() / (a.T * int64_t(sizeof(R)));
        if (a.g_decay) block /= 2;  // beside it x, which is read twice
        const int64_t most = rows.stream && many_steps() ? kRelayBlock : kBlock;
        if (block > most) block = most;
        return block < kAlign ? kAlign : block;
    }

    // Where the state before the first step stands: in the caller's tensor, or filled into buffer.
    const R* initial(const void* state, double fill, int64_t first, R* buffer, int64_t n) const {
        if (state) return static_cast<const R*>(state) + first;
        fill_row(R(fill), buffer, n);
        return buffer;
    }

    // A row that is to be fetched ahead of its use; null for a block past the end.
    const char* row(const void* base, int64_t step, int64_t t, int64_t first, int64_t end) const {
        if (!base || first >= end) return nullptr;
        return static_cast<const char*>(base) + (t * step + first) * rows.size();
    }

    template <class Th>
    void forward(int64_t first, int64_t n, int64_t end, Th th, R* buffers) const {
        const int64_t b = plan.block;
        R *x_buffer = buffers, *s_buffer = buffers + b, *fill = buffers + 2 * b;
        R *w_fill = buffers + 3 * b, *scales = buffers + 4 * b;
        if (a.scale_ptr) channel_row(static_cast<const R*>(a.scale_ptr), a, first, scales, n);
        // A large state passes the caches too: it is carried in a buffer and written once.
        R* v_next = rows.stream ? fill : static_cast<R*>(a.v_next) + first;
        R* w_next = nullptr;
        if (N::kTwoStates) w_next = rows.stream ? w_fill : static_cast<R*>(a.w_next) + first;
        const R* v = initial(a.v, a.v_fill, first, fill, n);
        const R* w = N::kTwoStates ? initial(a.w, a.w_fill, first, w_fill, n) : nullptr;
        for (int64_t t = 0; t < a.T; ++t) {
            const int64_t at = t * a.n + first;
            const int64_t k = t + ahead;
            const Ahead next{k < a.T ? row(a.x, a.x_step, k, first, end)
                                     : row(a.x, a.x_step, k - a.T, first + b, end),
                             rows.size(), n};
            const R* x = rows.load(a.x, t * a.x_step + first, x_buffer, n);
            R* s = rows.target(a.s, at, s_buffer);
            const auto fire = [&](auto scale) {
                fire_row(neuron, reset, th, scale, x, v, w, v_next, w_next, s, rows.direct, n,
                         next);
            };
            if constexpr (std::is_same<Th, Each<R>>::value) {
                a.scale_ptr ? fire(Each<R>{scales}) : fire(One<R>{R(a.scale)});
            } else {
                fire(One<R>{R(a.scale)});
            }
            v = v_next;
            w = w_next;
            rows.store(a.s, at, s, n);
            if (a.v_seq) {
                R* to = static_cast<R*>(a.v_seq) + at;
                if (rows.stream)
                    stream_row(v, to, n);
                else
                    std::memcpy(to, v, std::size_t(n) * sizeof(R));
            }
        }
        if (rows.stream) {
            stream_row(v_next, static_cast<R*>(a.v_next) + first, n);
            if (N::kTwoStates) stream_row(w_next, static_cast<R*>(a.w_next) + first, n);
        }
    }

    // All blocks of [first, end), by strips or a relay.
    template <bool kDetach> void backward_many(int64_t first, int64_t end, R* buffers) const {
        if constexpr (kFuseOne) {
            const auto go = [&](auto surrogate) {
                using S = decltype(surrogate);
                if (a.T > kStripSteps || !kStrips) {
                    Relay<R, N, Reset, S>{a,           neuron,     reset,   surrogate,
                                          rows.direct, plan.block, buffers, partial}
                        .template backward<kDetach>(first, end);
                    return;
                }
                if constexpr (kStrips) {
                    const Strips<R, N, Reset, S> strips{a, neuron, reset, surrogate, rows.direct};
                    const int64_t rest = first + (end - first) / strips.kWidth * strips.kWidth;
                    strips.template backward<kDetach>(first, rest);
                    if (rest < end)
                        backward<kDetach>(rest, end - rest, end, One<R>{R(a.v_th)}, buffers);
                }
            };
            a.surrogate == Surrogate::ATan ? go(ATan<R>(a.surrogate_p))
                                           : go(Sigmoid<R>(a.surrogate_p));
        }
    }

    template <bool kDetach, class Th>
    void backward(int64_t first, int64_t n, int64_t end, Th th, R* buffers) const {
        const int64_t b = plan.block;
        R *x_buffer = buffers, *g_buffer = buffers + b, *v0 = buffers + 2 * b;
        R *w0 = buffers + 3 * b, *scales = buffers + 4 * b, *gs = buffers + 5 * b;
        R *g_v = buffers + 6 * b, *g_w = buffers + 7 * b, *v_row = buffers + 8 * b;
        R *w_row = buffers + 9 * b, *acc = buffers + 10 * b, *gx_buffer = buffers + 11 * b;
        R* history = buffers + 13 * b;  // row 12: thresholds

        // Memory never rests: the last steps of the replay fetch the first gradients, and the last
        // of the backward the next block's input.
        const R* v_first = initial(a.v, a.v_fill, first, v0, n);
        const R* v = v_first;
        const R* w = N::kTwoStates ? initial(a.w, a.w_fill, first, w0, n) : nullptr;
        for (int64_t t = 0; t < a.T; ++t) {
            const int64_t k = t + ahead;
            const Ahead next{k < a.T ? row(a.x, a.x_step, k, first, end)
                                     : row(a.g_s, a.n, 2 * a.T - 1 - k, first, end),
                             rows.size(), n};
            const R* x = rows.load(a.x, t * a.x_step + first, x_buffer, n);
            replay_row(neuron, reset, th, x, v, w, v_row, w_row, history + t * b, n, next);
            v = v_row;
            w = w_row;
        }

        start(a.g_v_next, first, g_v, n);
        if (N::kTwoStates) start(a.g_w_next, first, g_w, n);
        if (N::kDecayGrad) fill_row(R(0), acc, n);
        if (a.scale_ptr) channel_row(static_cast<const R*>(a.scale_ptr), a, first, scales, n);
        if (!a.g_s) fill_row(R(0), g_buffer, n);
        for (int64_t t = a.T - 1; t >= 0; --t) {
            const int64_t at = t * a.n + first;
            const int64_t k = t - ahead;
            const Ahead next{k >= 0 ? row(a.g_s, a.n, k, first, end)
                                    : row(a.x, a.x_step, -1 - k, first + b, end),
                             rows.size(), n};
            const R* h = history + t * b;
            const R* g_s = a.g_s ? rows.load(a.g_s, at, g_buffer, n) : g_buffer;
            if (a.g_s && a.scale_ptr) {
                scale_row(g_s, scales, g_buffer, n);
                g_s = g_buffer;
            }
            if (a.g_v_seq) add_row(static_cast<const R*>(a.g_v_seq) + at, g_v, n);
            const R* x = nullptr;
            if constexpr (N::kDecayGrad) x = rows.load(a.x, t * a.x_step + first, x_buffer, n);
            R* g_x = rows.target(a.g_x, at, gx_buffer);
            const auto back = [&](auto surrogate, auto v_before) {
                back_row<R, kDetach>(neuron, reset, th, R(a.scale), h, surrogate, g_s, v_before, x,
                                     g_v, g_w, g_x, rows.direct, acc, n, next);
            };
            const auto after_state = [&](auto surrogate) {
                if constexpr (!N::kNonlinear)
                    back(surrogate, NoState<R>{});
                else if (t > 0)
                    back(surrogate, ResetOf<R, Reset, Th>{reset, th, h - b});
                else
                    back(surrogate, Stored<R>{v_first});
            };
            if (kFuse<Th> && a.surrogate == Surrogate::ATan) {
                if constexpr (kFuse<Th>) after_state(Computed<R, ATan<R>>{ATan<R>(a.surrogate_p)});
            } else if (kFuse<Th> && a.surrogate == Surrogate::Sigmoid) {
                if constexpr (kFuse<Th>)
                    after_state(Computed<R, Sigmoid<R>>{Sigmoid<R>(a.surrogate_p)});
            } else {
                surrogate_row(a.surrogate, a.surrogate_p, th, h, gs, n);
                after_state(Stored<R>{gs});
            }
            rows.store(a.g_x, at, g_x, n);
        }
        finish(a.g_v, first, g_v, n);
        if (N::kTwoStates) finish(a.g_w, first, g_w, n);
        if (N::kDecayGrad) decay_sums(acc, n, partial + first / kSum);
    }

    static void start(const void* gradient, int64_t first, R* row, int64_t n) {
        if (gradient)
            std::memcpy(row, static_cast<const R*>(gradient) + first, std::size_t(n) * sizeof(R));
        else
            fill_row(R(0), row, n);
    }

    static void finish(void* gradient, int64_t first, const R* row, int64_t n) {
        if (gradient)
            std::memcpy(static_cast<R*>(gradient) + first, row, std::size_t(n) * sizeof(R));
    }

    // Calls body(first, n, threshold) for the blocks [begin, end).
    template <class Body> void blocks(int64_t begin, int64_t end, R* buffers, Body&& body) const {
        R* thresholds = buffers + 12 * plan.block;
        for (int64_t first = begin * plan.block; first < end; first += plan.block) {
            const int64_t n = end - first < plan.block ? end - first : plan.block;
            if constexpr (kOneThreshold) {
                if (!a.v_th_ptr && !a.scale_ptr) {
                    body(first, n, One<R>{R(a.v_th)});
                    continue;
                }
            }
            if (a.v_th_ptr)
                channel_row(static_cast<const R*>(a.v_th_ptr), a, first, thresholds, n);
            else
                fill_row(R(a.v_th), thresholds, n);
            body(first, n, Each<R>{thresholds});
        }
    }

    int64_t neurons(int64_t blocks) const {
        return blocks * plan.block < a.n ? blocks * plan.block : a.n;
    }

    static void forward_range(void* self, int64_t begin, int64_t end) {
        const Run& run = *static_cast<const Run*>(self);
        Scratch scratch(std::size_t(13 * run.plan.block) * sizeof(R));
        R* buffers = static_cast<R*>(scratch.data());
        const int64_t stop = run.neurons(end);
        run.blocks(begin, stop, buffers, [&](int64_t first, int64_t n, auto th) {
            run.forward(first, n, stop, th, buffers);
        });
        if (run.rows.stream) stream_fence();
    }

    static void backward_range(void* self, int64_t begin, int64_t end) {
        const Run& run = *static_cast<const Run*>(self);
        run.a.detach ? run.template backward_blocks<true>(begin, end)
                     : run.template backward_blocks<false>(begin, end);
        if (run.rows.stream) stream_fence();
    }

    template <bool kDetach> void backward_blocks(int64_t begin, int64_t end) const {
        const int64_t b = plan.block;
        Scratch scratch(std::size_t(13 * b + a.T * relay_stride(b)) * sizeof(R));
        R* buffers = static_cast<R*>(scratch.data());
        const int64_t stop = neurons(end);
        if (many_steps()) {
            backward_many<kDetach>(begin * b, stop, buffers);
            return;
        }
        blocks(begin, stop, buffers, [&](int64_t first, int64_t n, auto th) {
            backward<kDetach>(first, n, stop, th, buffers);
        });
    }
};

template <class R> void forward_as(const NeuronArgs& a) {
    double p[8];
    read_parameters<R>(a, p);
    dispatch_neuron<R>(a, p, false, [&](const auto& neuron) {
        using N = std::decay_t<decltype(neuron)>;
        if (a.hard) {
            Run<R, N, HardReset<R>> run(a, neuron, nullptr);
            parallel_ranges(run.plan.tasks, run.plan.threads, run.forward_range, &run);
        } else {
            Run<R, N, SoftReset<R>> run(a, neuron, nullptr);
            parallel_ranges(run.plan.tasks, run.plan.threads, run.forward_range, &run);
        }
    });
}

template <class R> void backward_as(const NeuronArgs& a) {
    double p[8];
    read_parameters<R>(a, p);
    const int64_t sums = a.g_decay ? (a.n + kSum - 1) / kSum : 0;
    double* partials = static_cast<double*>(a.partial);
    dispatch_neuron<R>(a, p, a.g_decay != nullptr, [&](const auto& neuron) {
        using N = std::decay_t<decltype(neuron)>;
        if (a.hard) {
            Run<R, N, HardReset<R>> run(a, neuron, partials);
            parallel_ranges(run.plan.tasks, run.plan.threads, run.backward_range, &run);
        } else {
            Run<R, N, SoftReset<R>> run(a, neuron, partials);
            parallel_ranges(run.plan.tasks, run.plan.threads, run.backward_range, &run);
        }
    });
    if (a.g_decay) {
        double total = 0;
        for (int64_t i = 0; i < sums; ++i) total += partials[i];
        *static_cast<double*>(a.g_decay) = total;
    }
}

void forward(const NeuronArgs& a) {
    if (a.dtype == DType::f64)
        forward_as<double>(a);
    else
        forward_as<float>(a);
}

void backward(const NeuronArgs& a) {
    if (a.dtype == DType::f64)
        backward_as<double>(a);
    else
        backward_as<float>(a);
}

}  // namespace

Driver cpu_driver() { return Driver{forward, backward}; }

}  // namespace SJ_ABI
}  // namespace sj
