"""Fused spiking-neuron kernels for CPU and CUDA, for PyTorch."""

from sj_kernels import neuron as neuron, rnn as rnn
from sj_kernels._plan import Plan as Plan
from sj_kernels.info import build_info as build_info, combinations as combinations
from sj_kernels.ops import plan as plan

__version__ = "0.1.0"
