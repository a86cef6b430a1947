"""Spiking neurons: each a charge, its parameters and a reset; the step is written in `base`."""

from sj_core.neuron.adaptive import AdaptiveLIFNode as AdaptiveLIFNode
from sj_core.neuron.base import BaseNode as BaseNode
from sj_core.neuron.current_based import CUBALIFNode as CUBALIFNode
from sj_core.neuron.exponential import EIFNode as EIFNode
from sj_core.neuron.gated import GatedLIFNode as GatedLIFNode
from sj_core.neuron.integrate_and_fire import (
    HalfThresholdIFNode as HalfThresholdIFNode,
    IFNode as IFNode,
)
from sj_core.neuron.izhikevich import IzhikevichNode as IzhikevichNode
from sj_core.neuron.klif import KLIFNode as KLIFNode
from sj_core.neuron.leaky import LIFNode as LIFNode, ParametricLIFNode as ParametricLIFNode
from sj_core.neuron.liaf import LIAFNode as LIAFNode
from sj_core.neuron.parallel import PSN as PSN
from sj_core.neuron.quadratic import QIFNode as QIFNode
from sj_core.neuron.readout import (
    NonSpikingIFNode as NonSpikingIFNode,
    NonSpikingLIFNode as NonSpikingLIFNode,
)
from sj_core.neuron.spiking import SpikingNode as SpikingNode
from sj_core.neuron.windowed import MaskedPSN as MaskedPSN, SlidingPSN as SlidingPSN
