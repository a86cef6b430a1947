"""Settings of neurons that the tests of their equations and of their gradients share."""

LEAKY = [
    {"tau": 2.0, "decay_input": True},
    {"tau": 1.3, "decay_input": False},
    {"tau": 5.0, "decay_input": True, "v_rest": 0.13},
    {"tau": 3, "decay_input": False, "v_rest": -0.2},
]


def build(cls, setting, **common):
    """A neuron of these settings; `k` is the slope that KLIF learns, in float64."""
    setting = dict(setting)
    k = setting.pop("k", None)
    node = cls(**setting, **common)
    if k is not None:
        node = node.double()
        node.k.data.fill_(k)
    return node
