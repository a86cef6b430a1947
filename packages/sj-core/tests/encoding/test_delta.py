"""Delta modulation against changes by hand."""

import pytest
import torch

from sj_core import encoding


def test_delta_marks_changes_by_hand():
    signal = torch.tensor([0.25, 0.5, 0.5, 0.0, -0.25, 1.0])
    on = encoding.DeltaEncoder(0.25).encode(signal)
    assert on.tolist() == [1, 1, 0, 0, 0, 1]
    both = encoding.DeltaEncoder(0.25, off_spike=True, padding=True).encode(signal)
    assert both.tolist() == [0, 1, 0, -1, -1, 1]
    encoder = encoding.DeltaEncoder(0.25, step_mode="m")
    encoder(torch.zeros(2, 3))
    with pytest.raises(RuntimeError, match=r"\(4,\).*\(3,\).*reset_net"):
        encoder(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: encoding.DeltaEncoder(0.0), r"`threshold` \(=0.0\)"),
    ],
)
def test_bad_values_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_the_input_may_be_written_into_one_buffer(step_mode):
    """As from a device that fills the same memory at every step."""
    encoder = encoding.DeltaEncoder(0.5, step_mode=step_mode)
    buffer = torch.zeros(1, 2)
    spikes = []
    for value in (1.0, 2.0, 2.0, 3.0):
        spikes.append(encoder(buffer.fill_(value)).flatten().tolist())
    assert spikes == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]
