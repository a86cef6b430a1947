import itertools

import pytest
import torch

from sj_train.losses import membrane_mse


@pytest.mark.parametrize("shape", [(5, 3, 4), (2, 3, 4, 2)])
@pytest.mark.parametrize(("on", "off"), [(1.0, 0.0), (0.9, -0.2)])
def test_class_target_by_loop(shape, on, off):
    torch.manual_seed(0)
    v_seq = torch.randn(shape, dtype=torch.float64)
    target = torch.randint(shape[2], (shape[1], *shape[3:]))
    total = 0.0
    for index in itertools.product(*map(range, shape)):
        label = target[(index[1], *index[3:])].item()
        total += (v_seq[index].item() - (on if index[2] == label else off)) ** 2
    want = total / v_seq.numel()
    assert membrane_mse(v_seq, target, on, off).item() == pytest.approx(want, rel=1e-12)
    assert membrane_mse(v_seq, target.to(torch.uint8), on, off).item() == pytest.approx(want)


def test_potentials_as_target():
    torch.manual_seed(1)
    v_seq, wanted = torch.randn(2, 5, 3, 4, dtype=torch.float64).unbind(0)
    want = sum((a - b) ** 2 for a, b in zip(v_seq.flatten(), wanted.flatten(), strict=True)) / 60
    assert membrane_mse(v_seq, wanted).item() == pytest.approx(want.item(), rel=1e-12)
    one = wanted[0]
    want = sum(((v - one) ** 2).sum() for v in v_seq) / 60
    assert membrane_mse(v_seq, one).item() == pytest.approx(want.item(), rel=1e-12)


def test_gradient():
    v_seq = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    membrane_mse(v_seq, torch.tensor([1, 0, 3])).backward()
    wanted = torch.eye(4, dtype=torch.float64)[[1, 0, 3]]
    torch.testing.assert_close(v_seq.grad, 2 * (v_seq.detach() - wanted) / 24)


@pytest.mark.parametrize(
    ("v_seq", "target", "message"),
    [
        (torch.zeros(3, 2, 4), torch.tensor([0, 4]), "from 0 to 3."),
        (torch.zeros(3, 2, 4), torch.tensor([-1, 0]), "from 0 to 3."),
        (torch.zeros(3, 2, 4), torch.tensor([0, 1, 2]), "shape (2,)."),
        (torch.zeros(3, 2), torch.tensor([0, 1]), "[T, N, C, *]"),
        (torch.zeros(3, 2, 4), torch.zeros(4), "(2, 4)."),
        (torch.zeros(0, 2, 4), torch.zeros(2, 4), "one time step"),
    ],
)
def test_bad_arguments(v_seq, target, message):
    with pytest.raises(ValueError) as info:
        membrane_mse(v_seq, target)
    assert message in str(info.value)
    assert str(info.value).endswith(".")
