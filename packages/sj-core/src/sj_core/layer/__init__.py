"""Layers and containers that know the time axis."""

from sj_core.layer.attention import (
    SpikingSelfAttention as SpikingSelfAttention,
    TemporalWiseAttention as TemporalWiseAttention,
)
from sj_core.layer.container import (
    MultiStepContainer as MultiStepContainer,
    SeqToANNContainer as SeqToANNContainer,
    SingleStepChildren as SingleStepChildren,
    StepModeContainer as StepModeContainer,
)
from sj_core.layer.conv import (
    Conv1d as Conv1d,
    Conv2d as Conv2d,
    Conv3d as Conv3d,
    ConvTranspose1d as ConvTranspose1d,
    ConvTranspose2d as ConvTranspose2d,
    ConvTranspose3d as ConvTranspose3d,
)
from sj_core.layer.delay import (
    Delay as Delay,
)
from sj_core.layer.dropconnect import (
    DropConnectLinear as DropConnectLinear,
)
from sj_core.layer.dropout import Dropout as Dropout, Dropout2d as Dropout2d
from sj_core.layer.fold import (
    FoldTime as FoldTime,
    fold_time as fold_time,
    run_folded as run_folded,
    unfold_time as unfold_time,
)
from sj_core.layer.linear import Linear as Linear
from sj_core.layer.neunorm import (
    NeuNorm as NeuNorm,
)
from sj_core.layer.norm import (
    BatchNorm1d as BatchNorm1d,
    BatchNorm2d as BatchNorm2d,
    BatchNorm3d as BatchNorm3d,
    GroupNorm as GroupNorm,
    LayerNorm as LayerNorm,
)
from sj_core.layer.pool import (
    AdaptiveAvgPool1d as AdaptiveAvgPool1d,
    AdaptiveAvgPool2d as AdaptiveAvgPool2d,
    AdaptiveAvgPool3d as AdaptiveAvgPool3d,
    AvgPool1d as AvgPool1d,
    AvgPool2d as AvgPool2d,
    AvgPool3d as AvgPool3d,
    MaxPool1d as MaxPool1d,
    MaxPool2d as MaxPool2d,
    MaxPool3d as MaxPool3d,
)
from sj_core.layer.recurrent import (
    ElementWiseRecurrentContainer as ElementWiseRecurrentContainer,
    LinearRecurrentContainer as LinearRecurrentContainer,
)
from sj_core.layer.shape import Flatten as Flatten, Upsample as Upsample
from sj_core.layer.synapse import (
    SynapseFilter as SynapseFilter,
)
from sj_core.layer.temporal_norm import (
    TemporalEffectiveBatchNorm1d as TemporalEffectiveBatchNorm1d,
    TemporalEffectiveBatchNorm2d as TemporalEffectiveBatchNorm2d,
    TemporalEffectiveBatchNorm3d as TemporalEffectiveBatchNorm3d,
    ThresholdDependentBatchNorm1d as ThresholdDependentBatchNorm1d,
    ThresholdDependentBatchNorm2d as ThresholdDependentBatchNorm2d,
    ThresholdDependentBatchNorm3d as ThresholdDependentBatchNorm3d,
)
