"""ANN-to-SNN conversion by torch.fx, and exchange through NIR."""

from sj_convert.accuracy import accuracy_over_time as accuracy_over_time, plot as plot
from sj_convert.converter import Converter as Converter
from sj_convert.modules import VoltageHook as VoltageHook, VoltageScaler as VoltageScaler
from sj_convert.neuron import (
    BurstIFNode as BurstIFNode,
    ScaledIFNode as ScaledIFNode,
    SignedIFNode as SignedIFNode,
)
from sj_convert.utils import download_url as download_url

__version__ = "0.1.0"
