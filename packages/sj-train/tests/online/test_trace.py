import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sj_train.online.trace import TraceMode

LAYERS = [
    (lambda: nn.Linear(6, 4), (3, 6)),
    (lambda: nn.Linear(6, 4, bias=False), (3, 2, 6)),
    (lambda: nn.Linear(6, 4), (6,)),
    (lambda: nn.Conv1d(4, 6, 3), (2, 4, 9)),
    (lambda: nn.Conv1d(4, 6, 4, padding="same", dilation=2), (2, 4, 9)),
    (lambda: nn.Conv1d(4, 6, 3, padding="valid"), (4, 9)),
    (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 7, 8)),
    (lambda: nn.Conv2d(4, 6, (2, 3), padding="same", bias=False), (2, 4, 5, 6)),
    (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (2, 4, 5, 6)),
    (lambda: nn.Conv2d(4, 6, 3, padding=(1, 2), dilation=(2, 1)), (2, 4, 7, 6)),
    (lambda: nn.Conv3d(2, 3, 2, stride=(1, 2, 1)), (2, 2, 4, 5, 4)),
    (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1), (2, 4, 5)),
    (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 5, 4)),
    (lambda: nn.ConvTranspose2d(4, 6, 3, dilation=2), (4, 5, 4)),
    (lambda: nn.ConvTranspose3d(2, 3, 2), (2, 2, 3, 3, 3)),
]


# torch says of its own padding='same' that an even kernel costs it a copy
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_value_from_spikes_weight_gradient_from_trace(make, shape):
    torch.manual_seed(0)
    layer = make().double()
    spike = (torch.rand(shape, dtype=torch.float64) < 0.5).double().requires_grad_()
    trace = torch.rand(shape, dtype=torch.float64)
    mode = TraceMode(spike, trace)
    with mode:
        y = layer(spike)
    assert mode.touched
    g = torch.randn_like(y)
    y.backward(g)
    got = [p.grad.clone() for p in layer.parameters()]

    # the same layer, evaluated at the trace for its weights, at the spikes for its input
    assert torch.equal(y, layer(spike))
    want = torch.autograd.grad((layer(trace) * g).sum(), list(layer.parameters()))
    (d_spike,) = torch.autograd.grad((layer(spike) * g).sum(), [spike])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(spike.grad, d_spike, rtol=1e-12, atol=1e-12)


def test_only_the_gradients_asked_for():
    torch.manual_seed(1)
    conv = nn.Conv2d(2, 3, 3)
    conv.weight.requires_grad_(False)
    spike = torch.rand(2, 2, 5, 5)
    with TraceMode(spike, torch.rand(2, 2, 5, 5)):
        y = conv(spike)
    y.sum().backward()
    assert conv.weight.grad is None
    torch.testing.assert_close(conv.bias.grad, torch.full((3,), 18.0))


def test_a_weight_made_in_the_forward_learns_through_its_own_formula():
    class Standardised(nn.Linear):
        def forward(self, x):
            w = self.weight - self.weight.mean(1, keepdim=True)
            return F.linear(x, w / w.std(1, keepdim=True), self.bias)

    torch.manual_seed(2)
    layer = Standardised(5, 3).double()
    spike, trace = torch.rand(2, 4, 5, dtype=torch.float64).unbind(0)
    with TraceMode(spike, trace):
        y = layer(spike)
    g = torch.randn_like(y)
    y.backward(g)
    (want,) = torch.autograd.grad((layer(trace) * g).sum(), [layer.weight])
    torch.testing.assert_close(layer.weight.grad, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "passed",
    [
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: x.flatten(2).view(3, 2, 4, 4),
        lambda x: F.pad(x, (1, 0, 1, 0)),
        lambda x: F.interpolate(x, scale_factor=2.0),
        nn.ZeroPad2d(1),
        nn.Identity(),
    ],
)
def test_linear_operations_pass_the_trace_on(passed):
    torch.manual_seed(3)
    spike, trace = torch.rand(2, 3, 2, 4, 4).unbind(0)
    mode = TraceMode(spike, trace)
    with mode:
        y = passed(spike)
    assert torch.equal(y, passed(spike))
    assert torch.equal(mode.trace_of(y), passed(trace))
    assert not mode.touched


def test_other_operations_do_not():
    spike, trace = torch.rand(2, 3, 2, 4, 4).unbind(0)
    mode = TraceMode(spike, trace)
    with mode:
        for y in (F.max_pool2d(spike, 2), spike * 2, F.dropout(spike), spike + spike, spike[0]):
            assert mode.trace_of(y) is None
        other = torch.rand(3, 2, 4, 4)
        assert mode.trace_of(other.flatten(1)) is None


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_moves_its_statistics_once_and_with_the_spikes(training):
    torch.manual_seed(4)
    norm = nn.BatchNorm1d(5).double().train(training)
    spike, trace = torch.rand(2, 8, 5, dtype=torch.float64).unbind(0)
    with TraceMode(spike, trace):
        y = norm(spike)
    if training:
        mean, var = spike.mean(0), spike.var(0)
        torch.testing.assert_close(norm.running_mean, 0.1 * mean)
        torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * var)
        assert norm.num_batches_tracked == 1
        scale, shift = spike.var(0, correction=0), mean
        at_trace = (trace - trace.mean(0)) / (trace.var(0, correction=0) + norm.eps).sqrt()
    else:
        assert norm.num_batches_tracked == 0
        scale, shift = torch.ones(5), torch.zeros(5)
        at_trace = trace / (1 + norm.eps) ** 0.5
    torch.testing.assert_close(y, (spike - shift) / (scale + norm.eps).sqrt())
    g = torch.randn_like(y)
    y.backward(g)
    torch.testing.assert_close(norm.weight.grad, (g * at_trace).sum(0))
    torch.testing.assert_close(norm.bias.grad, g.sum(0))


def test_matrix_product_with_a_weight():
    torch.manual_seed(5)
    w = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    spike, trace, g = torch.rand(4, 5), torch.rand(4, 5), torch.randn(4, 3)
    spike, trace, g = spike.double().requires_grad_(), trace.double(), g.double()
    for product in (torch.matmul, torch.mm, lambda a, b: a @ b, torch.Tensor.matmul):
        w.grad = spike.grad = None
        with TraceMode(spike, trace):
            y = product(spike, w)
        y.backward(g)
        torch.testing.assert_close(y, spike @ w)
        torch.testing.assert_close(w.grad, trace.T @ g)
        torch.testing.assert_close(spike.grad, g @ w.detach().T)


def test_linear_with_a_vector_for_a_weight():
    torch.manual_seed(7)
    w = torch.randn(5, dtype=torch.float64, requires_grad=True)
    spike, trace = torch.rand(2, 4, 5, dtype=torch.float64).unbind(0)
    g = torch.randn(4, dtype=torch.float64)
    with TraceMode(spike, trace):
        y = F.linear(spike, w)
    y.backward(g)
    torch.testing.assert_close(y, spike @ w)
    torch.testing.assert_close(w.grad, g @ trace)


@pytest.mark.parametrize("make", [lambda: nn.Linear(4, 3), lambda: nn.Conv1d(4, 3, 1)])
def test_autocast(make):
    torch.manual_seed(6)
    layer = make()
    shape = (8, 4) if isinstance(layer, nn.Linear) else (8, 4, 5)
    spike = (torch.rand(shape) < 0.5).float().requires_grad_()
    trace = torch.rand(shape)
    with torch.autocast("cpu", dtype=torch.bfloat16), TraceMode(spike, trace):
        y = layer(spike)
    assert y.dtype == torch.bfloat16
    g = torch.randn(y.shape)
    y.backward(g.bfloat16())
    (want,) = torch.autograd.grad((layer(trace) * g).sum(), [layer.weight])
    assert layer.weight.grad.dtype == spike.grad.dtype == torch.float32
    torch.testing.assert_close(layer.weight.grad, want, rtol=2e-2, atol=2e-2)
