"""Run a graph of modules, with cycles, over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sj_core import functional
from sj_core.base import MemoryModule


class NIRNetwork(MemoryModule):
    """The modules of a NIR graph; the input of each is the sum of what its edges bring.

    An edge that closes a cycle brings the value of the step before. Before the first step neurons
    were silent, so there it brings the bias of a Linear or convolution, and else nothing.

    Shapes: ``(N, *)`` per step, or ``(T, N, *)`` in 'm'; one tensor per Input and Output node.

    Args:
        modules: by name, without the inputs and outputs.
        edges: pairs of names.
        inputs: names of the Input nodes.
        outputs: names of the Output nodes.
    """

    keeps_step_mode_of_children = True

    def __init__(
        self,
        modules: dict[str, nn.Module],
        edges: Iterable[tuple[str, str]],
        inputs: list[str],
        outputs: list[str],
    ) -> None:
        super().__init__()
        self.names = {name: f"{i}_{name}".replace(".", "_") for i, name in enumerate(modules)}
        self.parts = nn.ModuleDict({self.names[name]: module for name, module in modules.items()})
        self.inputs, self.outputs = inputs, outputs
        self.edges = list(dict.fromkeys((str(a), str(b)) for a, b in edges))
        known = {*modules, *inputs, *outputs}
        for edge in self.edges:
            for end in edge:
                if end not in known:
                    raise ValueError(f"`graph` has the edge {edge}, but no node {end!r}.")
        self.order, self.delayed = _schedule([*inputs, *modules, *outputs], self.edges)
        self.kept = sorted({source for source, _ in self.delayed})
        self.previous: Any
        self.register_memory("previous", {})

    @property
    def step_mode(self) -> str:
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        self.check_step_mode(value)
        self._step_mode = value
        # A cycle is walked step by step; without one each module takes the whole sequence.
        if "parts" in self.__dict__.get("_modules", {}):
            functional.set_step_mode(self.parts, "s" if self.delayed else value)

    def part(self, name: str) -> nn.Module:
        """The module of the node `name`."""
        return self.parts[self.names[name]]

    def forward(self, *inputs: Tensor) -> Any:
        if len(inputs) != len(self.inputs):
            raise TypeError(
                f"`inputs` (= {len(inputs)} tensors) must be {len(self.inputs)}, one for each "
                f"Input node: {', '.join(self.inputs)}."
            )
        if self._step_mode == "s" or not self.delayed:
            return self._run(inputs)
        steps = [self._run(step) for step in zip(*(x.unbind(0) for x in inputs), strict=True)]
        if not steps:
            raise ValueError("`inputs` (of 0 time steps) must hold at least one step.")
        if isinstance(steps[0], tuple):
            return tuple(torch.stack(list(y)) for y in zip(*steps, strict=True))
        return torch.stack(steps)

    def _run(self, inputs: tuple[Tensor, ...]) -> Any:
        values: dict[str, Any] = dict(zip(self.inputs, inputs, strict=True))
        for name in self.order:
            if name in self.inputs:
                continue
            brought = [
                self._earlier(source, inputs) if (source, name) in self.delayed else values[source]
                for source, target in self.edges
                if target == name
            ]
            x: Any = None
            for value in brought:
                if value is not None:
                    x = value if x is None else x + value
            idle = x is None or name in self.outputs
            values[name] = x if idle else self.part(name)(x)
        self.previous = {name: values[name] for name in self.kept if values[name] is not None}
        results = tuple(values[name] for name in self.outputs)
        return results[0] if len(results) == 1 else results

    def _earlier(self, name: str, inputs: tuple[Tensor, ...]) -> Any:
        if self.previous:
            return self.previous.get(name)
        part: Any = self.part(name)
        if isinstance(part, nn.Linear) and part.bias is not None:
            return part.bias.expand(inputs[0].shape[0], -1)
        if isinstance(part, nn.modules.conv._ConvNd) and part.bias is not None:
            return part.bias.view(1, -1, *[1] * (part.weight.dim() - 2))
        return None


def _schedule(
    names: list[str], edges: list[tuple[str, str]]
) -> tuple[list[str], set[tuple[str, str]]]:
    """An order in which each node comes after its sources, and the edges that close cycles."""
    targets: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        targets[source].append(target)
    finished: list[str] = []
    delayed: set[tuple[str, str]] = set()
    state: dict[str, int] = {}
    for root in names:
        stack = [(root, iter(targets[root]))] if root not in state else []
        if stack:
            state[root] = 1
        while stack:
            name, rest = stack[-1]
            for target in rest:
                if state.get(target) == 1:
                    delayed.add((name, target))
                elif target not in state:
                    state[target] = 1
                    stack.append((target, iter(targets[target])))
                    break
            else:
                state[name] = 2
                finished.append(name)
                stack.pop()
    return finished[::-1], delayed
