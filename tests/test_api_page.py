"""Every public name of docs/api.md is documented where it is defined: what it is, and what it raises."""

import ast
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
NAMES = re.findall(r"^::: (\S+)(?:\n    options:\n      members: \[(.*)\])?$", PAGE, re.MULTILINE)


def members(name: str, chosen: str) -> dict[str, object]:
    """The public functions, classes and methods that the page shows under a name."""
    found = pkgutil.resolve_name(name)
    if not (inspect.ismodule(found) or inspect.isclass(found)):
        return {name: found}
    inside = {key: getattr(found, key) for key in (chosen.split(", ") if chosen else vars(found))}
    shown = {} if inspect.ismodule(found) else {name: found}
    for key, value in inside.items():
        if key.startswith("_") or not (inspect.isroutine(value) or inspect.isclass(value)):
            continue
        own = not inspect.ismodule(found) or value.__module__ == found.__name__ or key in getattr(found, "__all__", ())
        if own and inspect.isclass(value) and inspect.ismodule(found):
            shown |= members(f"{name}.{key}", "")
        elif own:
            shown[f"{name}.{key}"] = value
    return shown


@pytest.mark.parametrize(("name", "chosen"), NAMES, ids=[name for name, _ in NAMES])
def test_what_stands_on_the_page_is_documented(name, chosen):
    shown = members(name, chosen)
    assert shown
    assert not [one for one, value in shown.items() if not inspect.getdoc(value)], "without a docstring"
    assert not [one for one, value in shown.items() if _raises(value) and "aise" not in inspect.getdoc(value)]


def _raises(value: object) -> bool:
    """Whether a function raises by itself, rather than again."""
    function = inspect.unwrap(getattr(value, "__func__", value))
    if not inspect.isfunction(function):
        return False
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = (node for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None)
    return any(not _named(node.exc, ("NotImplementedError", "KeyboardInterrupt")) for node in raised)


def _named(raised: ast.expr, names: tuple[str, ...]) -> bool:
    called = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(called, ast.Name) and called.id in names
