import pytest
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from sj_convert import Converter
from sj_convert.shapes import find_shapes


class Forks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x):
        y = self.conv(x)
        one, other = y.chunk(2, 1)
        return {"sum": one + other, "size": y.shape[1]}


def test_the_shapes_are_those_of_torch():
    x = torch.rand(2, 1, 5, 6)
    ours, theirs = (fx.symbolic_trace(Forks()) for _ in range(2))
    find_shapes(ours, [x], "x")
    ShapeProp(theirs).propagate(x)
    for a, b in zip(ours.graph.nodes, theirs.graph.nodes, strict=True):
        assert ("tensor_meta" in a.meta) == ("tensor_meta" in b.meta), a
        if isinstance(b.meta.get("tensor_meta"), tuple) and a.target != "chunk":
            one, other = a.meta["tensor_meta"], b.meta["tensor_meta"]
            assert (one.shape, one.dtype, one.stride) == (other.shape, other.dtype, other.stride)
    chunk = next(n for n in ours.graph.nodes if n.target == "chunk")
    assert [part.shape for part in chunk.meta["tensor_meta"]] == [(2, 2, 3, 4)] * 2


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (torch.rand(2, 3, 8, 8), [r"\[2, 3, 8, 8\] of torch.float32", "to have 1 channels"]),
        (torch.rand(2, 1, 8, 8).double(), ["of torch.float64", "dtype|type"]),
        (torch.zeros(2, 1, 8, 8).long(), ["of torch.int64", "dtype|type"]),
    ],
)
def test_a_batch_that_does_not_fit_is_told_in_one_line(batch, words, capfd):
    ann = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    with pytest.raises(ValueError, match=r"^`dataloader` gives ") as info:
        Converter([batch])(ann)
    message = str(info.value)
    assert "\n" not in message
    assert message.endswith(".")
    for word in words:
        info.match(word)
    assert "Traceback" not in capfd.readouterr().err
