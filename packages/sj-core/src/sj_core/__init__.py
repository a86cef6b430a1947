"""Spiking neurons, surrogate gradients, layers and step modes for PyTorch."""

__version__ = "0.1.0"
