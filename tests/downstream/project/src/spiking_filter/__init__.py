"""A library of somebody else: a neuron of its own, and a network that filters a noisy signal."""

import torch
from torch import Tensor, nn

from sj_core import functional, layer, neuron, surrogate


class ResonantNode(neuron.BaseNode):
    """Damped resonator: H = V + dt*W, W' = W - dt*(omega^2*V + 2*damping*W) + X."""

    def __init__(self, omega: float, damping: float, dt: float = 0.1, **kwargs) -> None:
        super().__init__(**kwargs)
        self.omega, self.damping, self.dt = omega, damping, dt
        self.register_memory("w", 0.0)

    def neuronal_charge(self, x: Tensor) -> Tensor:
        pull = self.omega**2 * self.v + 2 * self.damping * self.w
        self.w = self.w - self.dt * pull + x
        return self.v + self.dt * self.w


class Filter(nn.Module):
    """Resonators over a projection, read out as the mean rate."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            layer.Linear(inputs, width),
            ResonantNode(3.0, 0.2, v_threshold=0.2, surrogate_function=surrogate.ATan()),
            layer.Linear(width, classes),
            neuron.LIFNode(v_reset=None),
        )
        functional.set_step_mode(self, "m")

    def forward(self, x_seq: Tensor) -> Tensor:
        functional.reset_net(self)
        return self.net(x_seq).mean(0)


def fit(steps: int = 40) -> tuple[float, float]:
    """Cross entropy before and after training on two tones."""
    torch.manual_seed(0)
    time = torch.arange(24).view(24, 1, 1) / 4
    tone = torch.arange(32) % 2
    x = torch.sin((1 + 2 * tone.view(1, 32, 1)) * time + torch.rand(1, 32, 6))
    net = Filter(6, 32, 2)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(4 * net(x), tone)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]
