"""The state of a net as a value, under torch.func, checkpointing and torch.compile."""

import pytest
import torch
from state_cases import make_net
from torch import nn
from torch.utils.checkpoint import checkpoint

from sj_core import functional


def test_vmap_over_a_stack_of_states():
    net = make_net()
    x = torch.randn(2, 3, dtype=torch.float64)
    states = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        new = functional.functional_forward(
            net, None, torch.randn(2, 3, generator=generator, dtype=torch.float64)
        )[1]
        states.append({k: v.detach() for k, v in new.items()})
    stack = {k: torch.stack([s[k] for s in states]) for k in states[0]}
    run = torch.vmap(lambda s: functional.functional_forward(net, s, x))
    y, new = run(stack)
    for i, state in enumerate(states):
        expected, expected_state = functional.functional_forward(net, state, x)
        torch.testing.assert_close(y[i], expected)
        for k in expected_state:
            torch.testing.assert_close(new[k][i], expected_state[k])
    assert functional.get_state(net) == {}


def test_per_sample_gradients():
    net = make_net()
    params = {k: v.detach() for k, v in net.named_parameters()}
    x = 3 * torch.randn(6, 3, dtype=torch.float64)

    def loss(params, x):
        renamed = {f"net.{k}": v for k, v in params.items()}
        return torch.func.functional_call(wrapper, renamed, (x[None],)).sum()

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return functional.functional_forward(self.net, None, x)[0]

    wrapper = Wrapper()
    per_sample = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(params, x)
    for i in range(6):
        net.zero_grad()
        functional.reset_net(net)
        net(x[i : i + 1]).sum().backward()
        for name, p in net.named_parameters():
            torch.testing.assert_close(per_sample[name][i], p.grad)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_does_not_advance_the_state_twice(use_reentrant):
    net = make_net()
    xs = 3 * torch.randn(4, 2, 3, dtype=torch.float64)

    def sequence(step):
        net.zero_grad()
        functional.reset_net(net)
        x = xs.clone().requires_grad_()
        state, total = {"1.v": x.new_zeros(2, 5), "3.v": x.new_zeros(2, 4)}, 0.0
        for t in range(4):
            y, state["1.v"], state["3.v"] = step(x[t], state["1.v"], state["3.v"])
            total = total + y.sum() * (t + 1)
        total.backward()
        return total.detach(), x.grad, [p.grad.clone() for p in net.parameters()], state

    def plain(x, v1, v3):
        y, new = functional.functional_forward(net, {"1.v": v1, "3.v": v3}, x)
        return y, new["1.v"], new["3.v"]

    def saved(*args):
        return checkpoint(plain, *args, use_reentrant=use_reentrant)

    expected, got = sequence(plain), sequence(saved)
    assert torch.equal(got[0], expected[0])
    torch.testing.assert_close(got[1], expected[1])
    for a, b in zip(got[2], expected[2], strict=True):
        torch.testing.assert_close(a, b)
    assert all(torch.equal(got[3][k], expected[3][k]) for k in got[3])
    assert functional.get_state(net) == {}


@pytest.mark.slow
def test_compile_without_a_graph_break_or_recompile():
    net = make_net(dtype=torch.float32)
    functional.set_backend(net, "torch")
    xs = 3 * torch.randn(5, 2, 3)

    def step(state, x):
        return functional.functional_forward(net, state, x)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    state = expected_state = {"1.v": torch.zeros(2, 5), "3.v": torch.zeros(2, 4)}
    with torch.no_grad():
        for t, x in enumerate(xs):
            expected, expected_state = step(expected_state, x)
            if t == 1:
                torch._dynamo.config.error_on_recompile = True
            try:
                y, state = compiled(state, x)
            finally:
                torch._dynamo.config.error_on_recompile = False
            torch.testing.assert_close(y, expected)
    assert functional.get_state(net) == {}
