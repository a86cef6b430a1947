"""Forward-mode differentiation (`torch.func.jvp`, `jacfwd`, `hessian`) through spikes."""

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import nn
from torch.func import hessian, jacfwd, jacrev, jvp, vmap

from sj_core import functional, layer, neuron, surrogate

KINDS = [
    kind
    for kind in vars(surrogate).values()
    if isinstance(kind, type) and issubclass(kind, surrogate.SurrogateFunctionBase)
]
SURROGATES = [kind for kind in KINDS if kind is not surrogate.SurrogateFunctionBase]
X = torch.tensor([-1.7, -0.6, -0.2, 0.15, 0.4, 1.3], dtype=torch.float64)


@pytest.mark.parametrize("kind", SURROGATES)
def test_the_tangent_of_a_spike_is_the_surrogates(kind):
    function, tangent = kind(), torch.linspace(-1, 1, 6, dtype=torch.float64)
    spike, pushed = jvp(function, (X,), (tangent,))
    assert torch.equal(spike, (X >= 0).double())
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(x).sum(), x)
    torch.testing.assert_close(pushed, slope * tangent)
    batch = torch.stack([X, X.flip(0) + 0.07])
    torch.testing.assert_close(vmap(jacfwd(function))(batch), vmap(jacrev(function))(batch))


def test_a_function_form_has_a_tangent_too():
    _, pushed = jvp(surrogate.rect, (X,), (torch.full_like(X, 2.0),))
    assert pushed.tolist() == [0.0, 0.0, 2.0, 2.0, 2.0, 0.0]


def test_the_hessian_of_a_smooth_surrogate():
    """Of the logistic function: g'' = alpha^2 g (1 - g) (1 - 2 g)."""
    g = torch.sigmoid(3.0 * X)
    function = surrogate.Sigmoid(3.0, spiking=False)
    expected = 9.0 * g * (1 - g) * (1 - 2 * g)
    torch.testing.assert_close(hessian(lambda x: function(x).sum())(X), expected.diag())


def test_the_tangent_of_a_smooth_net_is_its_directional_derivative():
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(3, 4), neuron.LIFNode(), layer.Linear(4, 2), neuron.IFNode())
    functional.set_step_mode(net.double(), "m")
    functional.set_spiking_mode(net, False)
    x, tangent = torch.rand(2, 5, 2, 3, dtype=torch.float64)

    def run(x):
        return functional.functional_forward(net, None, x)[0]

    _, pushed = jvp(run, (x,), (tangent,))
    step = 1e-6
    numeric = (run(x + step * tangent) - run(x - step * tangent)) / (2 * step)
    torch.testing.assert_close(pushed, numeric.detach(), rtol=1e-6, atol=1e-8)


def test_a_dual_tensor_keeps_its_tangent():
    """Also where a plan of the kernels is at hand: they have no forward mode."""
    torch.manual_seed(1)
    node = neuron.LIFNode(step_mode="m")
    x, tangent = torch.randn(2, 4, 3, 5)
    node(x)
    node.reset()
    with forward_ad.dual_level():
        pushed = forward_ad.unpack_dual(node(forward_ad.make_dual(x, tangent))).tangent
    node.reset()
    _, expected = jvp(lambda x: functional.functional_forward(node, None, x)[0], (x,), (tangent,))
    assert expected.count_nonzero() > 0
    torch.testing.assert_close(pushed, expected)
    with forward_ad.dual_level():
        node(x)  # and without a tangent, as ever
