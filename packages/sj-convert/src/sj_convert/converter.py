"""The converter: a trained network in, a spiking one out."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import fx, nn

from sj_convert.correction import correct_bias
from sj_convert.fuse import fuse
from sj_convert.loader import batches, check_loader, count_inputs, device_of
from sj_convert.loading import layers_without_bias, let_biases_load
from sj_convert.modules import check_momentum, check_steps, check_v_init, parse_mode
from sj_convert.normalise import normalise
from sj_convert.observe import calibrate, set_hooks
from sj_convert.pooling import check_max_pool
from sj_convert.replace import NEURONS, replace_max_pools, replace_relus
from sj_convert.report import analog_nodes, refuse
from sj_convert.rewrite import finish
from sj_convert.shapes import find_shapes
from sj_convert.steps import channels_last, with_step_modes
from sj_convert.trace import trace, unwrapped

_PRESERVED = "_user_preserved_attributes"


class Converter(nn.Module):
    r"""Turn a trained network of ReLUs into a spiking one, without training.

    Each ReLU becomes an integrate-and-fire neuron with threshold :math:`\theta`. Given the input x
    at each of T steps, the sum of the output over T, divided by T, approaches the network's output:
    for one layer it is ``clip(floor(T a / theta + v_init), 0, T) theta / T`` of the activation a.

    The loader's batches (tensors, or tuples, lists or dicts that hold them) give the thresholds.
    `ann` is left as it was; arguments of its forward that the batches do not hold keep their
    defaults. Its forward hooks stay with it and do not run, except those of torch that compute
    weights.

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
        bias_correction: shift biases so that each channel's mean over the loader is the network's;
            neurons of kind 'if' also start as late, per channel, as suits their input best.
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
        check_loader(dataloader)
        kind = parse_mode(mode).kind
        check_momentum(momentum)
        if neuron not in NEURONS:
            raise ValueError(f"`neuron` (={neuron!r}) must be 'if', 'signed' or 'burst'.")
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
        self.v_init = check_v_init(v_init)
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
        net = unwrapped(ann)
        device = device_of(net) if self.device is None else torch.device(self.device)
        gm = trace(net, count_inputs(net, self.dataloader)).to(device)
        normalise(gm, neurons_behind_pools=self.max_pool == "running")
        report = analog_nodes(gm)
        if self.strict:
            refuse(report)
        with torch.no_grad():
            find_shapes(gm, next(batches(gm, self.dataloader, device)), "dataloader")
            self.fuse(gm, self.fuse_flag)
            analog = copy.deepcopy(gm) if self.bias_correction else None
            self.set_voltagehook(
                gm,
                self.mode,
                self.momentum,
                channel_wise=self.channel_wise,
                T=self.T,
                neuron=self.neuron,
                max_pool=self.max_pool,
            )
            calibrate(gm, self.dataloader, device, progress=self.progress)
            snn = self.replace_by_ifnode(
                gm,
                fused=self.fused,
                neuron=self.neuron,
                v_init=self.v_init,
                max_pool=self.max_pool,
            ).to(device)
            without_bias = layers_without_bias(snn)
            if analog is not None:
                assert self.T is not None
                correct_bias(snn, analog, self.dataloader, self.T, device, progress=self.progress)
        let_biases_load(snn, without_bias)
        channels_last(snn)
        snn.conversion_report = report  # type: ignore[assignment]
        # Without this fx drops attributes of its own graph modules in a deep copy.
        snn.meta[_PRESERVED] = {**snn.meta.get(_PRESERVED, {}), "conversion_report": report}
        return snn.eval()

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
        return set_hooks(
            fx_model,
            mode=mode,
            momentum=momentum,
            channel_wise=channel_wise,
            T=T,
            most_spikes=NEURONS[neuron].most_spikes,
        )

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
        replace_relus(fx_model, fused=fused, neuron=neuron, v_init=v_init)
        replace_max_pools(fx_model, check_max_pool(max_pool))
        return finish(with_step_modes(fx_model))
