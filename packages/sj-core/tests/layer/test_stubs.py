"""The constructors that type checkers see are those that run."""

import ast
import inspect
from pathlib import Path

import pytest

from sj_core import layer

STUBS = sorted(Path(layer.__file__).parent.glob("*.pyi"))


def declared(stub):
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    yield node.name, item.args


CLASSES = {name: args for stub in STUBS for name, args in declared(stub)}


def test_every_folded_layer_of_torch_is_declared():
    folded = {
        name
        for name, value in vars(layer).items()
        if inspect.isclass(value)
        and issubclass(value, layer.FoldTime)
        and value is not layer.FoldTime
    }
    own_arguments = {n for n in folded if n.startswith(("Temporal", "Threshold"))}
    assert folded - own_arguments == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_names_order_and_defaults(name):
    args = CLASSES[name]
    names = [a.arg for a in args.args[1:]]
    defaults = [ast.literal_eval(d) for d in args.defaults]
    written = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    runtime = dict(inspect.signature(getattr(layer, name)).parameters)
    assert runtime.pop("step_mode").default == ast.literal_eval(args.kw_defaults[0])
    assert [a.arg for a in args.kwonlyargs] == ["step_mode"]
    # An older torch has not every argument; those that it has are these, in this order.
    assert list(runtime) == [n for n in names if n in runtime]
    for parameter in runtime.values():
        if parameter.default is not inspect.Parameter.empty:
            assert written[parameter.name] == parameter.default
        else:
            assert parameter.name not in written
