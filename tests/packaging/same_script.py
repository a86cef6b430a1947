"""A LIF network that trains on whatever sj-core finds; run without sj-kernels, then with it.

`python same_script.py record.pt`: the first run writes its float32 spikes to the file, a later
one has to make the same, bit for bit. Needs torch and sj-core, nothing else.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from sj_core import neuron, surrogate


def network() -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList(
        [
            nn.Linear(20, 64),
            neuron.LIFNode(tau=2.0, step_mode="m", surrogate_function=surrogate.ATan()),
            nn.Linear(64, 32),
            neuron.ParametricLIFNode(v_reset=None, detach_reset=True, step_mode="m"),
            nn.Linear(32, 4),
            neuron.IFNode(step_mode="m"),
        ]
    )


def forward(net: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """Spikes of every layer, each sequence beginning from rest."""
    spikes = []
    for layer in net:
        if isinstance(layer, neuron.BaseNode):
            layer.reset()
        x = layer(x)
        if isinstance(layer, neuron.BaseNode):
            spikes.append(x)
    return spikes


def train(net: nn.ModuleList, x: Tensor, y: Tensor, steps: int = 30) -> list[float]:
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(forward(net, x)[-1].mean(0) * 8, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(record: Path) -> None:
    torch.set_num_threads(1)
    net = network()
    x, y = 3 * torch.randn(8, 16, 20), torch.arange(16) % 4
    backend = net[1].resolve_backend(x)
    expected = "native" if importlib.util.find_spec("sj_kernels") else "torch"
    assert backend == expected, f"{expected} backend expected, {backend} ran"
    spikes = torch.cat([each.flatten() for each in forward(net, x)])
    assert 0.01 < spikes.mean().item() < 0.99, "the layers have to spike, and not always"
    losses = train(net, x, y)
    assert losses[-1] < 0.5 * losses[0], f"no training: loss {losses[0]:.3f} -> {losses[-1]:.3f}"
    if record.exists():
        before = torch.load(record, weights_only=True)
        assert torch.equal(before, spikes), "spikes differ from those of the run before"
        print(f"{backend}: {spikes.numel()} spikes bit-equal to the run before.")
    else:
        torch.save(spikes.detach(), record)
    print(f"{backend}: loss {losses[0]:.3f} -> {losses[-1]:.3f}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
