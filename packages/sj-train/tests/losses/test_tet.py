import math

import pytest
import torch
import torch.nn.functional as F

from sj_train.losses import TETLoss, temporal_efficient_training_cross_entropy


def cross_entropy_by_hand(x, target):
    """Mean of -log softmax at the target, from the definition, in float64."""
    flat = x.double().movedim(1, -1).reshape(-1, x.shape[1])
    total = 0.0
    for row, label in zip(flat.tolist(), target.reshape(-1).tolist(), strict=True):
        top = max(row)
        total += math.log(sum(math.exp(v - top) for v in row)) + top - row[label]
    return total / len(flat)


@pytest.mark.parametrize("shape", [(1, 1, 2), (8, 4, 10), (5, 3, 4, 2), (3, 2, 5, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_the_mean_over_time_of_the_cross_entropy(shape, dtype):
    torch.manual_seed(0)
    x_seq = 5 * torch.randn(shape, dtype=dtype)
    target = torch.randint(shape[2], (shape[1], *shape[3:]))
    want = sum(cross_entropy_by_hand(x, target) for x in x_seq) / shape[0]
    got = temporal_efficient_training_cross_entropy(x_seq, target)
    assert got.shape == ()
    assert got.item() == pytest.approx(want, rel=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("shape", [(6, 4, 10), (3, 2, 5, 2)])
def test_gradient_is_softmax_minus_target(shape):
    torch.manual_seed(1)
    x_seq = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target = torch.randint(shape[2], (shape[1], *shape[3:]))
    temporal_efficient_training_cross_entropy(x_seq, target).backward()
    one_hot = F.one_hot(target, shape[2]).movedim(-1, 1)
    want = (x_seq.detach().softmax(2) - one_hot) / (shape[0] * target.numel())
    torch.testing.assert_close(x_seq.grad, want, rtol=0, atol=1e-15)


def test_it_is_one_call_and_no_copy(monkeypatch):
    calls = []
    original = F.cross_entropy

    def counted(x, y):
        calls.append(x.data_ptr())
        return original(x, y)

    monkeypatch.setattr(F, "cross_entropy", counted)
    x_seq = torch.randn(7, 3, 4)
    temporal_efficient_training_cross_entropy(x_seq, torch.tensor([0, 1, 2]))
    assert calls == [x_seq.data_ptr()]


def test_layout_ignored_label_and_probabilities():
    torch.manual_seed(2)
    x_seq = torch.randn(4, 5, 6, 3).movedim(-1, 2)
    target = torch.randint(3, (5, 6))
    target[1, 2] = -100
    rows = [(t, n, i) for t in range(4) for n in range(5) for i in range(6) if target[n, i] >= 0]
    want = sum(
        cross_entropy_by_hand(x_seq[t, n, :, i][None], target[n, i][None]) for t, n, i in rows
    )
    got = temporal_efficient_training_cross_entropy(x_seq, target)
    assert got.item() == pytest.approx(want / len(rows), rel=1e-5)

    soft = torch.rand(5, 3, 6).softmax(1)
    got = temporal_efficient_training_cross_entropy(x_seq, soft)
    want_soft = -(soft * x_seq.log_softmax(2)).sum(2).mean()
    assert got.item() == pytest.approx(want_soft.item(), rel=1e-5)


@pytest.mark.parametrize(("lambda_", "phi"), [(0.05, 1.0), (0.0, 2.0), (1.0, 0.5), (0.3, -1.0)])
def test_whole_loss(lambda_, phi):
    torch.manual_seed(3)
    x_seq = torch.randn(4, 3, 5, dtype=torch.float64)
    target = torch.tensor([0, 4, 2])
    ce = sum(cross_entropy_by_hand(x, target) for x in x_seq) / 4
    mse = sum((v - phi) ** 2 for v in x_seq.flatten().tolist()) / x_seq.numel()
    got = TETLoss(lambda_, phi)(x_seq, target).item()
    assert got == pytest.approx((1 - lambda_) * ce + lambda_ * mse, rel=1e-12)


def test_integer_classes_and_outputs_of_any_dtype():
    x_seq = torch.arange(24).view(4, 2, 3) % 5
    target = torch.tensor([2, 0])
    want = TETLoss()(x_seq.float(), target)
    for dtype in (torch.int32, torch.uint8):
        assert torch.equal(TETLoss()(x_seq.to(dtype), target.to(dtype)), want)


def test_defaults_and_repr():
    assert repr(TETLoss()) == "TETLoss(lambda_=0.05, phi=1.0)"
    assert not TETLoss().state_dict()


@pytest.mark.parametrize(
    ("x_seq", "target", "message"),
    [
        (torch.zeros(4, 3), torch.zeros(4), "[T, N, C, *]"),
        (torch.zeros(0, 2, 3), torch.zeros(2).long(), "one time step"),
        (torch.zeros(4, 2, 3), torch.zeros(3).long(), "`target` (shape (3,))"),
        (torch.zeros(4, 2, 3, 5), torch.zeros(2).long(), "(2, 5)"),
    ],
)
def test_bad_shapes(x_seq, target, message):
    with pytest.raises(ValueError) as info:
        temporal_efficient_training_cross_entropy(x_seq, target)
    assert message in str(info.value)
    assert str(info.value).endswith(".")


@pytest.mark.parametrize("lambda_", [-0.1, 1.1, float("nan")])
def test_bad_weight(lambda_):
    with pytest.raises(ValueError, match=r"`lambda_` .* must be in \[0, 1\]\."):
        TETLoss(lambda_)
