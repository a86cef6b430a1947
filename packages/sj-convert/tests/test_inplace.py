"""In-place operations keep what they mean, or are refused."""

import pytest
import torch
import torch.nn.functional as F
from traced_calls import Fn

from sj_convert.normalise import normalise
from sj_convert.trace import trace

IN_PLACE = {
    "iadd read later": lambda s, x: add_in_place(x),
    "relu_ read later": lambda s, x: (x.relu_(), x + 1)[1],
    "module read later": lambda s, x: (s.act(x) * 2) + x,
    "F read later": lambda s, x: F.relu(x, inplace=True) + x,
    "dropout": lambda s, x: F.dropout(x, 0.5, False, True) + x,
    "chain": lambda s, x: x.add_(1).relu_().mul_(2) + x,
}


def add_in_place(x):
    n = x.size(1)
    m = n
    m += 1  # an int: n stays
    y = x * 2 * (n - 4)
    z = y
    y += x
    return z + y


@pytest.mark.parametrize("case", list(IN_PLACE))
def test_in_place_operations_keep_their_meaning(case):
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    net = Fn(IN_PLACE[case]).eval()
    gm = normalise(trace(net))
    given = x.clone()
    result = gm(given)
    assert torch.equal(given, x)  # the caller's tensor is not written to
    assert torch.equal(result, net(x.clone()))


def half_changed(s, x):
    y = x * 1
    z = y[:, :2]
    z.relu_()
    return y


def view_read(s, x):
    y = x * 1
    z = y.view(y.size(0), -1)
    s.act(y)
    return z


@pytest.mark.parametrize("fn", [half_changed, view_read])
def test_a_view_of_what_changes_in_place_is_refused(fn):
    # Given a result of its own, the change would not reach the view.
    with pytest.raises(
        ValueError, match=r"in place at .*test_inplace\.py:\d+.*read later; write it"
    ):
        normalise(trace(Fn(fn)))


def chunk_changed(s, x):
    a, b = x.chunk(2, 1)
    return torch.cat([a.relu_(), b], 1)


def view_changed(s, x):
    y = x * 1
    z = s.act(y.view(y.size(0), -1))
    return z.view(y.size(0), 2, -1)


@pytest.mark.parametrize("fn", [chunk_changed, view_changed])
def test_views_that_nothing_else_reads_pass(fn):
    x, net = torch.randn(3, 4), Fn(fn).eval()
    assert torch.equal(normalise(trace(net))(x.clone()), net(x.clone()))
