"""Spiking neurons, surrogate gradients, layers and step modes for PyTorch."""

from sj_core import backend as backend
from sj_core import base as base
from sj_core import encoding as encoding
from sj_core import neuron as neuron
from sj_core import surrogate as surrogate

__version__ = "0.1.0"
