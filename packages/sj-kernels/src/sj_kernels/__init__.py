"""Fused spiking-neuron kernels for CPU and CUDA, for PyTorch."""

__version__ = "0.1.0"
