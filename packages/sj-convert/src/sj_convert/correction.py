"""Bias correction: fit each layer of a converted network to the original, from the input on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn
from tqdm import tqdm

from sj_convert.flow import module_of
from sj_convert.fuse import with_parameters
from sj_convert.late_start import fit, movable
from sj_convert.loader import batches
from sj_convert.loading import BIASED
from sj_convert.modules import VoltageScaler, channel_view
from sj_convert.neuron import ScaledIFNode
from sj_convert.pooling import RunningMaxPool
from sj_convert.rewrite import finish, put
from sj_convert.start import LateIFNode
from sj_core import functional
from sj_core.base import StepModule
from sj_core.neuron import IFNode


class ChannelBias(nn.Module, StepModule):
    """Add a constant to each channel: ``y = x + bias``, in both step modes.

    Shapes: ``(N, C, *)`` ('s') or ``(T, N, C, *)`` ('m') in and out.

    Example:
        >>> ChannelBias(torch.tensor([1.0, -1.0]))(torch.zeros(1, 2))
        tensor([[ 1., -1.]])
    """

    corrections: ClassVar[tuple[str, ...]] = ("bias",)
    bias: Tensor

    def __init__(self, bias: Tensor, *, step_mode: str = "s") -> None:
        super().__init__()
        self.step_mode = step_mode
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + channel_view(self.bias, x.dim() - (self.step_mode == "m")).to(x.dtype)


class _Upto(fx.Interpreter):
    """Run a graph to one node and no further."""

    def __init__(self, gm: fx.GraphModule, last: fx.Node) -> None:
        super().__init__(gm)
        self.last = last
        needed = {last}
        for node in reversed(gm.graph.nodes):
            if node in needed:
                needed.update(node.all_input_nodes)
        self.needed = needed

    def value(self, *inputs: Any) -> Any:
        self.args_iter = iter(inputs)
        self.env = {}
        for node in self.graph.nodes:
            if node.op == "placeholder" or node in self.needed:
                self.env[node] = self.run_node(node)
            if node is self.last:
                break
            for read, user in self.user_to_last_uses_pairs(node):
                if read in self.env and user is node:
                    del self.env[read]
        return self.env[self.last]

    def user_to_last_uses_pairs(self, node: fx.Node) -> list[tuple[fx.Node, fx.Node]]:
        return [(read, node) for read in self.user_to_last_uses.get(node, [])]


CACHE = 1 << 26  # values of a site kept between its passes; more are worked out anew


def correct_bias(
    snn: fx.GraphModule,
    analog: fx.GraphModule,
    dataloader: Iterable[Any],
    T: int,
    device: torch.device,
    *,
    progress: bool = True,
) -> None:
    """Correct biases and initial voltages in place, layer by layer from the input.

    Each layer is fitted (see `fit`) to what the corrected layers before it send, over the loader.
    `analog` is the network with its ReLUs, under the same paths.
    """
    functional.set_step_mode(snn, "m")
    sites = [(node, site) for node in snn.graph.nodes if (site := _site(snn, node))]
    relus = {str(node.target): node for node in analog.graph.nodes if node.op == "call_module"}
    disable = None if progress else True  # None: shown on a terminal only
    for node, site in tqdm(sites, desc="Correcting biases", disable=disable):
        relu = relus[f"{site}.relu"]
        meta = relu.meta.get("tensor_meta")
        if meta is not None and len(meta.shape) < 2:
            continue
        nodes = _nodes_of_site(snn, node, site)
        current = _Upto(snn, nodes[0].all_input_nodes[0])
        activation = _Upto(analog, relu)
        if len(nodes) > 1 and type(module_of(snn, nodes[1])) is IFNode:
            put(snn, str(nodes[1].target), _late(snn.get_submodule(str(nodes[1].target))))
        neuron: list[Any] = [snn.get_submodule(str(n.target)) for n in nodes]
        pairs = _Pairs(current, activation, dataloader, T, device)
        bias, shift = fit(neuron, pairs, T)
        add_bias(snn, node, site, bias)
        late = movable(neuron)
        if late is not None and shift is not None:
            like = next(neuron[-1].buffers())  # the scale or threshold
            late.v_shift = shift.to(like)  # type: ignore[assignment]
    functional.reset_net(snn)
    functional.set_step_mode(snn, "s")
    finish(snn)


def _late(node: Any) -> LateIFNode:
    """What stands between two scalers, as a neuron that can start late."""
    start: float = node._memory_reset_values["v"]
    return LateIFNode(v_init=start, step_mode=node.step_mode)


class _Pairs:
    """What reaches a neuron, and the activation in its place, for each batch of a loader."""

    def __init__(
        self,
        current: _Upto,
        activation: _Upto,
        dataloader: Iterable[Any],
        T: int,
        device: torch.device,
    ) -> None:
        self.current, self.activation = current, activation
        self.dataloader, self.T, self.device = dataloader, T, device
        self.kept: list[tuple[Tensor, Tensor]] | None = []
        self.complete = False

    def __call__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.complete and self.kept is not None:
            yield from self.kept
            return
        size = 0
        snn = self.current.module
        for inputs in batches(snn, self.dataloader, self.device):
            functional.reset_net(snn)
            pair = (
                self.current.value(*(repeat(x, self.T) for x in inputs)),
                self.activation.value(*inputs),
            )
            size += pair[0].numel()
            if self.kept is not None:
                self.kept = [*self.kept, pair] if size <= CACHE else None
            yield pair
        self.complete = True


def repeat(x: Any, T: int) -> Any:
    """`x` at each of `T` steps (a view)."""
    return x.expand(T, *x.shape) if isinstance(x, Tensor) else x


def _site(snn: fx.GraphModule, node: fx.Node) -> str:
    """Path of the site whose output `node` is, or ''."""
    module = module_of(snn, node)
    path = str(node.target)
    if isinstance(module, ScaledIFNode) and module.scaled:
        return path
    if isinstance(module, VoltageScaler) and path.endswith(".2"):
        return path.removesuffix(".2")
    return ""


def _nodes_of_site(snn: fx.GraphModule, node: fx.Node, site: str) -> list[fx.Node]:
    """The nodes of a site in order, `node` the last: one, or scaler, neuron and scaler."""
    nodes = [node]
    while str(nodes[0].target) not in (site, f"{site}.0"):
        nodes.insert(0, nodes[0].all_input_nodes[0])
    return nodes


def add_bias(snn: fx.GraphModule, node: fx.Node, site: str, bias: Tensor) -> None:
    """Add `bias` per channel to the input of the neuron at `site`, whose output is `node`."""
    first = _nodes_of_site(snn, node, site)[0]
    source = first.all_input_nodes[0]
    placed = module_of(snn, source)
    if isinstance(placed, ChannelBias):
        placed.bias = placed.bias + bias.to(placed.bias)
        return
    inner = _private_layer(snn, source, first, len(bias))
    if inner is not None:
        module: Any = snn.get_submodule(inner)
        old = module.bias
        old_value = 0.0 if old is None else old.detach().double()
        put(snn, inner, with_parameters(module, None, (old_value + bias).to(module.weight.dtype)))
        return
    path = f"{site}_bias"
    put(snn, path, ChannelBias(bias.float()))
    snn.get_submodule(path).step_mode = "m"  # type: ignore[assignment]
    with snn.graph.inserting_before(first):
        shifted = snn.graph.call_module(path, (source,))
    first.replace_input_with(source, shifted)


def _private_layer(
    snn: fx.GraphModule, node: fx.Node, reader: fx.Node, channels: int
) -> str | None:
    """Path of a layer whose bias reaches `reader` alone and unchanged, or None."""
    uses = Counter(str(n.target) for n in snn.graph.nodes if n.op == "call_module")
    seen = [node]
    while seen:
        here = seen.pop()
        if len(here.users) > 1:
            continue
        module = module_of(snn, here)
        if isinstance(module, BIASED) and uses[str(here.target)] == 1:
            meta = here.meta.get("tensor_meta")
            flat = isinstance(module, nn.Linear) and meta is not None and len(meta.shape) != 2
            width = module.weight.shape[0]
            if isinstance(module, nn.modules.conv._ConvTransposeNd):
                width = module.out_channels
            if width == channels and not flat and "bias" in module._parameters:
                return str(here.target)
        elif isinstance(module, RunningMaxPool) or _is_sum(here):
            seen.extend(here.all_input_nodes)
    return None


def _is_sum(node: fx.Node) -> bool:
    names = ("add", "sub")
    return (
        node.op in ("call_function", "call_method")
        and getattr(node.target, "__name__", node.target) in names[:1]
        and "alpha" not in node.kwargs
    )
