"""Fused spiking-neuron kernels for CPU and CUDA, for PyTorch."""

from sj_kernels import neuron as neuron, rnn as rnn
from sj_kernels.info import build_info as build_info, combinations as combinations
from sj_kernels.ops import Plan as Plan, plan as plan

__version__ = "0.1.0"
