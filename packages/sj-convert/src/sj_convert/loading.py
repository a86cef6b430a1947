"""A saved state in a conversion that was corrected otherwise, or not at all."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

BIASED = (nn.modules.conv._ConvNd, nn.Linear)


class Tailor(nn.Module):
    """What a conversion put into a network, by the site of each ReLU.

    A state without corrections (buffers that a module names in `corrections`) loads with zeros in
    their place. One with an entry that has no place here is refused, whatever `strict` says, which
    torch does not hand on: without that entry the network would be another.
    """

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        sites = {key.removeprefix(prefix).partition(".")[0] for key in state_dict}
        for path, module in self.named_modules():
            for name in getattr(module, "corrections", ()):
                value = getattr(module, name)
                if value is not None and path.partition(".")[0].removesuffix("_bias") in sites:
                    state_dict.setdefault(f"{prefix}{path}.{name}", torch.zeros_like(value))
        super()._load_from_state_dict(
            *(state_dict, prefix, local_metadata, strict),
            *(missing_keys, unexpected_keys, error_msgs),
        )
        strange = [key for key in state_dict if not self._has_place(key.removeprefix(prefix))]
        if strange:
            error_msgs.append(
                f"`state_dict` has {strange[0]!r}, for which this network has no place: a "
                "conversion with other settings saved it (such as `fused`, `neuron` and "
                "`bias_correction`); convert with the same settings and load into that."
            )

    def _has_place(self, key: str) -> bool:
        path, _, name = key.rpartition(".")
        module: Any = self
        for part in path.split("."):
            module = getattr(module, part, None)
        return hasattr(module, name)


def let_biases_load(gm: nn.Module, paths: list[str]) -> None:
    """Let the layers at `paths`, which the network has without bias, load a state with or without.

    Bias correction gives such layers a bias.
    """
    for path in paths:
        layer = gm.get_submodule(path)
        layer._load_state_dict_pre_hooks = layer._load_state_dict_pre_hooks.copy()  # its own
        layer._register_load_state_dict_pre_hook(_fit_bias, with_module=True)


def layers_without_bias(gm: nn.Module) -> list[str]:
    """Paths of the convolutions and Linears without a bias."""
    return [
        path
        for path, module in gm.named_modules()
        if isinstance(module, BIASED) and module.bias is None
    ]


def _fit_bias(layer: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    saved, own = state_dict.get(f"{prefix}bias"), layer.bias
    if saved is not None and own is None:
        like = layer.weight
        layer.bias = nn.Parameter(torch.empty_like(saved, dtype=like.dtype, device=like.device))
    elif saved is None and own is not None and f"{prefix}weight" in state_dict:
        layer.bias = None
