"""Hooks behind the ReLUs of a network, and the run over a loader that fills them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx
from tqdm import tqdm

from sj_convert.activation import relu_ceiling
from sj_convert.flow import module_of
from sj_convert.loader import batches, device_of
from sj_convert.modules import VoltageHook
from sj_convert.rewrite import finish, put


def set_hooks(gm: fx.GraphModule, *, channel_wise: bool, **settings: Any) -> fx.GraphModule:
    """Put a `VoltageHook` with `settings` behind each ReLU of a normalised graph, in place."""
    for node in list(gm.graph.nodes):
        if relu_ceiling(gm, node) is None or any(
            isinstance(module_of(gm, user), VoltageHook) for user in node.users
        ):
            continue
        meta = node.meta.get("tensor_meta")
        by_channel = channel_wise and (meta is None or len(meta.shape) > 1)
        with torch.device(device_of(gm)):
            hook = VoltageHook(channel_wise=by_channel, **settings)
        path = str(node.target).rpartition(".")[0] + ".hook"
        put(gm, path, hook)
        with gm.graph.inserting_after(node):
            hooked = gm.graph.call_module(path, (node,))
        hooked.meta = dict(node.meta)
        node.replace_all_uses_with(hooked, delete_user_cb=lambda u, own=hooked: u is not own)
    return finish(gm)


def calibrate(
    gm: fx.GraphModule, dataloader: Iterable[Any], device: torch.device, *, progress: bool
) -> None:
    """Run the loader through the hooked network, in eval mode but for the hooks."""
    gm.eval()
    for module in gm.modules():
        if isinstance(module, VoltageHook):
            module.train()
    disable = None if progress else True  # None: shown on a terminal only
    for inputs in tqdm(batches(gm, dataloader, device), desc="Calibrating", disable=disable):
        gm(*inputs)
    gm.eval()
