"""Local plasticity: weights that learn from the spikes on both sides of them."""

from sj_train.plasticity.reward import (
    MSTDPETLearner as MSTDPETLearner,
    MSTDPLearner as MSTDPLearner,
)
from sj_train.plasticity.stdp import STDPLearner as STDPLearner
