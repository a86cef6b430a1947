"""A neuron of one's own: five lines, and it runs in both step modes, under compile, in any net.

python docs/examples/own_neuron.py
"""

import torch

from sj_core import functional, layer, neuron, surrogate


class SaturatingLIFNode(neuron.BaseNode):
    """H = V + (tanh(X) - V)/2: a leaky neuron whose input saturates."""

    def neuronal_charge(self, x: torch.Tensor) -> torch.Tensor:
        return self.v + (torch.tanh(x) - self.v) / 2


def main() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        layer.Linear(8, 32),
        SaturatingLIFNode(v_threshold=0.4, surrogate_function=surrogate.ATan()),
        layer.Linear(32, 2),
        neuron.NonSpikingLIFNode(decode="mean"),
    )
    functional.set_step_mode(net, "m")
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

    # Two classes that differ in when, not in how much, their inputs are active.
    label = torch.randint(0, 2, (128,))
    rise = torch.linspace(0, 2, 6).view(6, 1, 1)
    x_seq = torch.where(label.view(1, -1, 1) == 1, rise, rise.flip(0)) * torch.ones(8)
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x_seq), label)
        loss.backward()
        optimizer.step()
        functional.reset_net(net)
    accuracy = (net(x_seq).argmax(1) == label).float().mean().item()
    functional.reset_net(net)
    print(f"accuracy {accuracy:.2f}")
    assert accuracy > 0.95

    # The same node step by step gives the same spikes.
    node = SaturatingLIFNode(v_threshold=0.4)
    by_step = torch.stack([node(x) for x in x_seq])
    functional.reset_net(node)
    node.step_mode = "m"
    assert torch.equal(by_step, node(x_seq))


if __name__ == "__main__":
    main()
