"""The graph of a copy: arguments, wrappers, kept activations, hooks; the network is not touched."""

import subprocess
import sys
import textwrap
import threading
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from sj_convert import Converter
from sj_convert.trace import trace
from sj_core import functional


class Options(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x, mask=None, scale: float = 2.0, *rest, features=False, **more):
        y = F.relu(self.fc(x)) * scale
        if mask is not None:
            y = y + mask
        return (y, x) if features else y


def test_arguments_that_are_not_given_keep_their_defaults():
    torch.manual_seed(1)
    net, x, mask = Options(), torch.rand(3, 4) + 1, torch.rand(3, 3)
    alone = trace(net)
    assert [n.target for n in alone.graph.nodes if n.op == "placeholder"] == ["x"]
    assert torch.equal(alone(x), net(x))
    assert torch.equal(trace(net, 2)(x, mask), net(x, mask))
    snn = Converter([{"x": x, "mask": mask}], mode="max", v_init=0.5)(net)
    functional.set_step_mode(snn, "m")
    mean = snn(x.expand(64, 3, 4), mask.expand(64, 3, 3)).mean(0)
    assert (mean - net(x, mask)).abs().max() < 2 / 64


# torch's own, where torch.compile is imported for the first time.
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_the_network_within_a_wrapper_is_traced():
    net, x = Options(), torch.rand(3, 4)
    for wrapped in (nn.DataParallel(net), torch.compile(net)):
        assert torch.equal(trace(wrapped, 1)(x), net(x))
    with pytest.raises(TypeError, match=r"`ann` \(of type function\)"):
        trace(lambda x: x)
    with pytest.raises(ValueError, match=r"`0\.weight` without a shape.*run `ann`"):
        trace(nn.Sequential(nn.LazyLinear(3)))


@pytest.mark.parametrize(
    ("ann", "x"),
    [
        (nn.ReLU(), torch.linspace(-1, 2, 12).view(3, 4)),
        (nn.Linear(4, 2), torch.rand(3, 4)),
        (nn.BatchNorm1d(4).eval(), torch.rand(3, 4)),
        (nn.MaxPool1d(2), torch.rand(3, 1, 4)),
        (nn.Bilinear(4, 4, 2), (torch.rand(3, 4), torch.rand(3, 4))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_network_may_be_a_single_module(ann, x):
    inputs = x if isinstance(x, tuple) else (x,)
    assert torch.equal(trace(ann, len(inputs))(*inputs), ann(*inputs))
    snn = Converter([inputs], mode="max", v_init=0.5, strict=False)(ann)
    functional.set_step_mode(snn, "m")
    mean = snn(*(x.expand(64, *x.shape) for x in inputs)).mean(0)
    assert (mean - ann(*inputs)).abs().max() < 2 / 64


def test_a_single_module_without_a_spiking_form_is_named_as_within_a_network():
    x = torch.rand(5, 2, 4)
    cases = [
        (nn.LSTM(4, 3), "lstm", "recurrent spiking network"),
        (nn.GRUCell(4, 3), "grucell", "recurrent spiking network"),
        (nn.TransformerEncoderLayer(4, 2), "transformerencoderlayer", "multiplies signals"),
        (nn.GELU(), "gelu", "train with a ReLU"),
        (nn.Embedding(4, 3), "embedding", "before the network"),
    ]
    for ann, name, remedy in cases:
        place = rf"`{name}` \({type(ann).__name__}\) at the network itself: .*{remedy}"
        with pytest.raises(ValueError, match=place):
            Converter([x])(ann)
        with pytest.raises(ValueError, match=rf"`0` \({type(ann).__name__}\) at .*{remedy}"):
            Converter([x])(nn.Sequential(ann))
    three = {"query": x, "key": x, "value": x}
    with pytest.raises(ValueError, match=r"`multiheadattention` .*multiplies signals"):
        Converter([three])(nn.MultiheadAttention(4, 2))
    with pytest.raises(TypeError, match=r"`ann` \(of type ModuleList\) must have a `forward`"):
        Converter([x])(nn.ModuleList([nn.Linear(4, 2)]))


def test_activations_that_a_network_keeps_do_not_hinder_the_copy():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)
            self.kept = {}

        def forward(self, x):
            self.last = self.kept["last"] = F.relu(self.fc(x))
            return 2 * self.last

    net, x = Keeps(), torch.rand(2, 4)
    expected = net(x)
    last = net.last
    assert torch.equal(trace(net)(x), expected)
    assert net.last is last
    assert net.kept["last"] is last


class Recorder:
    """Keeps what passes, and a lock, which cannot be copied."""

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = []

    def after(self, module, args, y):
        self.seen.append(y)

    def before(self, module, args, kwargs):
        self.seen.append(args[0])


@pytest.mark.parametrize("recommended", [False, True])
def test_hooks_stay_with_the_ann_and_do_not_run(recommended):
    torch.manual_seed(0)
    x = torch.rand(20, 5)
    inner = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    ann = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), inner, nn.Linear(8, 2))
    recorder = Recorder()
    for module in (ann, ann[0], ann[1], inner, inner[1]):
        module.register_forward_hook(recorder.after)
        module.register_forward_pre_hook(recorder.before, with_kwargs=True)
        module.register_full_backward_hook(recorder.after)
    ann(x)
    assert len(recorder.seen) == 10
    convert = Converter.recommended([x], T=4) if recommended else Converter([x])
    snn = convert(ann)
    snn(x)
    assert len(recorder.seen) == 10
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in snn.modules())
    ann(x)
    assert len(recorder.seen) == 20


def test_hooks_that_compute_weights_are_kept():
    torch.manual_seed(0)
    x = torch.rand(30, 5)
    ann = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    prune.l1_unstructured(ann[0], "weight", 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older form, with a hook, is deprecated
        nn.utils.weight_norm(ann[2])
    with torch.no_grad():
        ann[2].weight_g.mul_(3.0)  # takes effect at the next call, by the hook
        ann[0].weight_orig.mul_(2.0)
    snn = Converter([x], mode="max")(ann.eval())
    functional.set_step_mode(snn, "m")
    with torch.no_grad():
        mean = snn(x.expand(512, *x.shape)).mean(0)
        torch.testing.assert_close(mean, ann(x), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", ["stack", "cat", "hstack"])
def test_the_compiler_still_knows_the_functions_of_lists(name):
    # In a process that has not compiled before: the compiler learns torch's names but once.
    script = f"""
        import torch
        from torch import nn
        from sj_convert import Converter
        ann = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        Converter([torch.rand(2, 4)])(ann)
        function = torch.compile(
            lambda x: torch.{name}(x.unbind(0)), fullgraph=True, backend="eager"
        )
        print(function(torch.ones(2, 3)).numel())
    """
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
    )
    assert process.stdout == "6\n", process.stderr
