"""A spiking LSTM reads the 8x8 digits row by row: eight time steps of eight pixels.

    python docs/examples/spiking_lstm.py
    python docs/examples/spiking_lstm.py --cell gru --hidden-size 128 --epochs 40 --seed 1

A linear layer on the outputs of all steps names the digit. 1,437 images train, 360 test. It prints
the accuracies and how often the units fire; the default takes well under a minute on two cores.
"""

from __future__ import annotations

import argparse
import time

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from sj_rnn import SpikingGRU, SpikingLSTM, SpikingVanillaRNN

NETWORKS = {"lstm": SpikingLSTM, "gru": SpikingGRU, "vanilla": SpikingVanillaRNN}
STEPS = 8


class RowReader(nn.Module):
    """Images ``[N, 8, 8]`` to logits ``[N, 10]``; the rows are the time steps."""

    def __init__(self, cell: str, hidden_size: int) -> None:
        super().__init__()
        self.rnn = NETWORKS[cell](8, hidden_size, num_layers=2, dropout_p=0.2, batch_first=True)
        self.readout = nn.Linear(STEPS * hidden_size, 10)
        self.firing_rate = 0.0

    def forward(self, images: Tensor) -> Tensor:
        output, _ = self.rnn(images)
        self.firing_rate = (output != 0).float().mean().item()
        return self.readout(output.flatten(1))


def digits(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test images in [-1, 1] with their labels, split by ``seed``."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(data.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    test, train = order[:360], order[360:]
    return (images[train], labels[train]), (images[test], labels[test])


@torch.no_grad()
def accuracy(net: RowReader, images: Tensor, labels: Tensor) -> float:
    net.eval()
    return (net(images).argmax(1) == labels).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", choices=sorted(NETWORKS), default="lstm")
    parser.add_argument("--hidden-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    train, test = digits(args.seed)
    net = RowReader(args.cell, args.hidden_size)
    batch = 64
    batches = -(-len(train[0]) // batch)
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, args.epochs * batches)
    start = time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        net.train()
        total = 0.0
        for index in torch.randperm(len(train[0])).split(batch):
            loss = F.cross_entropy(net(train[0][index]), train[1][index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() / batches
        if epoch % 10 == 0 or epoch == args.epochs:
            print(
                f"epoch {epoch:3d}  loss {total:.3f}  "
                f"train {accuracy(net, *train):.1%}  test {accuracy(net, *test):.1%}"
            )
    test_accuracy = accuracy(net, *test)
    print(
        f"spiking {args.cell}: test accuracy {test_accuracy:.1%}, units that fire "
        f"{net.firing_rate:.0%}, {time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
