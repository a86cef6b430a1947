"""Encoders: they turn values into spikes.

`PoissonEncoder` and `DeltaEncoder` map a tensor to spikes of the same shape. The others
(`LatencyEncoder`, `PeriodicEncoder`, `WeightedPhaseEncoder`, `PopulationEncoder`) encode a
static `x` of shape `(N, *)` into a spike train of shape `(T, N, *)` at the first call after a
reset and give one step of it per call, starting again at its first step after the last;
`encode(x)` gives the whole train at once. Spikes have the dtype of what is encoded.
"""

from sj_core.encoding.delta import DeltaEncoder as DeltaEncoder
from sj_core.encoding.latency import LatencyEncoder as LatencyEncoder
from sj_core.encoding.periodic import PeriodicEncoder as PeriodicEncoder
from sj_core.encoding.phase import WeightedPhaseEncoder as WeightedPhaseEncoder
from sj_core.encoding.poisson import PoissonEncoder as PoissonEncoder
from sj_core.encoding.population import PopulationEncoder as PopulationEncoder
from sj_core.encoding.stateful import StatefulEncoder as StatefulEncoder
