"""Each neuron against its equation, written out here in float64 for one element at a time."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from neuron_settings import LEAKY, build

from sj_core import neuron


def leak(v, x, tau, v0, decay_input):
    return v + (x - (v - v0)) / tau if decay_input else v - (v - v0) / tau + x


def reset(h, s, v_th, v_reset):
    return s * v_reset + (1 - s) * h if v_reset is not None else h - s * v_th


def rest(setting):
    if setting.get("v_rest") is not None:
        return setting["v_rest"]
    return setting["v_reset"] or 0.0


def run_if(xs, q):
    v, out = q["v_reset"] or 0.0, []
    for x in xs:
        h = v + x
        s = float(h >= q["v_threshold"])
        v = reset(h, s, q["v_threshold"], q["v_reset"])
        out.append((s, v))
    return out


def run_lif(xs, q):
    v, out = q["v_reset"] or 0.0, []
    for x in xs:
        h = leak(v, x, q["tau"], rest(q), q["decay_input"])
        s = float(h >= q["v_threshold"])
        v = reset(h, s, q["v_threshold"], q["v_reset"])
        out.append((s, v))
    return out


def run_qif(xs, q):
    v, out = q["v_reset"] or 0.0, []
    for x in xs:
        h = v + (x + q["a0"] * (v - q["v_rest"]) * (v - q["v_c"])) / q["tau"]
        s = float(h >= q["v_threshold"])
        v = reset(h, s, q["v_threshold"], q["v_reset"])
        out.append((s, v))
    return out


def run_eif(xs, q):
    v, out = q["v_reset"] or 0.0, []
    for x in xs:
        rise = q["delta_T"] * math.exp((v - q["theta_rh"]) / q["delta_T"])
        h = v + (x + q["v_rest"] - v + rise) / q["tau"]
        s = float(h >= q["v_threshold"])
        v = reset(h, s, q["v_threshold"], q["v_reset"])
        out.append((s, v))
    return out


def run_izhikevich(xs, q):
    v, w, out = q["v_reset"] or 0.0, q["w_rest"], []
    for x in xs:
        h = v + (x + q["a0"] * (v - q["v_rest"]) * (v - q["v_c"]) - w) / q["tau"]
        w = w + (q["a"] * (h - q["v_rest"]) - w) / q["tau_w"]
        s = float(h >= q["v_threshold"])
        v = reset(h, s, q["v_threshold"], q["v_reset"])
        w = w + q["b"] * s
        out.append((s, v))
    return out


def run_adaptive(xs, q):
    v, a, out = q["v_reset"] or 0.0, 0.0, []
    for x in xs:
        h = leak(v, x, q["tau"], rest(q), q["decay_input"])
        v_th = q["v_threshold"] + q["beta"] * a
        s = float(h >= v_th)
        v = reset(h, s, v_th, q["v_reset"])
        a = a * math.exp(-1 / q["tau_a"]) + s
        out.append((s, v))
    return out


def run_klif(xs, q):
    v, out, k = q["v_reset"] or 0.0, [], q["k"]
    for x in xs:
        h = max(0.0, k * leak(v, x, q["tau"], rest(q), q["decay_input"]))
        s = float(h >= q["v_threshold"])
        if q["scale_reset"]:
            v = reset(h / k, s, q["v_threshold"] / k, q["v_reset"])
        else:
            v = reset(h, s, q["v_threshold"], q["v_reset"])
        out.append((s, v))
    return out


def run_cuba(xs, q):
    v, c, out = q["v_reset"] or 0.0, 0.0, []
    for x in xs:
        c = q["c_decay"] * c + x
        h = q["v_decay"] * v + c
        s = float(h >= q["v_threshold"])
        v = reset(h, s, q["v_threshold"], q["v_reset"])
        out.append((s, v))
    return out


def run_liaf(xs, q):
    v, out = q["v_reset"] or 0.0, []
    for x in xs:
        h = leak(v, x, q["tau"], rest(q), q["decay_input"])
        s = float(h >= q["v_threshold"])
        y = math.tanh(h - q["v_threshold"] if q["threshold_related"] else h)
        v = reset(h, s, q["v_threshold"], q["v_reset"])
        out.append((y, v))
    return out


CASES = [
    (neuron.IFNode, run_if, [{}]),
    (neuron.LIFNode, run_lif, LEAKY),
    (
        neuron.QIFNode,
        run_qif,
        [
            {"tau": 2.0, "v_c": 0.8, "a0": 1.0, "v_rest": 0.0},
            {"tau": 1.5, "v_c": 0.5, "a0": 0.7, "v_rest": -0.3},
        ],
    ),
    (
        neuron.EIFNode,
        run_eif,
        [
            {"tau": 2.0, "delta_T": 1.0, "theta_rh": 0.8, "v_rest": 0.0},
            {"tau": 3.5, "delta_T": 0.3, "theta_rh": 0.6, "v_rest": 0.1},
        ],
    ),
    (
        neuron.IzhikevichNode,
        run_izhikevich,
        [
            {"tau": 2.0, "v_c": 0.8, "a0": 1.0, "v_rest": -0.1}
            | {"w_rest": 0.0, "tau_w": 2.0, "a": 0.0, "b": 0.0},
            {"tau": 1.5, "v_c": 0.5, "a0": 0.6, "v_rest": -0.2}
            | {"w_rest": 0.1, "tau_w": 7.0, "a": 0.4, "b": 0.3},
        ],
    ),
    (
        neuron.AdaptiveLIFNode,
        run_adaptive,
        [{**q, "tau_a": 20.0, "beta": 1.0} for q in LEAKY[:2]]
        + [{**LEAKY[2], "tau_a": 3.0, "beta": 0.2}],
    ),
    (
        neuron.KLIFNode,
        run_klif,
        [{**q, "scale_reset": scale, "k": 1.4} for q in LEAKY[:3] for scale in (False, True)],
    ),
    (
        neuron.CUBALIFNode,
        run_cuba,
        [{"c_decay": 0.5, "v_decay": 0.75}, {"c_decay": 0.0, "v_decay": 1}],
    ),
    (
        neuron.LIAFNode,
        run_liaf,
        [{**q, "act": torch.tanh, "threshold_related": r} for q in LEAKY for r in (False, True)],
    ),
]
FLAT = [
    pytest.param(cls, run, q, id=f"{cls.__name__}-{i}")
    for cls, run, qs in CASES
    for i, q in enumerate(qs)
]


@pytest.mark.parametrize("v_reset", [0.0, -0.15, None])
@pytest.mark.parametrize(("cls", "run", "setting"), FLAT)
def test_node_follows_its_equation(cls, run, setting, v_reset):
    torch.manual_seed(0)
    # With soft reset, the neurons that rise by themselves run away from a strong input.
    runs_away = v_reset is None and cls in (neuron.EIFNode, neuron.QIFNode, neuron.IzhikevichNode)
    x_seq = torch.rand(23, 2, 3, dtype=torch.float64) * (1.4 if runs_away else 3.5) - 0.3
    q = {**setting, "v_threshold": 0.9, "v_reset": v_reset}
    node = build(cls, setting, v_threshold=0.9, v_reset=v_reset, step_mode="m", store_v_seq=True)
    out = node(x_seq)
    fired = 0.0
    for i in range(2):
        for j in range(3):
            expected = run(x_seq[:, i, j].tolist(), q)
            y = torch.tensor([e[0] for e in expected], dtype=torch.float64)
            v = torch.tensor([e[1] for e in expected], dtype=torch.float64)
            torch.testing.assert_close(out[:, i, j], y, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(node.v_seq[:, i, j], v, rtol=1e-9, atol=1e-10)
            fired += float((y > 0).sum())
    assert fired > 3
    torch.testing.assert_close(node.v_seq[-1], node.v, rtol=0, atol=0)


@given(
    tau=st.floats(1.05, 30.0),
    decay_input=st.booleans(),
    v_reset=st.one_of(st.none(), st.floats(-0.5, 0.5)),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_lif_and_plif_follow_the_equation_for_any_setting(tau, decay_input, v_reset, seed):
    x = torch.randn(12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.8
    q = {"tau": tau, "decay_input": decay_input, "v_threshold": 1.0, "v_reset": v_reset}
    expected = [s for s, _ in run_lif(x.tolist(), q)]
    lif = neuron.LIFNode(tau, decay_input, v_reset=v_reset, step_mode="m")
    assert lif(x.unsqueeze(1)).flatten().tolist() == expected
    plif = neuron.ParametricLIFNode(tau, decay_input, v_reset=v_reset, step_mode="m").double()
    plif.w.data.fill_(-math.log(tau - 1))
    assert plif(x.unsqueeze(1)).flatten().tolist() == expected
