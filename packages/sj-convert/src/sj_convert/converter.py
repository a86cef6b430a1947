"""The converter: a trained network in, a spiking one out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from tqdm import tqdm

from sj_convert.correction import correct_bias
from sj_convert.flow import module_of
from sj_convert.fuse import fuse
from sj_convert.loader import batches, device_of
from sj_convert.modules import (
    TINY_SCALE,
    VoltageHook,
    VoltageScaler,
    check_momentum,
    check_steps,
    parse_mode,
)
from sj_convert.neuron import BurstIFNode, ScaledIFNode, SignedIFNode
from sj_convert.pooling import check_max_pool, pool_over_time
from sj_convert.report import analog_nodes, refuse
from sj_convert.steps import channels_last, with_step_modes
from sj_convert.trace import (
    MAX_POOLS,
    calls_of,
    finish,
    normalise,
    put,
    relu_ceiling,
    trace,
)
from sj_core.neuron import BaseNode, IFNode

NEURONS: dict[str, type[ScaledIFNode]] = {
    "if": ScaledIFNode,
    "signed": SignedIFNode,
    "burst": BurstIFNode,
}
_PRESERVED = "_user_preserved_attributes"


class Converter(nn.Module):
    r"""Turn a trained network of ReLUs into a spiking one, without training.

    Each ReLU becomes an integrate-and-fire neuron with threshold :math:`\theta`. Given the input x
    at each of T steps, the sum of the output over T, divided by T, approaches the network's output:
    for one layer it is ``clip(floor(T a / theta + v_init), 0, T) theta / T`` of the activation a.

    The loader's batches (tensors, or tuples, lists or dicts that hold them) give the thresholds.
    `ann` is left as it was.

    Shapes: the result takes ``(N, *)`` per step, or ``(T, N, *)`` after
    ``functional.set_step_mode(snn, 'm')``. Call ``functional.reset_net(snn)`` between sequences.

    Args:
        dataloader: batches as the network takes them; only the inputs are used.
        device: where to calibrate and where the result lies; None: where `ann` lies.
        mode: threshold of a ReLU: 'max' (its largest activation), a percentile such as '99.9%', a
            number in (0, 1] (that fraction of the largest), or 'mse' (least squared error at `T`).
        momentum: of the running threshold over batches; None: the statistic of all batches.
        fuse_flag: fold BatchNorm into the weights.
        strict: raise where an operation has no spiking counterpart; False: keep it analog and
            list it in ``snn.conversion_report``.
        channel_wise: a threshold per channel (axis 1).
        fused: one neuron with threshold and output height theta instead of
            ``VoltageScaler(1/theta) -> IFNode(1.) -> VoltageScaler(theta)``.
        neuron: 'if', 'signed' (may take a spike back) or 'burst' (several spikes a step).
        v_init: initial voltage as a fraction of the threshold; 1/2 makes counts round.
        max_pool: 'running' (exact), 'gate' (for hardware) or 'spikes' (each step on its own).
        bias_correction: shift biases so that each channel's mean over the loader is the network's.
        T: number of time steps that 'mse' and `bias_correction` are for.
        progress: show bars on a terminal; False: never.

    Raises:
        ValueError: an argument outside its values, a missing `T`, an operation without spiking
            counterpart (`strict`), control flow that cannot be traced, or an empty loader.

    Rueckauer et al., "Conversion of continuous-valued deep networks to efficient event-driven
    networks for image classification" (2017); Li et al., "A free lunch from ANN: towards efficient,
    accurate spiking neural networks calibration" (2021); Bu et al., "Optimized potential
    initialization for low-latency spiking neural networks" (2022).

    Example:
        >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> snn = Converter([torch.rand(16, 4)], mode="max")(ann)
        >>> [type(m).__name__ for m in snn.snn_tailor.get_submodule("1").children()]
        ['VoltageScaler', 'IFNode', 'VoltageScaler']
    """

    def __init__(
        self,
        dataloader: Iterable[Any],
        device: torch.device | str | None = None,
        mode: str | float = "Max",
        momentum: float | None = 0.1,
        fuse_flag: bool = True,
        *,
        strict: bool = True,
        channel_wise: bool = False,
        fused: bool = False,
        neuron: str = "if",
        v_init: float = 0.0,
        max_pool: str = "running",
        bias_correction: bool = False,
        T: int | None = None,
        progress: bool = True,
    ) -> None:
        super().__init__()
        kind = parse_mode(mode).kind
        check_momentum(momentum)
        if neuron not in NEURONS:
            raise ValueError(f"`neuron` (={neuron!r}) must be 'if', 'signed' or 'burst'.")
        if isinstance(v_init, bool) or not isinstance(v_init, int | float):
            raise TypeError(
                f"`v_init` (={v_init!r}) must be a number, a fraction of the threshold."
            )
        if not 0 <= v_init < 1:
            raise ValueError(
                f"`v_init` (={v_init}) must lie in [0, 1), a fraction of the threshold."
            )
        if T is not None:
            check_steps(T)
        elif kind == "mse" or bias_correction:
            needs = "mode='mse'" if kind == "mse" else "bias_correction=True"
            raise ValueError(f"`T` (=None) must be the number of time steps for `{needs}`.")
        # The loader is gone through more than once, which an iterator would not outlive.
        self.dataloader = list(dataloader) if isinstance(dataloader, Iterator) else dataloader
        self.device = device
        self.mode = mode
        self.momentum = momentum
        self.fuse_flag = fuse_flag
        self.strict = strict
        self.channel_wise = channel_wise
        self.fused = fused
        self.neuron = neuron
        self.v_init = float(v_init)
        self.max_pool = check_max_pool(max_pool)
        self.bias_correction = bias_correction
        self.T = T
        self.progress = bool(progress)

    @classmethod
    def recommended(
        cls,
        dataloader: Iterable[Any],
        T: int,
        device: torch.device | str | None = None,
        **overrides: Any,
    ) -> Converter:
        """The settings that lose least at `T` steps; `overrides` are arguments of `Converter`.

        mode 'mse' at `T` over the whole loader, a threshold per channel, fused neurons that start
        at half their threshold, the running max pool, and bias correction.

        Example:
            >>> ann = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
            >>> snn = Converter.recommended([torch.rand(16, 4)], T=8)(ann)
            >>> type(snn.snn_tailor.get_submodule("1")).__name__
            'ScaledIFNode'
        """
        settings: dict[str, Any] = {
            "mode": "mse",
            "momentum": None,
            "channel_wise": True,
            "fused": True,
            "v_init": 0.5,
            "max_pool": "running",
            "bias_correction": True,
            "neuron": "if",
        }
        return cls(dataloader, device, **{**settings, "T": T, **overrides})

    def forward(self, ann: nn.Module) -> fx.GraphModule:
        """The spiking network of `ann`, in eval mode and step mode 's'."""
        device = device_of(ann) if self.device is None else torch.device(self.device)
        gm = trace(ann).to(device)
        normalise(gm, neurons_behind_pools=self.max_pool == "running")
        report = analog_nodes(gm)
        if self.strict:
            refuse(report)
        with torch.no_grad():
            ShapeProp(gm).propagate(*next(batches(gm, self.dataloader, device)))
            self.fuse(gm, self.fuse_flag)
            self.set_voltagehook(
                gm,
                self.mode,
                self.momentum,
                channel_wise=self.channel_wise,
                T=self.T,
                neuron=self.neuron,
                max_pool=self.max_pool,
            )
            means = self._calibrate(gm, device)
            snn = self.replace_by_ifnode(
                gm,
                fused=self.fused,
                neuron=self.neuron,
                v_init=self.v_init,
                max_pool=self.max_pool,
            ).to(device)
            if self.bias_correction:
                assert self.T is not None
                correct_bias(snn, means, self.dataloader, self.T, device, progress=self.progress)
        channels_last(snn)
        snn.conversion_report = report  # type: ignore[assignment]
        # Without this fx drops attributes of its own graph modules in a deep copy.
        snn.meta[_PRESERVED] = {**snn.meta.get(_PRESERVED, {}), "conversion_report": report}
        return snn.eval()

    def _calibrate(self, gm: fx.GraphModule, device: torch.device) -> dict[str, Tensor]:
        """Run the loader through the hooked network; mean activation of each site's channels."""
        gm.eval()
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        handles = []
        for path, module in gm.named_modules():
            if isinstance(module, VoltageHook):
                module.train()
                if self.bias_correction:
                    site = path.rpartition(".")[0]
                    handles.append(module.register_forward_hook(_add_up(site, sums, counts)))
        try:
            for inputs in tqdm(
                batches(gm, self.dataloader, device),
                desc="Calibrating",
                disable=None if self.progress else True,
            ):
                gm(*inputs)
        finally:
            for handle in handles:
                handle.remove()
        gm.eval()
        return {site: total / counts[site] for site, total in sums.items()}

    @staticmethod
    def fuse(fx_model: fx.GraphModule, fuse_flag: bool = True) -> fx.GraphModule:
        """Fold each BatchNorm into the convolution or Linear before it, in place.

        Skipped where another node reads the layer's output or calls the layer.

        Example:
            >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
            >>> gm = Converter.fuse(fx.symbolic_trace(net))
            >>> [node.target for node in gm.graph.nodes if node.op == "call_module"]
            ['0', '2']
        """
        return fuse(fx_model) if fuse_flag else fx_model

    @staticmethod
    def set_voltagehook(
        fx_model: fx.GraphModule,
        mode: str | float = "Max",
        momentum: float | None = 0.1,
        *,
        channel_wise: bool = False,
        T: int | None = None,
        neuron: str = "if",
        max_pool: str = "running",
    ) -> fx.GraphModule:
        """Put a `VoltageHook` behind each ReLU (of any form), in place."""
        normalise(fx_model, neurons_behind_pools=check_max_pool(max_pool) == "running")
        most = 5 if neuron == "burst" else 1
        for node in list(fx_model.graph.nodes):
            if relu_ceiling(fx_model, node) is None or any(
                isinstance(module_of(fx_model, user), VoltageHook) for user in node.users
            ):
                continue
            meta = node.meta.get("tensor_meta")
            by_channel = channel_wise and (meta is None or len(meta.shape) > 1)
            hook = VoltageHook(
                mode=mode, momentum=momentum, channel_wise=by_channel, T=T, most_spikes=most
            )
            path = str(node.target).rpartition(".")[0] + ".hook"
            put(fx_model, path, hook.to(device_of(fx_model)))
            with fx_model.graph.inserting_after(node):
                hooked = fx_model.graph.call_module(path, (node,))
            hooked.meta = dict(node.meta)
            node.replace_all_uses_with(hooked, delete_user_cb=lambda u, own=hooked: u is not own)
        return finish(fx_model)

    @staticmethod
    def replace_by_ifnode(
        fx_model: fx.GraphModule,
        *,
        fused: bool = False,
        neuron: str = "if",
        v_init: float = 0.0,
        max_pool: str = "running",
    ) -> fx.GraphModule:
        """Replace each ReLU and its `VoltageHook` by neurons with the hook's scale, in place.

        Max pools get their form over time, and everything else a step mode.
        """
        for node in calls_of(fx_model, VoltageHook):
            relu = node.args[0]
            ceiling = relu_ceiling(fx_model, relu) if isinstance(relu, fx.Node) else None
            if ceiling is None:
                continue
            assert isinstance(relu, fx.Node)
            hook = module_of(fx_model, node)
            assert isinstance(hook, VoltageHook)
            site = str(node.target).rpartition(".")[0]
            scale = _usable_scale(hook, relu)
            if neuron == "burst" and ceiling < math.inf:
                scale = scale.clamp(max=ceiling / BurstIFNode.most_spikes)
            if fused:
                chain: list[tuple[str, nn.Module]] = [(site, NEURONS[neuron](scale, v_init=v_init))]
            else:
                parts = (VoltageScaler(1 / scale), _unit_node(neuron, v_init), VoltageScaler(scale))
                put(fx_model, site, nn.Sequential(*parts))
                chain = [(f"{site}.{i}", part) for i, part in enumerate(parts)]
            value: Any = relu.args[0]
            for path, module in chain:
                put(fx_model, path, module.to(scale.device))
                with fx_model.graph.inserting_before(node):
                    value = fx_model.graph.call_module(path, (value,))
                value.meta = dict(node.meta)
            node.replace_all_uses_with(value)
            fx_model.graph.erase_node(node)
            fx_model.graph.erase_node(relu)
        for node in calls_of(fx_model, MAX_POOLS):
            pool = module_of(fx_model, node)
            assert pool is not None
            if not pool.return_indices:
                put(fx_model, str(node.target), pool_over_time(pool, check_max_pool(max_pool)))
        return finish(with_step_modes(fx_model))


def _add_up(site: str, sums: dict[str, Tensor], counts: dict[str, int]) -> Any:
    def add(module: nn.Module, args: Any, y: Tensor) -> None:
        if y.dim() < 2 or y.numel() == 0:
            return
        axes = [0, *range(2, y.dim())]
        sums[site] = sums.get(site, 0) + y.double().sum(axes)
        counts[site] = counts.get(site, 0) + y.numel() // y.shape[1]

    return add


def _unit_node(neuron: str, v_init: float) -> BaseNode:
    if neuron != "if":
        return NEURONS[neuron](1.0, v_init=v_init, scaled=False)
    node = IFNode(v_threshold=1.0, v_reset=None)
    if v_init:
        node.register_memory("v", v_init)
    return node


def _usable_scale(hook: VoltageHook, relu: fx.Node) -> Tensor:
    scale = hook.scale
    if not bool((scale > 0).any()):
        path = relu.meta.get("source_path", str(relu.target))
        warnings.warn(
            f"The ReLU `{path}` never fires on `dataloader`, as far as `mode` (={hook.mode!r}) "
            f"sees: its scale is set to {TINY_SCALE:.1e}; calibrate with data like that of "
            "training.",
            UserWarning,
            stacklevel=2,
        )
    return scale.clamp(min=TINY_SCALE)
