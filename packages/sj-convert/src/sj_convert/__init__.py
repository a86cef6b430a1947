"""ANN-to-SNN conversion by torch.fx, and exchange through NIR."""

import importlib
from typing import TYPE_CHECKING, Any

from sj_convert.accuracy import accuracy_over_time as accuracy_over_time, plot as plot
from sj_convert.converter import Converter as Converter
from sj_convert.modules import VoltageHook as VoltageHook, VoltageScaler as VoltageScaler
from sj_convert.neuron import (
    BurstIFNode as BurstIFNode,
    ScaledIFNode as ScaledIFNode,
    SignedIFNode as SignedIFNode,
)
from sj_convert.utils import download_url as download_url

if TYPE_CHECKING:
    from sj_convert.nir import from_nir as from_nir, to_nir as to_nir

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # NIR needs NumPy, which comes with the extra and not with the package.
    if name in ("from_nir", "to_nir"):
        return getattr(importlib.import_module("sj_convert.nir"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
