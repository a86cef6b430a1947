"""Bar P6: the bytes that a fused neuron keeps for backward, and those of its peak.

A process of its own tells the peak: `python kernel_memory.py LIF` prints it in bytes per element.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from timing import Row, fresh, lif, pair, training
from torch import Tensor

from sj_core import neuron


def p6_nodes() -> dict[str, neuron.BaseNode]:
    return {
        "LIF": lif(),
        "IF soft": lif(neuron.IFNode, v_reset=None),
        "ParametricLIF": lif(neuron.ParametricLIFNode, detach_reset=False),
    }


def high_water() -> int:
    """Bytes that this process had resident at most (Linux); getrusage would tell the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def peak(name: str) -> float:
    """Bytes per element that this process grows by in a training step; in a fresh process."""
    node = p6_nodes()[name]
    small, grad = pair((4, 64))
    training(fresh(node), small, grad)()
    x, grad = pair((64, 256, 1024))
    before = high_water()
    y = fresh(node)(x)
    y.backward(grad)
    return (high_water() - before) / x.numel()


def p6() -> list[Row]:
    rows: list[Row] = []
    x = torch.randn(64, 128, 256, requires_grad=True)
    for name, node in p6_nodes().items():
        kept: dict[int, int] = {}

        def keep(t: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            fresh(node)(x)
        rows.append(("P6", f"bytes kept, {name}", sum(kept.values()) / x.numel(), 4.2))
    for name in p6_nodes() if sys.platform == "linux" else ():
        command = [sys.executable, __file__, name]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows.append(("P6", f"bytes at the peak, {name}", float(found), 8.5))
    return rows


if __name__ == "__main__":
    print(peak(sys.argv[1]))
