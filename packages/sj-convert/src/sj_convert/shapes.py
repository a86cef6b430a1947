"""The shapes of all tensors in a network, found by running it once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx
from torch.fx.node import map_aggregate
from torch.fx.passes.shape_prop import TensorMetadata


class _Shapes(fx.Interpreter):
    """As fx's `ShapeProp`, which prints a traceback and hides the error in pages of its own."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        tensors: list[Tensor] = []

        def described(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            tensors.append(value)
            return TensorMetadata(
                value.shape, value.dtype, value.requires_grad, value.stride(), None, False, {}
            )

        meta = map_aggregate(result, described)
        if tensors:
            n.meta["tensor_meta"] = meta
        return result


def find_shapes(gm: fx.GraphModule, inputs: Sequence[Any], name: str) -> None:
    """Notes the metadata of each node's tensors; `name` is the argument that gave `inputs`.

    Raises `ValueError` where the network cannot take the inputs.
    """
    try:
        _Shapes(gm).run(*inputs)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        shown = " and ".join(
            f"{list(x.shape)} of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            for x in inputs
        )
        raise ValueError(
            f"`{name}` gives {shown}, which the network cannot take: {reason}."
        ) from error
