"""Spiking neurons, surrogate gradients, layers and step modes for PyTorch."""

from sj_core import (
    backend as backend,
    base as base,
    encoding as encoding,
    functional as functional,
    layer as layer,
    monitor as monitor,
    neuron as neuron,
    plot as plot,
    surrogate as surrogate,
)

__version__ = "0.1.0"
