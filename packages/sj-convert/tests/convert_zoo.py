"""Networks of every style that has to convert, trained on 8x8 digits within seconds."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from sj_core import functional


class MLP(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            *(nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)),
        )


def block(cin: int, cout: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
    return [conv, nn.BatchNorm2d(cout), nn.ReLU(inplace=True)]


class VGG(nn.Sequential):
    """Conv-BN-ReLU blocks with a pool after each pair."""

    def __init__(self, pool: Callable[[int], nn.Module] = nn.AvgPool2d, width: int = 16) -> None:
        super().__init__(
            *(*block(1, width), *block(width, width), pool(2)),
            *(*block(width, 2 * width), *block(2 * width, 2 * width), pool(2)),
            *(nn.Flatten(), nn.Linear(8 * width, 64), nn.ReLU(), nn.Dropout(0.2)),
            nn.Linear(64, 10),
        )


class MaxVGG(VGG):
    def __init__(self) -> None:
        super().__init__(nn.MaxPool2d)


class Residual(nn.Module):
    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)  # shared by both call sites
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(
                nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(*block(1, width))
        self.layer1 = Residual(width, width, 1)
        self.layer2 = Residual(width, 2 * width, 2)
        self.layer3 = Residual(2 * width, 2 * width, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        x = self.avgpool(x)
        return self.fc(torch.flatten(x, 1))


class DenseNet(nn.Module):
    """Concatenations, and BatchNorm before the ReLU, where it cannot be folded."""

    def __init__(self, growth: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        for i in range(4):
            width = 16 + i * growth
            self.norms.append(nn.BatchNorm2d(width))
            self.convs.append(nn.Conv2d(width, growth, 3, padding=1, bias=False))
        self.last = nn.BatchNorm2d(16 + 4 * growth)
        self.fc = nn.Linear((16 + 4 * growth) * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            x = torch.cat([x, conv(norm(x).relu())], dim=1)
            if i == 1:
                x = F.avg_pool2d(x, 2)
        x = F.adaptive_avg_pool2d(F.relu(self.last(x)), 2)
        return self.fc(x.view(x.size(0), -1))


class MobileNet(nn.Module):
    """Inverted residuals with depthwise convolutions and ReLU6."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6(inplace=True)
        )
        self.blocks = nn.ModuleList(self.inverted(width, 3 * width) for _ in range(2))
        self.head = nn.Sequential(
            nn.Conv2d(width, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU6()
        )
        self.fc = nn.Linear(64 * 4, 10)

    @staticmethod
    def inverted(width: int, hidden: int) -> nn.Sequential:
        return nn.Sequential(
            *(nn.Conv2d(width, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()),
            nn.Conv2d(hidden, hidden, 3, 1, 1, groups=hidden, bias=False),
            *(nn.BatchNorm2d(hidden), nn.ReLU6()),
            *(nn.Conv2d(hidden, width, 1, bias=False), nn.BatchNorm2d(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for inverted in self.blocks:
            x = x + inverted(x)
        x = F.avg_pool2d(x, 2)
        return self.fc(F.avg_pool2d(self.head(x), 2).flatten(1))


class Functional(nn.Module):
    """The layers of `MaxVGG`, every activation and pool a function call."""

    def __init__(self) -> None:
        super().__init__()
        self.net = MaxVGG()

    def forward(self, x: Tensor) -> Tensor:
        n = self.net
        x = F.relu(n[1](n[0](x)), inplace=True)
        x = torch.relu(n[4](n[3](x)))
        x = F.max_pool2d(x, 2)
        x = n[8](n[7](x)).relu()
        x = n[11](n[10](x)).clamp(min=0)
        x = torch.max_pool2d(x, 2).flatten(1)
        x = F.dropout(torch.clamp_min(n[15](x), 0), 0.2, self.training)
        return n[18](x)


ZOO: dict[str, Callable[[], nn.Module]] = {
    "mlp": MLP,
    "vgg-avg": VGG,
    "vgg-max": MaxVGG,
    "resnet": ResNet,
    "densenet": DenseNet,
    "mobilenet": MobileNet,
    "functional": Functional,
}


def digits(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels: 1347 and 450 digits, 8x8, in [0, 1]."""
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target, dtype=torch.int64)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1000 + seed))
    train, test = order[450:], order[:450]
    return x[train], y[train], x[test], y[test]


def train(build: Callable[[], nn.Module], seed: int, epochs: int = 15) -> nn.Module:
    """A trained network, in eval mode."""
    x, y, _, _ = digits(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build().train()
        optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-3)
        steps = epochs * (len(x) // 64)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
        for _ in range(epochs):
            order = torch.randperm(len(x))
            for i in range(len(x) // 64):
                batch = order[64 * i : 64 * i + 64]
                loss = F.cross_entropy(net(x[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return net.eval()


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Percentage of right answers."""
    return 100 * (logits.argmax(-1) == y).double().mean().item()


def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """`net` in eval mode with BatchNorm statistics that matter."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            n = module.num_features
            module.running_mean.copy_(torch.randn(n, generator=generator) * 0.2)
            module.running_var.copy_(torch.rand(n, generator=generator) + 0.5)
            with torch.no_grad():
                module.weight.copy_(torch.rand(n, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(n, generator=generator) * 0.2)
    return net.eval()


def mean_output(snn: nn.Module, x: Tensor, T: int) -> Tensor:
    """Mean over T steps of the output for a constant input, from rest, in step mode 'm'."""
    functional.reset_net(snn)
    functional.set_step_mode(snn, "m")
    with torch.no_grad():
        return snn(x.expand(T, *x.shape)).mean(0)
