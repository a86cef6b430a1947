"""Give every stateless operation of a traced network a step mode."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from sj_convert.batch_axis import crosses_batch
from sj_convert.flow import Flow, module_of, operation_name
from sj_convert.rewrite import Sites, put, replace_call
from sj_convert.trace import source_line
from sj_core import layer
from sj_core.base import StepModule

# Operations that act on each element, so that a time axis in front changes nothing.
_ELEMENTWISE = {
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pos),
    *(torch.add, torch.sub, torch.subtract, torch.mul, torch.multiply, torch.div, torch.divide),
    *(torch.neg, torch.negative, torch.clone, torch.zeros_like, torch.ones_like),
    *("add", "sub", "mul", "div", "neg", "clone", "contiguous", "detach", "float", "double"),
    *("half", "bfloat16", "to", "type_as"),
}


class FoldedCall(nn.Module, StepModule):
    """Call a stateless operation on one step, or on a sequence with T folded into the batch.

    In 'm' every tensor ``(T, N, *)`` among the arguments is given to the operation as
    ``(T*N, *)``, and every tensor it returns gets its two axes back. What is no tensor (a size,
    say) passes as it is, so sizes are those of the folded tensors throughout. An operation across
    the batch is called at each step instead.

    Args:
        operation: a function, the name of a tensor method, or a module.
        constants: positions and names of arguments that have no time axis, such as weights.
        by_step: whether the operation works across the batch.

    Example:
        >>> mean = FoldedCall("mean")
        >>> mean.step_mode = "m"
        >>> mean(torch.ones(5, 2, 3, 4, 4), (2, 3)).shape
        torch.Size([5, 2, 3])
    """

    keeps_step_mode_of_children = True

    def __init__(
        self,
        operation: Callable[..., Any] | str,
        constants: tuple[int | str, ...] = (),
        *,
        by_step: bool = False,
        step_mode: str = "s",
    ) -> None:
        super().__init__()
        self.by_step = by_step
        self.operation = operation
        self.constants = constants
        self.step_mode = step_mode

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.step_mode == "s":
            return self._call(*args, **kwargs)
        lengths: list[int] = []

        def measure(x: Tensor) -> Tensor:
            lengths.append(x.shape[0])
            return x

        self._given(measure, args, kwargs)
        if not lengths:
            return self._call(*args, **kwargs)
        T = lengths[0]
        if T == 0:  # a step of zeros tells the shape of an empty sequence
            args, kwargs = self._given(lambda x: x.new_zeros(1, *x.shape[1:]), args, kwargs)
        if self.by_step:
            steps = [
                self._call(*a, **k)
                for a, k in (
                    self._given(lambda x, t=t: x[t], args, kwargs)  # type: ignore[misc]
                    for t in range(max(T, 1))
                )
            ]
            y = _stacked(steps)
        else:
            args, kwargs = self._given(lambda x: x.flatten(0, 1), args, kwargs)
            y = _map(lambda x: x.unflatten(0, (max(T, 1), -1)), self._call(*args, **kwargs))
        return y if T else _map(lambda x: x[:0], y)

    def _given(self, fn: Callable[[Tensor], Tensor], args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments with `fn` applied to the tensors that have a time axis."""
        return (
            tuple(a if i in self.constants else _map(fn, a) for i, a in enumerate(args)),
            {k: v if k in self.constants else _map(fn, v) for k, v in kwargs.items()},
        )

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.operation, str):
            # The layout of an activation is ours to choose, and `view` would depend on it.
            name = "reshape" if self.operation == "view" else self.operation
            return getattr(args[0], name)(*args[1:], **kwargs)
        return self.operation(*args, **kwargs)

    def extra_repr(self) -> str:
        if isinstance(self.operation, nn.Module):
            return f"step_mode={self.step_mode!r}"
        name = getattr(self.operation, "__name__", self.operation)
        return f"{name}, step_mode={self.step_mode!r}"


class BatchConstant(nn.Module, StepModule):
    """Call an operation that lays a constant out over the batch: ``token.expand(N, -1, -1)``.

    Sizes count time steps and samples together in 'm'; the first argument tells them apart.

    Example:
        >>> layout = BatchConstant("expand")
        >>> layout.step_mode = "m"
        >>> x, token = torch.zeros(5, 2, 3), torch.ones(1, 4)
        >>> layout(x, token, 10, -1).shape
        torch.Size([5, 2, 4])
    """

    def __init__(self, operation: Callable[..., Any] | str, *, step_mode: str = "s") -> None:
        super().__init__()
        self.operation = operation
        self.step_mode = step_mode

    def forward(self, x: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y: Tensor
        if isinstance(self.operation, str):
            y = getattr(value, self.operation)(*args, **kwargs)
        else:
            y = self.operation(value, *args, **kwargs)
        if self.step_mode == "s":
            return y
        T = x.shape[0]
        return y.unflatten(0, (max(T, 1), -1))[:T]


def _map(fn: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return fn(value)
    # Tuples of types: dynamo of torch 2.6 knows no unions.
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)(_map(fn, item) for item in value)
    return value


def _stacked(steps: list[Any]) -> Any:
    if isinstance(steps[0], Tensor):
        return torch.stack(steps)
    if isinstance(steps[0], (list, tuple)) and not isinstance(steps[0], torch.Size):
        return type(steps[0])(_stacked(list(items)) for items in zip(*steps, strict=True))
    return steps[0]


def with_step_modes(gm: fx.GraphModule) -> fx.GraphModule:
    """Replace, in place, what does not know the time axis by what does."""
    flow = Flow(gm)
    sites = Sites(gm)
    # Decided before the first change: the flow knows the nodes of now.
    folded = [
        (node, flow.constant_arguments(node), _by_step(gm, node, flow))
        for node in gm.graph.nodes
        if node.op in ("call_function", "call_method")
        and flow.reads_time(node)
        and node.target not in _ELEMENTWISE
    ]
    led = [(node, x) for node in gm.graph.nodes if (x := flow.batch_of(node)) is not None]
    for node, x in led:
        path = sites.add(node, getattr(node.target, "__name__", str(node.target)))
        put(gm, path, BatchConstant(node.target))
        replace_call(gm, node, path, (x, *node.args), node.kwargs)
    for node in gm.graph.nodes:
        module = module_of(gm, node)
        if module is not None and not isinstance(module, StepModule | nn.ReLU | nn.Hardtanh):
            put(gm, str(node.target), _with_step_mode(module))
    for node, constants, by_step in folded:
        path = sites.add(node, getattr(node.target, "__name__", str(node.target)))
        put(gm, path, FoldedCall(node.target, constants, by_step=by_step))
        replace_call(gm, node, path, node.args, node.kwargs)
    return gm


def _by_step(gm: fx.GraphModule, node: fx.Node, flow: Flow) -> bool:
    name = operation_name(gm, node)
    if not crosses_batch(node, name, flow):
        return False
    sizes = [s for s in node.all_input_nodes if s in flow.timed and s not in flow.carriers(node)]
    if sizes:
        raise ValueError(
            f"`ann` calls `{node.name}` ({name}) at {source_line(node)} across the batch with a "
            "size that depends on the input; split and join along the batch by `chunk` and `cat`."
        )
    return True


def channels_last(gm: fx.GraphModule) -> fx.GraphModule:
    """Lay the weights of 2-d convolutions on the CPU out channels-last, in place.

    Convolutions then give their outputs the same layout, and what follows keeps it. There they need
    no reordering before and after, and pools are vectorised: a third less time for T*N images.
    """
    for module in gm.modules():
        if isinstance(module, nn.Conv2d) and module.weight.device.type == "cpu":
            weight = module.weight.data
            module.weight.data = weight.contiguous(memory_format=torch.channels_last)
    return gm


def _with_step_mode(module: nn.Module) -> nn.Module:
    cls = getattr(layer, type(module).__name__, None)
    if cls is None or type(module) not in cls.__mro__ or type(module) is cls:
        return FoldedCall(module)
    twin: nn.Module = cls.__new__(cls)
    twin.__dict__.update(module.__dict__)
    return twin
