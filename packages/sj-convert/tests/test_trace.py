"""Every way of writing a ReLU or a max pool becomes a module; in-place writes are kept."""

import math
import subprocess
import sys
import textwrap
import threading
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils import prune

from sj_convert import Converter
from sj_convert.activation import MAX_POOLS, relu_ceiling
from sj_convert.flow import module_of
from sj_convert.normalise import normalise
from sj_convert.rewrite import calls_of
from sj_convert.trace import trace
from sj_core import functional


class Fn(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn
        self.act = nn.ReLU(inplace=True)
        self.six = nn.ReLU6()

    def forward(self, x):
        return self.fn(self, x)


RELUS = {
    "F.relu": (lambda s, x: F.relu(x), math.inf),
    "F.relu keyword": (lambda s, x: F.relu(input=x), math.inf),
    "F.relu inplace": (lambda s, x: F.relu(x, True), math.inf),
    "torch.relu": (lambda s, x: torch.relu(x), math.inf),
    "torch.relu_": (lambda s, x: torch.relu_(x), math.inf),
    "method": (lambda s, x: x.relu(), math.inf),
    "method_": (lambda s, x: x.relu_(), math.inf),
    "module": (lambda s, x: s.act(x), math.inf),
    "clamp": (lambda s, x: x.clamp(min=0), math.inf),
    "clamp positional": (lambda s, x: x.clamp(0), math.inf),
    "torch.clamp": (lambda s, x: torch.clamp(x, min=0.0), math.inf),
    "clamp_": (lambda s, x: x.clamp_(min=0), math.inf),
    "clip": (lambda s, x: torch.clip(x, 0), math.inf),
    "clamp_min": (lambda s, x: x.clamp_min(0), math.inf),
    "threshold": (lambda s, x: F.threshold(x, 0, 0), math.inf),
    "F.relu6": (lambda s, x: F.relu6(x), 6.0),
    "relu6 module": (lambda s, x: s.six(x), 6.0),
    "hardtanh": (lambda s, x: F.hardtanh(x, 0, 1.5), 1.5),
    "hardtanh keyword": (lambda s, x: F.hardtanh(x, max_val=2, min_val=0), 2.0),
    "clamp both": (lambda s, x: x.clamp(0, 0.5), 0.5),
}


@pytest.mark.parametrize("case", list(RELUS))
def test_every_relu_becomes_a_module_of_its_own(case):
    fn, ceiling = RELUS[case]
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 4
    net = Fn(fn)
    gm = normalise(trace(net))
    found = [n for n in gm.graph.nodes if relu_ceiling(gm, n) is not None]
    assert [relu_ceiling(gm, n) for n in found] == [ceiling]
    assert isinstance(module_of(gm, found[0]), (nn.ReLU, nn.Hardtanh))
    assert torch.equal(gm(x), x.clamp(0, ceiling))
    snn = Converter([x.clone()], mode="max", v_init=0.5)(net)
    assert len([n for n in snn.graph.nodes if n.op in ("call_function", "call_method")]) == 0
    functional.set_step_mode(snn, "m")
    T = 40
    assert (snn(x.expand(T, 50, 4)).mean(0) - x.clamp(0, ceiling)).abs().max() <= x.max() / T


POOLS = {
    "F": (lambda s, x: F.max_pool2d(x, 2), nn.MaxPool2d(2)),
    "F keyword": (
        lambda s, x: F.max_pool2d(x, kernel_size=3, stride=1, padding=1),
        nn.MaxPool2d(3, 1, 1),
    ),
    "F positional": (
        lambda s, x: F.max_pool2d(x, 2, 2, 1, 1, True),
        nn.MaxPool2d(2, 2, 1, 1, ceil_mode=True),
    ),
    "torch": (lambda s, x: torch.max_pool2d(x, (2, 3), (1, 2)), nn.MaxPool2d((2, 3), (1, 2))),
    "adaptive": (lambda s, x: F.adaptive_max_pool2d(x, (2, 3)), nn.AdaptiveMaxPool2d((2, 3))),
    "adaptive keyword": (
        lambda s, x: F.adaptive_max_pool2d(x, output_size=1),
        nn.AdaptiveMaxPool2d(1),
    ),
}


@pytest.mark.parametrize("case", list(POOLS))
def test_every_max_pool_becomes_a_module(case):
    fn, expected = POOLS[case]
    x = torch.randn(3, 2, 7, 9)
    gm = normalise(trace(Fn(fn)))
    assert len(calls_of(gm, MAX_POOLS)) == 1
    assert torch.equal(gm(x), expected(x))
    snn = Converter([x])(Fn(fn))
    functional.set_step_mode(snn, "m")
    y = snn(torch.randn(5, *x.shape, generator=torch.Generator().manual_seed(3)))
    assert y.shape == (5, *expected(x).shape)


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
    with pytest.raises(ValueError, match=r"in place at .*test_trace\.py:\d+.*read later; write it"):
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


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage = nn.ModuleList(
            [Fn(lambda s, x: s.act(s.act(x) - 0.3)), Fn(lambda s, x: F.relu(x))]
        )

    def forward(self, x):
        for part in self.stage:
            x = part(x)
        return x


def test_names_tell_the_path():
    snn = Converter([torch.rand(3, 4)])(Nested())
    names = [name for name, _ in snn.snn_tailor.named_children()]
    assert names == ["stage_0_act", "stage_0_act_1", "stage_1_relu"]
    assert "snn_tailor.stage_1_relu.1" in str(snn.graph)


def test_neuron_moves_behind_the_pool_only_where_nothing_else_reads_it():
    alone = normalise(trace(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))))
    assert [type(module_of(alone, n)) for n in alone.graph.nodes if n.op == "call_module"] == [
        nn.MaxPool2d,
        nn.ReLU,
    ]
    read = normalise(trace(Fn(lambda s, x: F.max_pool2d(F.relu(x), 2).mean() + F.relu(x).mean())))
    shared = normalise(trace(Fn(lambda s, x: both(F.relu(x)))))
    for gm in (read, shared):
        x = torch.randn(2, 3, 4, 4)
        gm(x)
    order = [type(module_of(shared, n)) for n in shared.graph.nodes if n.op == "call_module"]
    assert order == [nn.ReLU, nn.MaxPool2d]


def both(x):
    return F.max_pool2d(x, 2).mean() + x.mean()


def test_normalising_twice_changes_nothing():
    gm = normalise(trace(Nested()))
    before = str(gm.graph)
    assert str(normalise(gm).graph) == before
    assert isinstance(gm, fx.GraphModule)


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
