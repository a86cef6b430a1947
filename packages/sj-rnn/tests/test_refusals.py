"""Arguments of the wrong kind, size, dtype or device: what is named, and that the cure cures."""

import pytest
import torch
from torch import nn

from sj_rnn import (
    SpikingGRU,
    SpikingGRUCell,
    SpikingLSTM,
    SpikingLSTMCell,
    SpikingVanillaRNN,
    SpikingVanillaRNNCell,
    bidirectional_rnn_cell_forward,
)

X, Z = torch.randn(5, 2, 3), torch.zeros(2, 4)
CELLS = [SpikingLSTMCell, SpikingGRUCell, SpikingVanillaRNNCell]
NETS = [SpikingLSTM, SpikingGRU, SpikingVanillaRNN]


@pytest.mark.parametrize("bad", [0.5, "yes", None, 2, -1, torch.tensor(True)])
def test_flags_are_true_or_false(bad):
    # A dropout of 0.5 in the place of `bias` was a bias before.
    for cls in CELLS:
        with pytest.raises(TypeError, match=r"`bias` \(=.*\) must be True or False\."):
            cls(3, 4, bad)
    for name in ("bias", "invariant_dropout_mask", "bidirectional", "batch_first"):
        for cls in NETS:
            with pytest.raises(TypeError, match=rf"`{name}` \(=.*\) must be True or False\."):
                cls(3, 4, 1, **{name: bad})


def test_flags_may_be_numbers():
    net = SpikingGRU(3, 4, 1, 0, 0, 1, 1)
    assert (net.bias, net.invariant_dropout_mask, net.bidirectional) == (False, True, True)
    assert net.cells[0].bias_ih() is None


@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
def test_sizes_that_no_tensor_has(name):
    sizes = {"input_size": 3, "hidden_size": 4, "num_layers": 1, name: 2**63}
    with pytest.raises(ValueError, match=rf"`{name}` \(={2**63}\) must be below 2\*\*63"):
        SpikingGRU(**sizes)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_another_device_than_the_weights_is_named(bidirectional):
    net = SpikingLSTM(3, 4, 2, bidirectional=bidirectional)
    message = r"`x` is on meta, but the weights are on cpu: .*`x\.to\(weight\.device\)`"
    with pytest.raises(ValueError, match=message):
        net(X.to("meta"))
    for cell in net.cells:
        with pytest.raises(ValueError, match=message):
            cell(torch.zeros(2, cell.input_size, device="meta"))
    message = r"`hc\[1\]` is on meta, but `x` is on cpu: .*`hc\[1\]\.to\(x\.device\)`"
    with pytest.raises(ValueError, match=message):
        net.cells[0](X[0], (Z, Z.to("meta")))


def test_a_sparse_input_is_refused_with_a_cure_that_works():
    for net, x in ((SpikingVanillaRNNCell(3, 4), X[0]), (SpikingGRU(3, 4, 1), X)):
        sparse = x.to_sparse()
        with pytest.raises(TypeError, match=r"`x` has layout torch\.sparse_coo.*`x\.to_dense\(\)`"):
            net(sparse)
        net(sparse.to_dense())


@pytest.mark.parametrize("bad", [3, 1.5, "ab", {}, {"h": Z}])
def test_states_of_another_kind_than_tensors(bad):
    for cls, name, count in zip(CELLS, ("hc", "h", "h"), (2, 1, 1), strict=True):
        message = rf"`{name}` must be a tensor or a tuple of {count}, got {type(bad).__name__}\."
        with pytest.raises(TypeError, match=message):
            cls(3, 4)(X[0], bad)
    cell = SpikingGRUCell(3, 4)
    message = rf"`states_reverse` must be a tensor or a tuple of 1, got {type(bad).__name__}"
    with pytest.raises(TypeError, match=message):
        bidirectional_rnn_cell_forward(cell, cell, X, Z, bad)


def test_the_state_that_is_wrong_is_named_and_its_cure_works():
    hc = (Z, Z.double())
    net = SpikingLSTMCell(3, 4)
    with pytest.raises(TypeError, match=r"`hc\[1\]` has dtype .*: .*`hc\[1\]\.to\(x\.dtype\)`"):
        net(X[0], hc)
    net(X[0], (hc[0], hc[1].to(X.dtype)))
    with pytest.raises(ValueError, match=r"`hc\[0\]` has shape \[1, 4\], expected \[2, 4\]"):
        net(X[0], (Z[:1], Z))
    states = (torch.zeros(1, 2, 4), torch.zeros(2, 2, 4))
    with pytest.raises(ValueError, match=r"`states\[1\]` has shape \[2, 2, 4\]"):
        SpikingLSTM(3, 4, 1)(X, states)


@pytest.mark.parametrize("bad", ["ab", [5, None], [[5], [4, 3]], {5, 4}, 5j])
def test_lengths_that_are_no_numbers(bad):
    with pytest.raises(TypeError, match=r"`lengths` "):
        SpikingGRU(3, 4, 1)(X, lengths=bad)


def test_lengths_without_values():
    lengths = torch.tensor([5, 4], device="meta")
    with pytest.raises(ValueError, match=r"`lengths` is on meta, .*: move it to cpu"):
        SpikingGRU(3, 4, 1)(X, lengths=lengths)


def test_what_runs_in_both_directions_is_checked_as_well():
    run, cell = bidirectional_rnn_cell_forward, SpikingGRUCell(3, 4)
    with pytest.raises(TypeError, match=r"`cell` must be a cell, got int"):
        run(3, cell, X)
    with pytest.raises(TypeError, match=r"`cell_reverse` must be a cell, got type"):
        run(cell, SpikingGRUCell, X)
    with pytest.raises(TypeError, match=r"`x` must be a tensor of shape \[T, N, input_size\], got"):
        run(cell, cell, 3)
    with pytest.raises(ValueError, match=r"`x` has shape \[5, 2, 3\].* input_size=4"):
        run(cell, SpikingGRUCell(4, 4), X)
    with pytest.raises(TypeError, match=r"`x` has dtype torch\.float32, but the weights have"):
        run(cell, SpikingGRUCell(3, 4, dtype=torch.float64), X)
    with pytest.raises(ValueError, match="`x` is on meta, but the weights are on cpu"):
        run(cell, cell, X.to("meta"))
    y, _, _ = run(nn.GRUCell(3, 4), nn.GRUCell(3, 4), X, Z, Z)  # cells of others may be run, too
    assert y.shape == (5, 2, 8)
