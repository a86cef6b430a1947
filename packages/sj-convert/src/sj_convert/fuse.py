"""Fold a BatchNorm in eval mode into the weights before it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, fx, nn

from sj_convert.flow import module_of
from sj_convert.rewrite import calls_of, finish, put

_CONV = nn.modules.conv._ConvNd
_CONV_TRANSPOSE = nn.modules.conv._ConvTransposeNd
_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def fold_batch_norm(module: Any, bn: Any) -> nn.Module:
    """A copy of `module` (convolution, transposed or not, or Linear) with `bn` folded in.

    ``W * gamma / sqrt(var + eps)`` per output channel, and the bias
    ``(b - mean) * gamma / sqrt(var + eps) + beta``, computed in at least float32.
    """
    weight: Tensor = module.weight.detach()
    wide = torch.promote_types(weight.dtype, torch.float32)
    mean, var = bn.running_mean.to(wide), bn.running_var.to(wide)
    factor = torch.rsqrt(var + bn.eps)
    if bn.weight is not None:
        factor = factor * bn.weight.detach().to(wide)
    bias = -mean
    if module.bias is not None:
        bias = bias + module.bias.detach().to(wide)
    bias = bias * factor
    if bn.bias is not None:
        bias = bias + bn.bias.detach().to(wide)
    if isinstance(module, _CONV_TRANSPOSE):  # [in, out / groups, ...]: a group's rows are inputs
        groups = module.groups
        grouped = weight.to(wide).unflatten(0, (groups, -1))
        scale = factor.view(groups, 1, -1, *[1] * (weight.dim() - 2))
        folded = (grouped * scale).flatten(0, 1)
    else:
        folded = weight.to(wide) * factor.view(-1, *[1] * (weight.dim() - 1))
    return with_parameters(module, folded.to(weight.dtype), bias.to(weight.dtype))


def with_parameters(module: nn.Module, weight: Tensor | None, bias: Tensor) -> nn.Module:
    """A shallow copy of `module` with a weight and bias of its own."""
    twin = module.__class__.__new__(module.__class__)
    twin.__dict__.update(module.__dict__)
    twin._parameters = dict(module._parameters)
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            old = module._parameters.get(name)
            keeps = old.requires_grad if old is not None else True
            twin._parameters[name] = nn.Parameter(value, requires_grad=keeps)
    return twin


def _plain(module: nn.Module) -> bool:
    # Weights that are computed (weight_norm and its like) cannot be overwritten.
    return isinstance(module._parameters.get("weight"), nn.Parameter)


def _fits(module: nn.Module | None, bn: nn.Module, node: fx.Node) -> bool:
    if isinstance(module, _CONV):
        return _plain(module) and module.out_channels == bn.num_features
    if isinstance(module, nn.Linear):
        # On [N, L, C] a BatchNorm1d normalises L, not the features.
        meta = node.meta.get("tensor_meta")
        return (
            _plain(module)
            and module.out_features == bn.num_features
            and (meta is None or len(meta.shape) == 2)
        )
    return False


def fuse(fx_model: fx.GraphModule) -> fx.GraphModule:
    """Fold each BatchNorm into the layer whose output only it reads; the rest stays."""
    uses = Counter(str(n.target) for n in fx_model.graph.nodes if n.op == "call_module")
    for node in calls_of(fx_model, _BATCH_NORM):
        bn, before = module_of(fx_model, node), node.args[0] if node.args else node.kwargs["input"]
        assert bn is not None
        if bn.running_mean is None or not isinstance(before, fx.Node):
            continue
        module = module_of(fx_model, before)
        path = str(before.target)
        if not _fits(module, bn, before) or len(before.users) > 1 or uses[path] > 1:
            continue
        assert module is not None
        put(fx_model, path, fold_batch_norm(module, bn))
        node.replace_all_uses_with(before)
        fx_model.graph.erase_node(node)
    return finish(fx_model)
