"""Activation checkpointing of a user's module whose `forward` is its own."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sj_core import base, encoding, functional, neuron

X = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(0)) * 2


class Leaking(base.MemoryModule):
    """A user's module with a forward of its own, which calls nothing of the base."""

    def __init__(self):
        super().__init__("m")
        self.register_memory("v", 0.0)

    def forward(self, x_seq):
        outputs = []
        for x in x_seq:
            self.v = 0.5 * self.v + x
            outputs.append(self.v)
        return torch.stack(outputs)


class Scaled(neuron.LIFNode):
    """A user's neuron that calls the forward of its base."""

    def forward(self, x):
        return super().forward(2 * x)


class Drawn(neuron.BaseNode):
    """A user's neuron with a forward of its own."""

    def forward(self, x_seq):
        self.v = torch.zeros_like(x_seq[0]) if isinstance(self.v, float) else self.v
        return torch.stack([self._step(x) for x in x_seq])

    def neuronal_charge(self, x):
        return 0.5 * self.v + x


def gradient(module, call):
    x = X.clone().requires_grad_()
    call(module, x).square().sum().backward()
    return x.grad


def squared(use_reentrant):
    # A square saves its input, so that it must be computed again.
    return lambda m, x: checkpoint(lambda x: m(x) ** 2, x, use_reentrant=use_reentrant)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize(
    "make",
    [Leaking, lambda: Scaled(step_mode="m"), lambda: Drawn(step_mode="m")],
    ids=["module", "LIF", "neuron"],
)
class TestOwnForward:
    def test_from_the_state_that_the_first_forward_left_it_raises(self, make, use_reentrant):
        with pytest.raises(RuntimeError, match=r"`v` of .*functional_forward.*reset_net"):
            gradient(make(), squared(use_reentrant))

    def test_from_a_reset_within_it_is_right(self, make, use_reentrant):
        module = make()
        expected = gradient(module, lambda m, x: m(x) ** 2)

        def run(x):
            functional.reset_net(module)
            return module(x) ** 2

        found = gradient(module, lambda _, x: checkpoint(run, x, use_reentrant=use_reentrant))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("use_reentrant", [False, True])
class TestLeaking:
    def test_that_sets_the_state_before_it_reads_it_is_right(self, use_reentrant):
        class Fresh(Leaking):
            def forward(self, x_seq):
                self.v = torch.zeros(2, 3)  # no reset() is called
                return super().forward(x_seq)

        module = Fresh()
        expected = gradient(module, lambda m, x: m(x))
        found = gradient(module, squared(use_reentrant))
        # y = (x @ decays) ** 2, so that the sum of squares is of the fourth power
        decays = torch.tril(0.5 ** (torch.arange(5.0)[:, None] - torch.arange(5.0)))
        v = torch.einsum("ts,snc->tnc", decays, X)
        torch.testing.assert_close(expected, torch.einsum("ts,tnc->snc", decays, 2 * v))
        torch.testing.assert_close(found, torch.einsum("ts,tnc->snc", decays, 4 * v**3))

    def test_that_raises_leaves_the_state_that_it_hid(self, use_reentrant):
        module = Leaking()
        with pytest.raises(RuntimeError, match="`v` of Leaking"):
            gradient(module, squared(use_reentrant))
        decays = 0.5 ** torch.arange(4.0, -1, -1)
        torch.testing.assert_close(module.v.detach(), torch.einsum("t,tnc->nc", decays, X))

    def test_its_own_mistake_is_told_as_it_is(self, use_reentrant):
        class Misspelt(Leaking):
            def forward(self, x_seq):
                if base.backward_at_work() != -1:
                    return self.no_such_name
                return super().forward(x_seq)

        with pytest.raises(AttributeError, match="no_such_name"):
            gradient(Misspelt(), squared(use_reentrant))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_an_encoder_that_goes_on_to_later_steps(use_reentrant):
    encoder = encoding.LatencyEncoder(3)
    linear, x = nn.Linear(3, 3), X[0].clamp(max=1).requires_grad_()

    def run(x):
        return linear(encoder(x) * x) ** 2

    y = checkpoint(run, x, use_reentrant=use_reentrant)
    with pytest.raises(RuntimeError, match=r"`spike` of LatencyEncoder.*reset_net"):
        y.sum().backward()
