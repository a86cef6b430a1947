"""Pools: tables computed by hand, and the place of the indices."""

import torch
from torch import nn

from sj_core import layer

X = torch.tensor([[[[1.0, 3.0, 2.0, 0.0]]], [[[0.0, 0.0, 5.0, 7.0]]]])  # [T, N, C, L]


def test_tables():
    assert layer.MaxPool1d(2, step_mode="m")(X).flatten().tolist() == [3.0, 2.0, 0.0, 7.0]
    assert layer.AvgPool1d(2, step_mode="m")(X).flatten().tolist() == [2.0, 1.0, 0.0, 6.0]
    assert layer.AdaptiveAvgPool1d(1, step_mode="m")(X).flatten().tolist() == [1.5, 3.0]


def test_indices_are_those_of_one_step_and_unpool():
    pool = layer.MaxPool1d(2, return_indices=True, step_mode="m")
    y, indices = pool(X)
    assert indices.flatten().tolist() == [1, 2, 0, 3]
    back = nn.MaxUnpool1d(2)(y[1], indices[1])
    assert back.flatten().tolist() == [0.0, 0.0, 0.0, 7.0]


def test_no_window_reaches_over_two_steps():
    x = torch.zeros(2, 1, 1, 3)
    x[1] = 9.0
    y = layer.MaxPool1d(3, stride=1, padding=1, step_mode="m")(x)
    assert y[0].max() == 0.0
    assert y[1].min() == 9.0
