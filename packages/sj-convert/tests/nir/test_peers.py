"""Graphs that snnTorch and Norse write, against an Euler simulation in NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

# Not `nir` alone: without it this folder would be taken for a package of that name.
pytest.importorskip("nir.ir", reason="needs the extra sj-convert[nir]")

from euler_reference import simulate

from sj_convert.nir import from_nir

T = 200


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning")
def test_graph_written_by_snntorch():
    snn = pytest.importorskip("snntorch", reason="compares with snnTorch")
    export = pytest.importorskip(
        "snntorch.export_nir", reason="snnTorch's NIR export needs nirtorch"
    )
    torch.manual_seed(0)
    beta, theta = torch.full((4,), 0.9), torch.full((4,), 1.0)
    leaky = snn.Leaky(beta=beta, threshold=theta, init_hidden=True)
    net = nn.Sequential(nn.Linear(6, 4), leaky)
    graph = export.export_to_nir(net, torch.rand(1, 6), ignore_dims=[0])
    (lif,) = (n for n in graph.nodes.values() if type(n).__name__ == "LIF")
    x = torch.rand(T, 2, 6)
    with torch.no_grad():
        drive = net[0](x).double().numpy()
    expected = simulate(lif, drive)
    back = from_nir(graph)
    with torch.no_grad():
        found = torch.stack([back(step) for step in x])
    assert (found.double().numpy() != expected).mean() < 5e-3


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:nirtorch.extract_nir_graph:DeprecationWarning")
def test_graph_written_by_norse():
    norse = pytest.importorskip("norse.torch", reason="compares with Norse")
    export = pytest.importorskip("norse.torch.utils.export_nir", reason="needs nirtorch")
    torch.manual_seed(0)
    full = {"tau_mem_inv": 100.0, "v_leak": 0.1, "v_th": 1.0, "v_reset": 0.0}
    parameters = norse.LIFBoxParameters(**{k: torch.full((4,), v) for k, v in full.items()})
    cell = norse.LIFBoxCell(parameters)
    graph = export.to_nir(norse.SequentialState(nn.Linear(6, 4), cell), torch.rand(1, 6), dt=1e-3)
    (lif,) = (n for n in graph.nodes.values() if type(n).__name__ == "LIF")
    back = from_nir(graph, dt=1e-6)
    x = torch.rand(T, 2, 6) * 5
    with torch.no_grad():
        affine = next(n for n in graph.nodes.values() if type(n).__name__ in ("Affine", "Linear"))
        drive = x @ torch.as_tensor(np.asarray(affine.weight)).T
        drive = drive + torch.as_tensor(np.asarray(affine.bias))
        expected = simulate(lif, drive.double().numpy(), dt=1e-6)
        found = torch.stack([back(step) for step in x])
    assert (found.double().numpy() != expected).mean() < 5e-3
