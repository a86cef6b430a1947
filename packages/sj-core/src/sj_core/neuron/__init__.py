"""Spiking neurons."""

from sj_core.neuron.base import BaseNode as BaseNode
from sj_core.neuron.integrate_and_fire import IFNode as IFNode
from sj_core.neuron.leaky import LIFNode as LIFNode, ParametricLIFNode as ParametricLIFNode
