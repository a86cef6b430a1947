"""Monitors: they record what flows through a net, and what it costs.

A monitor hooks the modules of a net that are of a class and appends to `records` at each of their
calls. `firing_rates` and `synops` run a net once and return a table.
"""

from sj_core.monitor.gradient import (
    GradInputMonitor as GradInputMonitor,
    GradOutputMonitor as GradOutputMonitor,
)
from sj_core.monitor.operations import synops as synops
from sj_core.monitor.rates import firing_rates as firing_rates
from sj_core.monitor.recording import (
    AttributeMonitor as AttributeMonitor,
    BaseMonitor as BaseMonitor,
    InputMonitor as InputMonitor,
    OutputMonitor as OutputMonitor,
    identity as identity,
)
from sj_core.monitor.table import Table as Table
