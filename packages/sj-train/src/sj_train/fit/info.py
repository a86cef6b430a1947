"""`sj-train info`: what is installed and what would run."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from sj_core import backend

PACKAGES = ("sj-core", "sj-kernels", "sj-rnn", "sj-convert", "sj-train")
OTHERS = ("torch", "lightning", "scikit-learn", "matplotlib", "torchvision", "tonic", "tensorboard")


def collect() -> dict[str, Any]:
    """Versions, backends, instruction set and CUDA, by name; None for what is not there."""
    kernels = backend.kernels()
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in (*PACKAGES, *OTHERS)},
        "backends": ["torch"] if kernels is None else ["torch", "native"],
        "kernels": None if kernels is None else kernels.build_info(),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda,
        "cuda devices": devices,
    }


def _version(name: str) -> str | None:
    if name == "torch":
        return str(torch.__version__)  # names the build too, as in 2.6.0+cu124
    try:
        return version(name)
    except PackageNotFoundError:
        # A source tree on the path is importable without metadata.
        module: Any = None
        if name in PACKAGES:
            import importlib

            try:
                module = importlib.import_module(name.replace("-", "_"))
            except ImportError:
                return None
        return getattr(module, "__version__", None)


def report(facts: dict[str, Any]) -> str:
    """The facts as lines for people."""
    lines = [f"Python {facts['python']}, {facts['threads']} threads, CPU {facts['cpu']}", ""]
    lines += [f"{name:14s} {value or '-'}" for name, value in facts["packages"].items()]
    lines += ["", "backends       " + ", ".join(facts["backends"])]
    if facts["kernels"] is None:
        lines.append("               native needs sj-kernels: pip install sj-kernels")
    else:
        for name, value in facts["kernels"].items():
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            lines.append(f"  {name:22s} {shown}")
    lines.append(f"CUDA           {facts['cuda'] or 'torch was built without it'}")
    lines += [f"  {name}" for name in facts["cuda devices"]]
    return "\n".join(lines)
