"""Train a CNN on the 8x8 digits, convert it in several ways, and show accuracy over time steps.

    python docs/examples/conversion.py
    python docs/examples/conversion.py --time-steps 16 --epochs 20

Prints a table and writes `conversion.png`: the published conversions need tens of steps for what
`Converter.recommended` reaches in a few.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from sj_convert import Converter, accuracy_over_time, plot
from sj_core import functional


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target, dtype=torch.int64)
    order = torch.randperm(len(x))
    return x[order[450:]], y[order[450:]], x[order[:450]], y[order[:450]]


def cnn() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)),
        *(nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
    )


def train(net: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time-steps", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    T = arguments.time_steps
    torch.manual_seed(arguments.seed)
    x, y, x_test, y_test = digits()
    ann = cnn()
    train(ann, x, y, arguments.epochs)
    with torch.no_grad():
        ann_accuracy = (ann(x_test).argmax(-1) == y_test).double().mean().item()
    loader = x.split(128)
    ways = {
        "largest activation": Converter(loader, mode="max"),
        "99.9th percentile": Converter(loader, mode="99.9%"),
        "recommended": Converter.recommended(loader, T),
    }
    axes = None
    print(f"ANN: {100 * ann_accuracy:.2f} %; SNN after 1, 2, ..., {T} steps:")
    for name, converter in ways.items():
        snn = converter(ann)
        functional.set_step_mode(snn, "m")
        curve = accuracy_over_time(snn, [(x_test, y_test)], T)
        print(f"{name:20s}" + " ".join(f"{100 * value:6.2f}" for value in curve))
        last = name == "recommended"
        axes = plot(curve, ann_accuracy if last else None, ax=axes, label=name)
    assert axes is not None
    axes.figure.savefig("conversion.png", dpi=150)
    print("The figure is conversion.png.")


if __name__ == "__main__":
    main()
