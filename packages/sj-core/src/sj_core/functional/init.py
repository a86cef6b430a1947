"""Initialisation of weights."""

from __future__ import annotations

import math

from torch import nn

from sj_core._checks import check_module


def kaiming_normal_conv_linear_weight(net: nn.Module) -> None:
    """Draw the weights of every convolution and linear layer in ``net`` anew.

    ``W ~ N(0, 2 / ((1 + a^2) fan_in))`` with ``a = sqrt(5)``, hence a variance of
    ``1 / (3 fan_in)``: of :class:`torch.nn.Linear`'s own uniform initialisation, but normal
    (He et al. 2015). Transposed convolutions are drawn too; biases stay as they are.

    >>> import torch
    >>> from sj_core import functional
    >>> net = torch.nn.Linear(3000, 100)
    >>> functional.kaiming_normal_conv_linear_weight(net)
    >>> round(net.weight.var().item() * 3 * 3000, 1)
    1.0
    """
    check_module("net", net)
    for module in net.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=math.sqrt(5))
