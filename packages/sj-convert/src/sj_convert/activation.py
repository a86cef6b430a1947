"""What counts as a ReLU, a max pool or a dropout, however it is written."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from sj_convert.flow import module_of
from sj_convert.rewrite import argument

DROPOUTS = (nn.modules.dropout._DropoutNd,)
DROPOUT_FUNCTIONS = {
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
    *(torch.dropout, torch.alpha_dropout, torch.feature_dropout, torch.feature_alpha_dropout),
}
MAX_POOL_FUNCTIONS: dict[Any, type[nn.Module]] = {
    torch.max_pool1d: nn.MaxPool1d,
    torch.max_pool2d: nn.MaxPool2d,
    torch.max_pool3d: nn.MaxPool3d,
    F.max_pool1d: nn.MaxPool1d,
    F.max_pool2d: nn.MaxPool2d,
    F.max_pool3d: nn.MaxPool3d,
    F.adaptive_max_pool1d: nn.AdaptiveMaxPool1d,
    F.adaptive_max_pool2d: nn.AdaptiveMaxPool2d,
    F.adaptive_max_pool3d: nn.AdaptiveMaxPool3d,
}
MAX_POOLS = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd)

_CLAMPS = {torch.clamp, torch.clip, torch.clamp_, torch.clip_, "clamp", "clip", "clamp_", "clip_"}
_CLAMPS_MIN = {torch.clamp_min, torch.clamp_min_, "clamp_min", "clamp_min_"}
_RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"}
_HARDTANHS = {F.hardtanh, F.hardtanh_}
_THRESHOLDS = {F.threshold, torch.threshold, torch.threshold_}


def relu_ceiling(gm: fx.GraphModule, node: fx.Node) -> float | None:
    """Largest value of the ReLU that `node` is (infinity for a plain one); None if it is none."""
    module = module_of(gm, node)
    if module is not None:
        if isinstance(module, nn.ReLU):
            return math.inf
        if isinstance(module, nn.Hardtanh):
            return float(module.max_val) if module.min_val == 0 < module.max_val else None
        if isinstance(module, nn.Threshold) and module.threshold == 0 and module.value == 0:
            return math.inf
        return None
    if node.op not in ("call_function", "call_method"):
        return None
    target: Any = node.target
    low: Any = None
    high: Any = math.inf
    if target in _RELUS:
        low = 0
    elif target is F.relu6:
        low, high = 0, 6.0
    elif target in _HARDTANHS:
        low, high = argument(node, 1, "min_val", -1.0), argument(node, 2, "max_val", 1.0)
    elif target in _CLAMPS:
        low, high = argument(node, 1, "min"), argument(node, 2, "max")
        high = math.inf if high is None else high
    elif target in _CLAMPS_MIN:
        low = argument(node, 1, "min")
    elif target in _THRESHOLDS and argument(node, 2, "value") == 0:
        low = argument(node, 1, "threshold")
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    return float(high) if numbers and low == 0 and high > 0 else None
