import itertools
import math

import numpy as np
import pytest
import torch

from sj_train.losses import kernel_dot_product, spike_similar_loss

KERNELS = [("linear", ()), ("polynomial", (2,)), ("sigmoid", (0.3,)), ("gaussian", (1.7,))]
LOSSES = ["mse", "l1", "bce"]


def kernel_by_loop(x, y, kernel, args):
    out = np.zeros((len(x), len(y)))
    for i, j in itertools.product(range(len(x)), range(len(y))):
        dot = sum(float(a) * float(b) for a, b in zip(x[i], y[j], strict=True))
        if kernel == "linear":
            out[i, j] = dot
        elif kernel == "polynomial":
            out[i, j] = dot ** args[0]
        elif kernel == "sigmoid":
            out[i, j] = 1 / (1 + math.exp(-args[0] * dot))
        else:
            square = sum((float(a) - float(b)) ** 2 for a, b in zip(x[i], y[j], strict=True))
            out[i, j] = math.exp(-square / (2 * args[0] ** 2))
    return out


def loss_by_loop(spikes, labels, kernel, loss, args):
    x = spikes.reshape(len(spikes), -1)
    p = kernel_by_loop(x, x, kernel, args)
    total = 0.0
    for i, j in itertools.product(range(len(x)), repeat=2):
        if kernel == "linear":
            # one root of the product: 1 exactly for equal binary trains, in real arithmetic too
            norm = math.sqrt((x[i] ** 2).sum() * (x[j] ** 2).sum())
            p[i, j] = p[i, j] / norm if norm > 0 else 0.0
        y = float(any(a and b for a, b in zip(labels[i], labels[j], strict=True)))
        if loss == "mse":
            total += (p[i, j] - y) ** 2
        elif loss == "l1":
            total += abs(p[i, j] - y)
        else:
            q = min(max(p[i, j], 0.0), 1.0)
            # binary cross entropy with torch's documented bound on the logarithm
            log_q = max(math.log(q), -100.0) if q > 0 else -100.0
            log_1q = max(math.log(1 - q), -100.0) if q < 1 else -100.0
            total -= y * log_q + (1 - y) * log_1q
    return total / len(x) ** 2


@pytest.mark.parametrize(("kernel", "args"), KERNELS)
@pytest.mark.parametrize(("n", "k", "m"), [(4, 6, 5), (1, 3, 1), (33, 30, 40)])
def test_kernel_equals_double_loop(kernel, args, n, k, m):
    rng = np.random.default_rng(n)
    x, y = rng.random((n, m)), rng.random((k, m))
    got = kernel_dot_product(torch.tensor(x), torch.tensor(y), kernel, *args)
    np.testing.assert_allclose(got.numpy(), kernel_by_loop(x, y, kernel, args), rtol=1e-12)


@pytest.mark.parametrize(("kernel", "args"), KERNELS)
def test_kernel_takes_bool_and_integer_spikes(kernel, args):
    x = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]])
    want = kernel_by_loop(x.numpy(), x.numpy(), kernel, args)
    for spikes in (x, x.bool(), x.to(torch.uint8), x.half(), x.bfloat16()):
        got = kernel_dot_product(spikes, spikes, kernel, *args)
        np.testing.assert_allclose(got.double().numpy(), want, rtol=1e-2)
        if spikes.is_floating_point():
            assert got.dtype == spikes.dtype


def test_gaussian_is_never_above_one_and_one_for_equal_rows():
    torch.manual_seed(0)
    # large norms, small differences: the expanded square cancels here
    x = 1e3 + torch.rand(40, 500)
    got = kernel_dot_product(x, x, "gaussian", 0.01)
    assert got.max() <= 1.0
    assert torch.equal(got.diagonal(), torch.ones(40))


@pytest.mark.parametrize(("kernel", "args"), KERNELS)
def test_kernel_gradient_is_the_finite_difference(kernel, args):
    torch.manual_seed(1)
    x = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    y = torch.rand(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: kernel_dot_product(a, b, kernel, *args), (x, y))
    # a row against itself: the distance has a kink there, its square has not
    assert torch.autograd.gradcheck(lambda a: kernel_dot_product(a, a, kernel, *args), (x,))


@pytest.mark.parametrize(("kernel", "args"), KERNELS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("binary", [True, False])
def test_loss_equals_double_loop(kernel, args, loss, binary):
    rng = np.random.default_rng(3)
    spikes = rng.random((7, 3, 5))
    if binary:
        spikes = (spikes > 0.6).astype(float)
    spikes[2] = 0.0
    labels = (rng.random((7, 4)) > 0.6).astype(int)
    want = loss_by_loop(spikes, labels, kernel, loss, args)
    got = spike_similar_loss(torch.tensor(spikes), torch.tensor(labels), kernel, loss, *args)
    assert got.shape == ()
    assert got.item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("count", range(1, 200))
def test_identical_trains_with_bce(count):
    spikes = torch.zeros(3, 2, 100)
    spikes.view(3, -1)[:, :count] = 1.0
    spikes.requires_grad_()
    same = torch.ones(3, 1)
    loss = spike_similar_loss(spikes, same, "linear", "bce")
    loss.backward()
    assert loss.item() == 0.0
    assert spikes.grad.isfinite().all()
    # all labels differ: six of nine pairs are wrong by torch's bound of 100
    apart = spike_similar_loss(spikes, torch.eye(3), "linear", "bce")
    assert apart.item() == pytest.approx(600 / 9, rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_silent_trains_are_similar_to_none(loss):
    spikes = torch.zeros(2, 3, 4, requires_grad=True)
    got = spike_similar_loss(spikes, torch.ones(2, 1), "linear", loss)
    got.backward()
    assert got.item() == (100.0 if loss == "bce" else 1.0)
    assert spikes.grad.isfinite().all()


@pytest.mark.parametrize("d", [0.5, 1 / 3, 0.0, 1.0, 1.5])
def test_silent_trains_have_finite_gradients_under_every_root(d):
    torch.manual_seed(6)
    x = torch.rand(4, 5, dtype=torch.float64)
    x[1] = 0.0
    x.requires_grad_()
    weight = torch.rand(4, 4, dtype=torch.float64)
    (kernel_dot_product(x, x, "polynomial", d) * weight).sum().backward()
    # d/dx_i of sum_jk w_jk (x_j . x_k)^d over the pairs whose product is not 0
    value, want = x.detach(), torch.zeros(4, 5, dtype=torch.float64)
    for j in range(4):
        for k in range(4):
            if d == 1 or (dot := float(value[j] @ value[k])) > 0:
                slope = weight[j, k] * (1.0 if d == 1 else d * dot ** (d - 1))
                want[j] += slope * value[k]
                want[k] += slope * value[j]
    torch.testing.assert_close(x.grad, want, rtol=1e-12, atol=0)
    loss = spike_similar_loss(x.unsqueeze(2), torch.eye(4), "polynomial", "mse", d)
    assert torch.autograd.grad(loss, x)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("kernel", "arg"), [("polynomial", 1.5), ("sigmoid", 0.003)])
def test_half_precision_rounds_the_kernel_alone(dtype, kernel, arg):
    # 1 027 common spikes, which bfloat16 would round to 1 024 before the power is taken.
    x = torch.ones(1, 1027)
    want = kernel_dot_product(x.double(), x.double(), kernel, arg)
    got = kernel_dot_product(x.to(dtype), x.to(dtype), kernel, arg)
    assert torch.equal(got, want.to(dtype))


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_linear_similarity_does_not_depend_on_scale(scale):
    torch.manual_seed(2)
    spikes, labels = torch.rand(4, 2, 6), torch.eye(4)
    want = spike_similar_loss(spikes.double(), labels)
    assert spike_similar_loss(spikes * scale, labels).item() == pytest.approx(want.item(), rel=1e-5)


# The similarity of a train with itself is 1 by the linear and the gaussian kernel: l1 and bce have
# their kink there, and no finite difference.
SMOOTH = [
    (kernel, loss)
    for kernel in KERNELS
    for loss in LOSSES
    if loss == "mse" or kernel[0] in ("polynomial", "sigmoid")
]


@pytest.mark.parametrize(("kernel", "loss"), SMOOTH)
def test_loss_gradient_is_the_finite_difference(kernel, loss):
    torch.manual_seed(4)
    spikes = 0.2 * torch.rand(3, 2, 4, dtype=torch.float64) + 0.1
    labels = torch.tensor([[1, 0], [0, 1], [1, 0]])
    spikes.requires_grad_()
    name, args = kernel
    assert torch.autograd.gradcheck(
        lambda x: spike_similar_loss(x, labels, name, loss, *args), (spikes,)
    )


def test_loss_in_half_precision_and_under_autocast():
    torch.manual_seed(5)
    spikes = (torch.rand(4, 10, 600) > 0.3).float()
    labels = torch.eye(2).repeat(2, 1)
    want = spike_similar_loss(spikes.double(), labels, "linear", "bce").item()
    for dtype in (torch.float16, torch.bfloat16):
        got = spike_similar_loss(spikes.to(dtype), labels, "linear", "bce")
        assert got.dtype == dtype
        assert got.item() == pytest.approx(want, rel=1e-2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = spike_similar_loss(spikes, labels, "linear", "bce")
    assert got.item() == pytest.approx(want, rel=1e-5)


def test_gaussian_of_a_distance_beyond_half_precision():
    x = torch.ones(1, 70000, dtype=torch.float16)
    got = kernel_dot_product(x, torch.zeros_like(x), "gaussian", 200.0)
    assert got.dtype == torch.float16
    assert got.item() == pytest.approx(math.exp(-70000 / 80000), rel=1e-3)


@pytest.mark.parametrize("kernel", ["linear", "polynomial", "sigmoid", "gaussian"])
def test_kernels_of_two_dtypes(kernel):
    x, y = torch.rand(3, 5), torch.rand(2, 5, dtype=torch.float64)
    want = kernel_dot_product(x.double(), y, kernel, 2.0)
    assert torch.equal(kernel_dot_product(x, y, kernel, 2.0), want)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: spike_similar_loss(x[..., :0], y), "no axis of length 0"),
        (lambda x, y: kernel_dot_product(x, x, "cosine"), "`kernel` (='cosine')"),
        (lambda x, y: kernel_dot_product(x, x, "polynomial"), "argument `d`."),
        (lambda x, y: kernel_dot_product(x, x, "sigmoid"), "argument `alpha`."),
        (lambda x, y: kernel_dot_product(x, x, "gaussian"), "argument `sigma`."),
        (lambda x, y: kernel_dot_product(x, x, "gaussian", 0.0), "`sigma` (=0.0)"),
        (lambda x, y: kernel_dot_product(x, x[:, :2]), "[K, M]"),
        (lambda x, y: spike_similar_loss(x, y, "linear", "l2"), "`loss_type` (='l2')"),
        (lambda x, y: spike_similar_loss(x, y, "rbf"), "`kernel_type` (='rbf')"),
        (lambda x, y: spike_similar_loss(x, y, "gaussian"), "argument `sigma`."),
        (lambda x, y: spike_similar_loss(x, y[:, 0]), "one_hot"),
        (lambda x, y: spike_similar_loss(x[0], y), "`spikes`"),
    ],
)
def test_bad_arguments(call, message):
    x, y = torch.rand(3, 4), torch.eye(3)
    with pytest.raises(ValueError) as info:
        call(x, y)
    assert message in str(info.value)
    assert str(info.value).endswith(".")
