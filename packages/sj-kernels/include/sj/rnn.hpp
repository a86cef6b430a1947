#pragma once
// What the drivers of the recurrent cells are given. H units, G = 4, 3 or 1 gates; arrays are
// contiguous, gates of a row side by side: pre, gp [N, G*H], all others [N, H]; with time outermost
// for a whole sequence. Python has made all checks.
//
// Forward: pre holds the input's pre-activations and is completed in place. aux: the LSTM's c', the
// GRU's W_hn h + b_hn. Backward: gy, gh, gc come in (null: zero), gh and gc go out.

#include <cstdint>

#include "sj/launch.hpp"

namespace sj {

enum class CellKind : int { Lstm, Gru, Vanilla, kCount };

struct CellSettings {
    CellKind kind;
    Surrogate s1, s2;
    double p1[2], p2[2], clamp;
};

// One step: the state's product hw [N, G*H] is given, and added to pre. gh_in and gc_in are read,
// gh (GRU: the direct part) and gc are written; states' gradients are of the state type (float for
// halves), all others of `dtype`.
struct StepArgs {
    CellSettings cell;
    int64_t N, H;
    DType dtype;
    void* pre;
    const void *hw, *h, *c;
    void *h_out, *aux;
    const void *gy, *gh_in, *gc_in;
    void *gp, *gn, *gh, *gc;
    void* stream;
    int device, threads;
};

// All steps of one direction, with the products: f32 and f64 on the CPU. w: [G*H, H]; b: the GRU's
// b_hn [H] or null; h0, c0 [N, H]; mask [T, N] bytes or null: a row whose mask is 0 keeps its
// state.
struct SequenceArgs {
    CellSettings cell;
    int64_t T, N, H;
    DType dtype;
    const void *w, *b, *h0, *c0;
    const uint8_t* mask;
    void *pre, *h_seq, *aux;
    const void *gy, *gh_in, *gc_in;
    void *gp, *gn, *gh, *gc;
    int threads;
};

struct CellDriver {
    void (*step_forward)(const StepArgs&);
    void (*step_backward)(const StepArgs&);
    void (*sequence_forward)(const SequenceArgs&);
    void (*sequence_backward)(const SequenceArgs&);
};

}  // namespace sj
