"""Copies, pickles, states, exports and other dtypes of a converted network."""

import copy
import io
import pickle

import pytest
import torch
from convert_zoo import ZOO, Functional, MaxVGG, mean_output, randomised
from torch import fx

from sj_convert import Converter
from sj_core import functional


@pytest.fixture
def images():
    return torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(
    "settings",
    [
        *({}, {"max_pool": "gate"}, {"neuron": "signed"}, {"fused": True}),
        {"fused": True, "bias_correction": True, "T": 4},
    ],
)
def test_copies_pickles_and_state(settings, images):
    torch.manual_seed(0)
    ann = randomised(Functional())
    converter = Converter([images], mode="99%", v_init=0.5, channel_wise=True, **settings)
    snn = converter(ann)
    expected = mean_output(snn, images, 5)
    buffer = io.BytesIO()
    torch.save(snn, buffer)
    buffer.seek(0)
    twins = [
        copy.deepcopy(snn),
        pickle.loads(pickle.dumps(snn)),
        torch.load(buffer, weights_only=False),
    ]
    for twin in twins:
        assert isinstance(twin, fx.GraphModule)
        assert twin.conversion_report == []
        assert torch.equal(mean_output(twin, images, 5), expected)
    other = Converter([images * 0.5], mode="max", v_init=0.5, channel_wise=True, **settings)(
        randomised(Functional(), seed=5)
    )
    assert not torch.equal(mean_output(other, images, 5), expected)
    other.load_state_dict(snn.state_dict())
    assert torch.equal(mean_output(other, images, 5), expected)


# The state is an attribute and no buffer, which torch.export remarks on.
@pytest.mark.filterwarnings("ignore:The tensor attribute:UserWarning")
@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects:UserWarning")
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("recommended", [False, True])
@pytest.mark.parametrize("name", ["vgg-max", "resnet", "densenet"])
def test_export(name, recommended, strict, images):
    torch.manual_seed(0)
    ann = randomised(ZOO[name]())
    snn = (Converter.recommended([images], T=4) if recommended else Converter([images]))(ann)
    functional.set_step_mode(snn, "m")
    x = images.expand(3, *images.shape).contiguous()
    with torch.no_grad():
        expected = snn(x)
        functional.reset_net(snn)
        program = torch.export.export(snn, (x,), strict=strict)
        functional.reset_net(snn)
        torch.testing.assert_close(program.module()(x), expected)
        functional.reset_net(snn)
        torch.testing.assert_close(snn(x), expected)


@pytest.mark.parametrize("recommended", [False, True])
@pytest.mark.parametrize("name", ["vgg-max", "functional"])
def test_compile(name, recommended, images):
    torch.manual_seed(0)
    ann = randomised(ZOO[name]())
    snn = (Converter.recommended([images], T=4) if recommended else Converter([images]))(ann)
    functional.set_step_mode(snn, "m")
    x = images.expand(3, *images.shape).contiguous()
    with torch.no_grad():
        expected = [snn(x), snn(x)]
        functional.reset_net(snn)
        torch._dynamo.reset()
        compiled = torch.compile(snn, fullgraph=True, backend="aot_eager")
        for y in expected:
            torch.testing.assert_close(compiled(x), y)
    torch._dynamo.reset()


def test_half_and_double(images):
    torch.manual_seed(0)
    ann = randomised(MaxVGG())
    for dtype in (torch.float64, torch.bfloat16):
        twin = copy.deepcopy(ann).to(dtype)
        snn = Converter.recommended([images.to(dtype)], T=8)(twin)
        y = mean_output(snn, images.to(dtype), 8)
        assert y.dtype == dtype
        with torch.no_grad():
            expected = ann(images)
        assert (y.float() - expected).abs().max() < 0.3 * (expected.max() - expected.min())
