"""What of a network has a spiking form, and an honest account of what has none."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

from sj_convert.activation import MAX_POOL_FUNCTIONS, MAX_POOLS, relu_ceiling
from sj_convert.flow import NO_TENSOR_METHODS, Flow, module_of, operation_name
from sj_convert.rewrite import argument
from sj_convert.trace import source_line
from sj_core.base import StepModule

_LINEAR_MODULES = (
    nn.Linear,
    nn.modules.conv._ConvNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.Flatten,
    nn.Unflatten,
    nn.Upsample,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ChannelShuffle,
    nn.modules.padding._ConstantPadNd,
    nn.modules.padding._ReflectionPadNd,
    nn.modules.padding._ReplicationPadNd,
    nn.modules.padding._CircularPadNd,
    nn.Fold,
    nn.Unfold,
    nn.Identity,
)
# Names shared by torch functions and tensor methods; all linear in their first argument.
_LINEAR_NAMES = {
    *("add", "sub", "subtract", "neg", "negative", "pos", "cat", "concat", "concatenate", "stack"),
    *("flatten", "unflatten", "reshape", "view", "view_as", "reshape_as", "permute", "transpose"),
    *("hstack", "dstack"),
    *("swapaxes", "movedim", "squeeze", "unsqueeze", "mean", "sum", "chunk", "split", "unbind"),
    *("tensor_split", "narrow", "select", "index_select", "roll", "flip", "tile", "repeat"),
    *("repeat_interleave", "expand", "expand_as", "broadcast_to", "clone", "contiguous", "detach"),
    *("to", "float", "double", "half", "bfloat16", "type_as", "zeros_like", "ones_like", "getitem"),
    "full_like",
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("linear", "interpolate", "upsample", "pad", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "pixel_shuffle"),
    *("pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "fold", "unfold", "t"),
}
_NEW = {"new_zeros", "new_ones", "new_full"}
_PRODUCTS = {"mul", "multiply", "matmul", "mm", "bmm", "einsum", "dot"}
_QUOTIENTS = {"truediv", "div", "divide", "true_divide"}

_DEFAULT_REMEDY = "train with a ReLU instead"
_AS_READOUT = "leave it out of the network and apply it to the output summed over time"
_REMEDIES = {
    **dict.fromkeys(("softmax", "logsoftmax", "log_softmax", "softmin", "softmax2d"), _AS_READOUT),
    **dict.fromkeys(("argmax", "argmin", "topk", "sort", "argsort"), _AS_READOUT),
    **dict.fromkeys(
        ("sigmoid", "logsigmoid", "tanh"), f"train with a ReLU instead, or {_AS_READOUT}"
    ),
    **dict.fromkeys(
        ("layernorm", "layer_norm", "groupnorm", "group_norm", "instancenorm2d", "rmsnorm"),
        "train with a BatchNorm instead, which folds into the weights",
    ),
    **dict.fromkeys(
        ("batchnorm1d", "batchnorm2d", "batchnorm3d", "batch_norm"),
        "train with `track_running_stats=True`",
    ),
    **dict.fromkeys(
        _PRODUCTS | _QUOTIENTS | {"bilinear"},
        "a product of two signals has no spiking form: gate by weights",
    ),
    **dict.fromkeys(
        ("lppool1d", "lppool2d", "lppool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d"),
        "pool by the mean or the largest value instead",
    ),
    **dict.fromkeys(
        ("amax", "max"), "write it as a max pool, such as `F.adaptive_max_pool2d(x, 1)`"
    ),
    **dict.fromkeys(
        ("leakyrelu", "leaky_relu", "leaky_relu_", "prelu"),
        f"{_DEFAULT_REMEDY}, or write it as `F.relu(x) - a * F.relu(-x)` with its slope `a`",
    ),
    **dict.fromkeys(("abs", "absolute"), "write it as `F.relu(x) + F.relu(-x)`"),
    **dict.fromkeys(
        ("hardtanh", "hardtanh_", "clamp", "clip"),
        f"{_DEFAULT_REMEDY}, or write it as `F.hardtanh(x - low, 0, high - low) + low`",
    ),
    **dict.fromkeys(("hardsigmoid", "hardsigmoid_"), "write it as `F.relu6(x + 3) / 6`"),
    **dict.fromkeys(
        ("rnn", "lstm", "gru", "rnncell", "lstmcell", "grucell"),
        "train a recurrent spiking network instead, such as sj-rnn's, which needs no conversion",
    ),
    **dict.fromkeys(
        (
            *("multiheadattention", "scaled_dot_product_attention", "multi_head_attention_forward"),
            *("transformer", "transformerencoder", "transformerencoderlayer"),
            *("transformerdecoder", "transformerdecoderlayer"),
        ),
        "attention multiplies signals: train with spikes, such as by sj-core's attention",
    ),
    **dict.fromkeys(
        ("embedding", "embeddingbag", "embedding_bag"),
        "look up before the network and give it the result",
    ),
    **dict.fromkeys(_NEW, "begin its sizes by the batch, `x.size(0)`, or make it a buffer"),
    "maximum": "write `maximum(a, b)` as `b + F.relu(a - b)`",
    "minimum": "write `minimum(a, b)` as `b - F.relu(b - a)`",
    "setitem": "build the tensor with `torch.cat` or `torch.stack`",
}


@dataclass(frozen=True)
class AnalogNode:
    """An operation that stays analog: its node in the graph, what it is, where, and what to do."""

    node: str
    operation: str
    line: str
    remedy: str

    def __str__(self) -> str:
        return f"`{self.node}` ({self.operation}) at {self.line}: {self.remedy}"


def _has_spiking_form(gm: fx.GraphModule, node: fx.Node, flow: Flow) -> bool:
    signals = flow.signals(node)
    if not signals or node.op == "output":
        return True
    module = module_of(gm, node)
    if relu_ceiling(gm, node) is not None:
        return True
    if module is not None:
        if isinstance(module, MAX_POOLS):
            return not module.return_indices
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return module.running_mean is not None
        own = type(module).__module__.startswith("sj_convert.")
        return isinstance(module, _LINEAR_MODULES) or (own and isinstance(module, StepModule))
    name = operation_name(gm, node)
    if name in NO_TENSOR_METHODS or node.target is getattr or node.target is len:
        return True
    if name in _PRODUCTS:
        return len(signals) == 1 and _times_used(node, signals[0]) == 1
    if name in _QUOTIENTS:
        return (
            len(signals) == 1
            and node.args[:1] == (signals[0],)
            and _times_used(node, signals[0]) == 1
        )
    if name in _NEW:
        sizes = argument(node, 1, "size")
        first = sizes[0] if isinstance(sizes, list | tuple) else sizes
        return isinstance(first, fx.Node) and first in flow.timed
    if node.target is F.batch_norm or node.target is torch.batch_norm:
        return argument(node, 5, "training", False) is False
    if node.target is F.interpolate and argument(node, 3, "mode", "nearest") is None:
        return False
    home = getattr(node.target, "__module__", None) or "torch"
    known = node.op == "call_method" or home.split(".")[0] in ("torch", "_operator", "builtins")
    return known and name in _LINEAR_NAMES and _linear_in_signals(node, name, flow)


def _linear_in_signals(node: fx.Node, name: str, flow: Flow) -> bool:
    # The weight of a convolution or an index must not be a signal itself.
    if name.startswith("conv") or name in ("linear", "index_select", "getitem"):
        return flow.signals(node) == [node.args[0] if node.args else node.kwargs["input"]]
    return True


def _times_used(node: fx.Node, source: fx.Node) -> int:
    found: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), lambda n: found.append(n) if n is source else None)
    return len(found)


def analog_nodes(gm: fx.GraphModule) -> list[AnalogNode]:
    """The operations of a normalised graph that have no spiking counterpart."""
    flow = Flow(gm)
    found = []
    for node in gm.graph.nodes:
        if node.op in ("placeholder", "get_attr") or _has_spiking_form(gm, node, flow):
            continue
        name = operation_name(gm, node)
        path = str(node.target) if node.op == "call_module" else node.name
        remedy = _REMEDIES.get(name.lower(), _DEFAULT_REMEDY)
        if isinstance(module_of(gm, node), MAX_POOLS) or node.target in MAX_POOL_FUNCTIONS:
            remedy = "pool without `return_indices` and with a window of fixed size"
        elif ".quantized" in type(module_of(gm, node)).__module__:
            remedy = "convert the network before it is quantized"
        found.append(AnalogNode(path, name, source_line(node), remedy))
    return found


def refuse(found: list[AnalogNode]) -> None:
    """`ValueError` that names each of `found`, if there are any."""
    if found:
        listed = "; ".join(map(str, found))
        raise ValueError(
            f"`ann` has no spiking counterpart for {listed}; or convert with `strict=False` to "
            "keep it analog."
        )
