"""From a traced network to the nodes and edges of a NIR graph."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from sj_convert.activation import DROPOUTS
from sj_convert.flow import module_of, operation_name
from sj_convert.nir.extra import as_array
from sj_convert.nir.target import Target, shape_of, through
from sj_convert.nir.write_module import nodes_of
from sj_convert.rewrite import argument
from sj_convert.trace import source_line
from sj_core import layer
from sj_core.base import MemoryModule

_SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}
_DIFFERENCES = {
    *(operator.sub, operator.isub, torch.sub, torch.subtract),
    *("sub", "sub_", "subtract", "subtract_"),
}
_NEGATIONS = {operator.neg, torch.neg, torch.negative, "neg", "negative"}
_PRODUCTS = {operator.mul, operator.imul, torch.mul, torch.multiply, "mul", "mul_", "multiply"}
_QUOTIENTS = {
    *(operator.truediv, operator.itruediv, torch.div, torch.divide, torch.true_divide),
    *("div", "div_", "divide", "true_divide"),
}
_FLATTENS = {torch.flatten, "flatten"}
_RESHAPES = {torch.reshape, "reshape", "view"}
_PASSED = {"contiguous", "clone", "detach", F.dropout, torch.clone}


class Writer:
    """Nodes and edges as they are found; `ends` maps a value to the NIR nodes that carry it."""

    def __init__(self, target: Target, gm: fx.GraphModule) -> None:
        self.target, self.nir, self.gm = target, target.nir, gm
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.ends: dict[fx.Node, list[str]] = {}

    def graph(self) -> Any:
        inputs = [n for n in self.gm.graph.nodes if n.op == "placeholder"]
        for node in self.gm.graph.nodes:
            if node.op == "placeholder":
                name = "input" if len(inputs) == 1 else str(node.target)
                shape = np.array(shape_of(node))
                self.ends[node] = [self.add(name, self.nir.Input({"input": shape}), [])]
            elif node.op == "output":
                self.outputs(node.args[0])
            elif node.op == "call_module":
                self.module(node)
            elif node.op != "get_attr":
                self.function(node)
        return self.nir.NIRGraph(self.nodes, self.edges)

    def add(self, name: str, node: Any, sources: list[str]) -> str:
        unique, i = name, 0
        while unique in self.nodes:
            i += 1
            unique = f"{name}_{i}"
        self.nodes[unique] = node
        for source in sources:
            if (source, unique) in self.edges:  # twice the same value: NIR has no double edges
                shape = np.ones(tuple(self.nodes[source].output_type["output"]))
                source = self.add(f"{source}_again", self.nir.Scale(shape), [source])
            self.edges.append((source, unique))
        return unique

    def outputs(self, value: Any) -> None:
        results = list(value) if isinstance(value, tuple | list) else [value]
        for i, result in enumerate(results):
            name = "output" if len(results) == 1 else f"output_{i}"
            node = self.nir.Output({"output": np.array(shape_of(result))})
            self.add(name, node, self.ends[result])

    def module(self, node: fx.Node) -> None:
        module = module_of(self.gm, node)
        assert module is not None
        source = node.all_input_nodes[0]
        name = str(node.target)
        calls = [n for n in self.gm.graph.nodes if n.op == "call_module" and n.target == name]
        if len(calls) > 1 and any(isinstance(m, MemoryModule) for m in module.modules()):
            raise ValueError(
                f"`net` calls `{name}` ({type(module).__name__}) {len(calls)} times, at "
                f"{source_line(node)} and elsewhere; NIR cannot share a state: use a module for "
                "each call."
            )
        self.ends[node] = self.chain(module, name, self.ends[source], shape_of(source), node)

    def chain(
        self, module: nn.Module, name: str, sources: list[str], shape: tuple[int, ...], at: fx.Node
    ) -> list[str]:
        """Write `module`, which takes a sample of `shape`, behind `sources`."""
        if isinstance(module, (nn.Identity, *DROPOUTS, layer.Dropout, layer.Dropout2d)):
            return sources
        if isinstance(module, nn.Sequential):
            for i, child in enumerate(module):
                sources = self.chain(child, f"{name}.{i}", sources, shape, at)
                shape = through(child, shape)
            return sources
        if isinstance(module, layer.LinearRecurrentContainer | layer.ElementWiseRecurrentContainer):
            return self.recurrent(module, name, sources, shape, at)
        found = nodes_of(self.target, module, shape, at)
        for suffix, nir_node in found:
            sources = [self.add(name + suffix, nir_node, sources)]
        return sources

    def recurrent(
        self, module: Any, name: str, sources: list[str], shape: tuple[int, ...], at: fx.Node
    ) -> list[str]:
        sub = module.sub_module
        before = set(self.nodes)
        if isinstance(module, layer.LinearRecurrentContainer):
            weight = as_array(module.rc.weight)
            bias = np.zeros(len(weight)) if module.rc.bias is None else as_array(module.rc.bias)
            width = weight.shape[0]
            forward = self.nir.Affine(weight[:, :width], bias)
            sources = [self.add(f"{name}.w_in", forward, sources)]
            ends = self.chain(sub, f"{name}.sub_module", sources, shape, at)
            back = self.nir.Linear(weight[:, width:])
            first = self._first(before, sources)
            w_rec = self.add(f"{name}.w_rec", back, ends)
            self.edges.append((w_rec, first))
            return ends
        # No random numbers: they would move the caller's generator on.
        a = torch.linspace(-1.0, 2.0, math.prod(shape)).view(1, *shape)
        b = a.square() + 0.3
        f = module.element_wise_function
        if not torch.equal(f(a, b), a + b):
            raise ValueError(
                f"`net` has `{at.target}` at {source_line(at)}, whose `element_wise_function` "
                "is not a sum: NIR only adds."
            )
        ends = self.chain(sub, f"{name}.sub_module", sources, shape, at)
        first = self._first(before, sources)
        self.edges.extend((end, first) for end in ends)
        return ends

    def _first(self, before: set[str], sources: list[str]) -> str:
        """The first node behind `sources` that was not there `before`."""
        return next(
            target for source, target in self.edges if source in sources and target not in before
        )

    def sum(self, node: fx.Node) -> bool:
        """Write ``a + alpha b`` or ``a - alpha b``; whether it is one of two values."""
        a, b = argument(node, 0, "input"), argument(node, 1, "other")
        if a not in self.ends or b not in self.ends or shape_of(a) != shape_of(b):
            return False
        alpha = node.kwargs.get("alpha", 1)
        if not isinstance(alpha, int | float):
            return False
        factor = -float(alpha) if node.target in _DIFFERENCES else float(alpha)
        ends = [*self.ends[a]]
        # NIR adds what arrives, each value once: other weights and x + x take a node of their own.
        if factor != 1 or set(ends) & set(self.ends[b]):
            ends.append(self.scaled(f"{node.name}_other", factor, b))
        else:
            ends += self.ends[b]
        self.ends[node] = ends
        return True

    def product(self, node: fx.Node) -> bool:
        """Write a value times or over a constant; whether it is that."""
        a, b = argument(node, 0, "input"), argument(node, 1, "other")
        over = node.target in _QUOTIENTS
        if node.kwargs.get("rounding_mode") is not None:
            return False
        value, constant = (b, a) if b in self.ends and not over else (a, b)
        if value not in self.ends or constant in self.ends or shape_of(value) != shape_of(node):
            return False
        if isinstance(constant, fx.Node):
            if constant.op != "get_attr":
                return False
            constant = as_array(_attribute(self.gm, str(constant.target)))
        number = np.asarray(constant, dtype=np.float64)
        if number.ndim > len(shape_of(node)):  # a constant laid out over the batch
            if number.shape[0] != 1:
                return False
            number = number[0]
        factor = np.broadcast_to(1 / number if over else number, shape_of(node)).copy()
        self.ends[node] = [self.add(node.name, self.nir.Scale(factor), self.ends[value])]
        return True

    def scaled(self, name: str, factor: float, value: fx.Node) -> str:
        """Write ``factor * value``."""
        scale = self.nir.Scale(np.full(shape_of(value), factor))
        return self.add(name, scale, self.ends[value])

    def function(self, node: fx.Node) -> None:
        target: Any = node.target
        tensors = [n for n in node.all_input_nodes if n in self.ends]
        if target in _SUMS | _DIFFERENCES and self.sum(node):
            return
        if target in _NEGATIONS:
            self.ends[node] = [self.scaled(node.name, -1.0, tensors[0])]
        elif target in _PASSED and tensors:
            self.ends[node] = self.ends[tensors[0]]
        elif target in _FLATTENS | _RESHAPES and tensors and len(shape_of(node)) == 1:
            shape = np.array(shape_of(tensors[0]))
            flatten = self.nir.Flatten({"input": shape}, start_dim=0, end_dim=-1)
            self.ends[node] = [self.add(node.name, flatten, self.ends[tensors[0]])]
        elif target in _PRODUCTS | _QUOTIENTS and self.product(node):
            return
        elif not isinstance(node.meta.get("tensor_meta"), tuple):
            return  # a size
        else:
            raise ValueError(
                f"`net` has `{node.name}` ({operation_name(self.gm, node)}) at {source_line(node)}"
                ", which NIR does not express; replace it, or write the rest without it."
            )


def _attribute(gm: fx.GraphModule, path: str) -> Tensor:
    found: Any = gm
    for name in path.split("."):
        found = getattr(found, name)
    return found
