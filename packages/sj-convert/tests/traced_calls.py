"""A network whose forward is one function, for tests of what a trace sees."""

from torch import nn


class Fn(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn
        self.act = nn.ReLU(inplace=True)
        self.six = nn.ReLU6()

    def forward(self, x):
        return self.fn(self, x)
