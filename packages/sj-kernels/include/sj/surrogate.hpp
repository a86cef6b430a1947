#pragma once
// The derivative g'(x), x = H - v_th, that stands for Theta'(x) in backward. One struct per
// surrogate; constructed from its parameters in the order of the Python constructor.

#include "sj/math.hpp"

namespace sj {

// The order is the index of `sj_kernels.neuron.surrogate_function_dict`; the last four take two
// parameters.
enum class Surrogate : int {
    ATan,
    Sigmoid,
    PiecewiseQuadratic,
    PiecewiseExp,
    SoftSign,
    SuperSpike,
    NonzeroSignLogAbs,
    Erf,
    QPseudoSpike,
    FakeNumericalGradient,
    LogTailedReLU,
    Rect,
    PiecewiseLeakyReLU,
    SquarewaveFourierSeries,
    S2NN,
    LeakyKReLU,
    kCount
};

inline namespace SJ_ABI {

// (alpha/2) / (1 + (pi/2 alpha x)^2)
template <class R> struct ATan {
    R half, c;
    explicit SJ_HD ATan(const double* p) : half(R(p[0] / 2)), c(R(1.57079632679489661923 * p[0])) {}
    SJ_HD R operator()(R x) const {
        R u = c * x;
        return quotient_(half, R(1) + u * u);
    }
};

// alpha sigma(alpha x) (1 - sigma(alpha x)) = alpha e / (1 + e)^2, e = exp(-abs(alpha x))
template <class R> struct Sigmoid {
    R alpha;
    explicit SJ_HD Sigmoid(const double* p) : alpha(R(p[0])) {}
    SJ_HD R operator()(R x) const {
        R e = exp_minus_(abs_(alpha * x));
        R d = R(1) + e;
        return quotient_(alpha * e, d * d);
    }
};

// max(0, alpha - alpha^2 abs(x))
template <class R> struct PiecewiseQuadratic {
    R alpha, alpha2;
    explicit SJ_HD PiecewiseQuadratic(const double* p) : alpha(R(p[0])), alpha2(R(p[0] * p[0])) {}
    SJ_HD R operator()(R x) const {
        R y = alpha - alpha2 * abs_(x);
        return y < R(0) ? R(0) : y;
    }
};

// alpha/2 exp(-alpha abs(x))
template <class R> struct PiecewiseExp {
    R alpha, half;
    explicit SJ_HD PiecewiseExp(const double* p) : alpha(R(p[0])), half(R(p[0] / 2)) {}
    SJ_HD R operator()(R x) const { return half * exp_minus_(alpha * abs_(x)); }
};

// 1 / (2 alpha (1/alpha + abs(x))^2)
template <class R> struct SoftSign {
    R two_alpha, inverse;
    explicit SJ_HD SoftSign(const double* p) : two_alpha(R(2 * p[0])), inverse(R(1 / p[0])) {}
    SJ_HD R operator()(R x) const {
        R d = inverse + abs_(x);
        return R(1) / (two_alpha * d * d);
    }
};

// alpha / (1 + abs(x))^2
template <class R> struct SuperSpike {
    R alpha;
    explicit SJ_HD SuperSpike(const double* p) : alpha(R(p[0])) {}
    SJ_HD R operator()(R x) const {
        R d = R(1) + abs_(x);
        return alpha / (d * d);
    }
};

// 1 / (1/alpha + abs(x))
template <class R> struct NonzeroSignLogAbs {
    R inverse;
    explicit SJ_HD NonzeroSignLogAbs(const double* p) : inverse(R(1 / p[0])) {}
    SJ_HD R operator()(R x) const { return R(1) / (inverse + abs_(x)); }
};

// alpha/sqrt(pi) exp(-alpha^2 x^2)
template <class R> struct Erf {
    R alpha, factor;
    explicit SJ_HD Erf(const double* p)
        : alpha(R(p[0])),
          factor(R(p[0] * 0.56418958354775628695)) {}
    SJ_HD R operator()(R x) const {
        R u = alpha * x;
        return factor * exp_minus_(u * u);
    }
};

// (1 + 2 abs(x)/(alpha - 1))^(-alpha); alpha > 1. In double: the power magnifies rounding.
template <class R> struct QPseudoSpike {
    double slope, alpha;
    explicit SJ_HD QPseudoSpike(const double* p) : slope(2 / (p[0] - 1)), alpha(p[0]) {}
    SJ_HD R operator()(R x) const { return R(exp_(-alpha * log_(1.0 + slope * double(abs_(x))))); }
};

// min(1/abs(x), alpha)
template <class R> struct FakeNumericalGradient {
    R alpha;
    explicit SJ_HD FakeNumericalGradient(const double* p) : alpha(R(p[0])) {}
    SJ_HD R operator()(R x) const {
        R y = R(1) / abs_(x);
        return y > alpha ? alpha : y;
    }
};

// alpha (x <= 0); 1 (0 < x <= 1); 1/x
template <class R> struct LogTailedReLU {
    R alpha;
    explicit SJ_HD LogTailedReLU(const double* p) : alpha(R(p[0])) {}
    SJ_HD R operator()(R x) const {
        R d = x > R(1) ? x : R(1);
        R y = x <= R(0) ? alpha : R(1) / d;
        return x == x ? y : x;
    }
};

// alpha if abs(x) < 1/(2 alpha) else 0
template <class R> struct Rect {
    R alpha, half_width;
    explicit SJ_HD Rect(const double* p) : alpha(R(p[0])), half_width(R(0.5 / p[0])) {}
    SJ_HD R operator()(R x) const { return abs_(x) < half_width ? alpha : R(0); }
};

// 1/(2w) if abs(x) < w else c
template <class R> struct PiecewiseLeakyReLU {
    R w, inner, c;
    explicit SJ_HD PiecewiseLeakyReLU(const double* p)
        : w(R(p[0])),
          inner(R(1 / (2 * p[0]))),
          c(R(p[1])) {}
    SJ_HD R operator()(R x) const { return abs_(x) < w ? inner : c; }
};

// (4/T_period) sum_{i=1}^{n} cos((2i-1) omega x), omega = 2 pi/T_period
template <class R> struct SquarewaveFourierSeries {
    int n;
    double omega, factor;
    explicit SJ_HD SquarewaveFourierSeries(const double* p)
        : n(int(p[0])),
          omega(6.28318530717958647692 / p[1]),
          factor(4 / p[1]) {}
    SJ_HD R operator()(R x) const {
        double sum = 0;
        for (int i = 0; i < n; ++i) sum += cos_((2 * i + 1) * omega * double(x));
        return R(factor * sum);
    }
};

// x < 0: alpha sigma(alpha x) (1 - sigma(alpha x)); else beta/(x + 1)
template <class R> struct S2NN {
    R alpha, beta;
    explicit SJ_HD S2NN(const double* p) : alpha(R(p[0])), beta(R(p[1])) {}
    SJ_HD R operator()(R x) const {
        R e = exp_minus_(abs_(alpha * x));
        R d = R(1) + e;
        R positive = x < R(0) ? R(0) : x;
        return x < R(0) ? alpha * e / (d * d) : beta / (positive + R(1));
    }
};

// leak (x < 0); k (x >= 0)
template <class R> struct LeakyKReLU {
    R leak, k;
    explicit SJ_HD LeakyKReLU(const double* p) : leak(R(p[0])), k(R(p[1])) {}
    SJ_HD R operator()(R x) const { return x < R(0) ? leak : k; }
};

// Calls `f(surrogate)` with the struct that `id` names.
template <class R, class F> SJ_HD void dispatch_surrogate(Surrogate id, const double* p, F&& f) {
    switch (id) {
        case Surrogate::ATan: return f(ATan<R>(p));
        case Surrogate::Sigmoid: return f(Sigmoid<R>(p));
        case Surrogate::PiecewiseQuadratic: return f(PiecewiseQuadratic<R>(p));
        case Surrogate::PiecewiseExp: return f(PiecewiseExp<R>(p));
        case Surrogate::SoftSign: return f(SoftSign<R>(p));
        case Surrogate::SuperSpike: return f(SuperSpike<R>(p));
        case Surrogate::NonzeroSignLogAbs: return f(NonzeroSignLogAbs<R>(p));
        case Surrogate::Erf: return f(Erf<R>(p));
        case Surrogate::QPseudoSpike: return f(QPseudoSpike<R>(p));
        case Surrogate::FakeNumericalGradient: return f(FakeNumericalGradient<R>(p));
        case Surrogate::LogTailedReLU: return f(LogTailedReLU<R>(p));
        case Surrogate::Rect: return f(Rect<R>(p));
        case Surrogate::PiecewiseLeakyReLU: return f(PiecewiseLeakyReLU<R>(p));
        case Surrogate::SquarewaveFourierSeries: return f(SquarewaveFourierSeries<R>(p));
        case Surrogate::S2NN: return f(S2NN<R>(p));
        case Surrogate::LeakyKReLU: return f(LeakyKReLU<R>(p));
        case Surrogate::kCount: break;
    }
}

}  // namespace SJ_ABI
}  // namespace sj
