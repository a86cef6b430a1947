"""The gates of the recurrent cells, written from the equations: the oracle of their tests."""

import math

import torch

KINDS = {"lstm": 4, "gru": 3, "vanilla": 1}
DERIVATIVES = {
    ("ATan", (2.0,)): lambda x: 1 / (1 + (math.pi * x) ** 2),
    ("Erf", (1.5,)): lambda x: 1.5 / math.sqrt(math.pi) * torch.exp(-((1.5 * x) ** 2)),
    ("Sigmoid", (4.0,)): lambda x: 4 * torch.sigmoid(4 * x) * torch.sigmoid(-4 * x),
    ("PiecewiseLeakyReLU", (1.0, 0.01)): lambda x: 0.01 + 0.49 * (x.abs() < 1).to(x),
    ("S2NN", (4.0, 1.0)): lambda x: torch.where(
        x < 0, 4 * torch.sigmoid(4 * x) * torch.sigmoid(-4 * x), 1 / (x.abs() + 1)
    ),
}
SURROGATES = list(DERIVATIVES)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
UNIT = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 2e-6, torch.float64: 1e-12}


def theta(x):
    return (x >= 0).to(x)


def forward(kind, pre_x, hw, h, c, clamp):
    """(h', aux, complete pre-activations) of one step."""
    if kind == "vanilla":
        return theta(pre_x + hw), None, pre_x + hw
    size = h.shape[1]
    if kind == "gru":
        rz = pre_x[:, : 2 * size] + hw[:, : 2 * size]
        r, z = theta(rz).chunk(2, 1)
        a = pre_x[:, 2 * size :] + r * hw[:, 2 * size :]
        return (1 - z) * theta(a) + z * h, hw[:, 2 * size :], torch.cat([rz, a], 1)
    i, f, g, o = theta(pre_x + hw).chunk(4, 1)
    c = (f * c + i * g).clamp(max=math.inf if clamp is None else clamp)
    return o * c, c, pre_x + hw


def backward(kind, pre, h, c, aux, gh, gc, d1, d2):
    """(gp, gn, direct gh, gc) of one step."""
    if kind == "vanilla":
        return d1(pre) * gh, None, torch.zeros_like(gh), None
    if kind == "gru":
        r, z, a = pre.chunk(3, 1)
        ga = gh * (1 - theta(z)) * d2(a)
        gp = [d1(r) * ga * aux, d1(z) * gh * (h - theta(a)), ga * theta(r)]
        return torch.cat(gp, 1), ga, gh * theta(z), None
    i, f, g, o = pre.chunk(4, 1)
    gc = gc + gh * theta(o)
    gp = [d1(i) * gc * theta(g), d1(f) * gc * c, d2(g) * gc * theta(i), d1(o) * gh * aux]
    return torch.cat(gp, 1), None, torch.zeros_like(gh), gc * theta(f)
