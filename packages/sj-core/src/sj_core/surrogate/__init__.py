"""Surrogate gradients: the spike Theta(x) with a smooth derivative in backward.

Theta(x) = 1 if x >= 0 else 0, and its derivative is taken as g'(x) of a primitive g(x) (Neftci,
Mostafa and Zenke, "Surrogate gradient learning in spiking neural networks", 2019).
"""

from sj_core.surrogate.base import (
    SurrogateFunctionBase as SurrogateFunctionBase,
    heaviside as heaviside,
)
from sj_core.surrogate.exponential import (
    Erf as Erf,
    PiecewiseExp as PiecewiseExp,
    Sigmoid as Sigmoid,
)
from sj_core.surrogate.functions import (
    atan as atan,
    erf as erf,
    fake_numerical_gradient as fake_numerical_gradient,
    leaky_k_relu as leaky_k_relu,
    log_tailed_relu as log_tailed_relu,
    nonzero_sign_log_abs as nonzero_sign_log_abs,
    piecewise_exp as piecewise_exp,
    piecewise_leaky_relu as piecewise_leaky_relu,
    piecewise_quadratic as piecewise_quadratic,
    q_pseudo_spike as q_pseudo_spike,
    rect as rect,
    s2nn as s2nn,
    sigmoid as sigmoid,
    soft_sign as soft_sign,
    squarewave_fourier_series as squarewave_fourier_series,
    super_spike as super_spike,
)
from sj_core.surrogate.heavy_tailed import (
    ATan as ATan,
    FakeNumericalGradient as FakeNumericalGradient,
    QPseudoSpike as QPseudoSpike,
    SoftSign as SoftSign,
    SuperSpike as SuperSpike,
)
from sj_core.surrogate.logarithmic import (
    S2NN as S2NN,
    LogTailedReLU as LogTailedReLU,
    NonzeroSignLogAbs as NonzeroSignLogAbs,
)
from sj_core.surrogate.periodic import (
    SquarewaveFourierSeries as SquarewaveFourierSeries,
)
from sj_core.surrogate.piecewise import (
    LeakyKReLU as LeakyKReLU,
    PiecewiseLeakyReLU as PiecewiseLeakyReLU,
    PiecewiseQuadratic as PiecewiseQuadratic,
    Rect as Rect,
)
