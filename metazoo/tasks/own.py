"""Families that are the user's own: ``module:object`` or a path → a family, for trainings, and for policies that find
theirs again.

A policy's metadata keeps the place and the arguments (``family_from``, ``family_args``), never code. Importing runs
what the module does when it is imported; where metadata alone asks for it, nothing is called but what says that it
makes a family.
"""

import importlib
import inspect
import os
import re
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from metazoo.artefact.spaces import CollectionError, env_name
from metazoo.tasks.family import Family, TaskFamily
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.tasks.registry import FAMILIES
from metazoo.types import one_line
from metazoo.words import meant

ANY: Final = (TaskFamily, HostFamily)
FORM: Final = "MODULE:OBJECT or FILE.py:OBJECT, such as my_robot:Altitude"
KEYS: Final = ("family", "family_args", "family_from")
"""What of a policy's metadata says its family."""


class _Given(NamedTuple):
    """A family that this process was told of: how messages call it, what makes it, and its arguments if not those of
    the policies' metadata."""

    called: str
    make: Callable[[Mapping[str, Any]], AnyFamily]
    arguments: Mapping[str, Any] | None


_GIVEN: dict[str, _Given] = {}


class FamilyError(ValueError):
    """There is no family where one was said to be; one sentence."""


def made_from(reference: str, arguments: Mapping[str, Any], trusted: bool = True) -> AnyFamily:
    """The family at ``module:object`` or ``file.py:object``, of these arguments.

    The object is a family's class, a family, or a factory. ``trusted`` is False where nobody typed the reference: a
    factory must then say that it returns a family (``def altitude() -> GymFamily``).

    Raises:
        FamilyError: nothing is there, it is no family, or it cannot be made of these arguments.
    """
    found = _found(reference)
    if not trusted and not isinstance(found, ANY) and not _returns_family(found):
        raise FamilyError(
            f"{reference} does not say that it returns a family, so it is not called; write its return type"
            " (def make() -> GymFamily), or give it with --family."
        )
    return made_of(found, arguments, reference)


def made_of(found: Any, arguments: Mapping[str, Any], called: str) -> AnyFamily:
    """The family that an object is, or makes of ``arguments``; ``called`` is its name in messages.

    Raises:
        FamilyError: it is no family, makes none, or takes no such arguments.
    """
    if isinstance(found, ANY):
        if arguments:
            raise FamilyError(
                f"{called} is a family already; it takes no arguments, and {one_line(arguments)} is given."
            )
        return _named(found, called)
    if not callable(found) or _is_environment(found):
        raise FamilyError(
            f"{called} is {_kind(found)}; it must be a TaskFamily, a HostFamily or what makes one.{_hint(found)}"
        )
    try:
        family = found(**arguments)
    except CollectionError:
        raise
    except Exception as error:  # the user's code
        told = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise FamilyError(f"{called} cannot be made with ({told}): {type(error).__name__}: {error}") from error
    if not isinstance(family, ANY):
        raise FamilyError(f"{called} made {_kind(family)}; it must make a TaskFamily or a HostFamily.{_hint(family)}")
    return _named(family, called)


def give(name: str, family: Any, called: str = "", arguments: Mapping[str, Any] | None = None) -> None:
    """From now on, in this process, policies of the family ``name`` are of this one: an object, or a reference.

    ``called`` is what messages call an object; ``arguments`` take the place of those in policies' metadata.
    """
    if isinstance(family, str):
        _GIVEN[name] = _Given(family, lambda given: made_from(family, given), arguments)
    else:
        said = called or getattr(family, "__qualname__", type(family).__qualname__)
        _GIVEN[name] = _Given(said, lambda given: made_of(family, given, said), arguments)


def give_again(name: str, reference: str) -> None:
    """In another process of the same program: ``give``, where somebody typed the reference; empty, it does nothing."""
    if reference:
        give(name, reference)


def was_given(name: str) -> bool:
    """Whether this process was told of a family of that name."""
    return name in _GIVEN


def family_of(metadata: Mapping[str, Any], **changes: Any) -> AnyFamily:
    """The family that a policy's metadata names, with changed arguments such as ``horizon``.

    Raises:
        ValueError: this installation does not know the family, or does not find it where the metadata says.
    """
    name, arguments = metadata["family"], {**metadata.get("family_args", {}), **changes}
    if given := _GIVEN.get(name):
        return given.make(arguments if given.arguments is None else {**given.arguments, **changes})
    who = f"{metadata.get('name') or 'it'} was trained on the family {name!r}"
    if reference := metadata.get("family_from"):
        try:
            family = made_from(reference, arguments, trusted=False)
        except FamilyError as error:
            raise ValueError(
                f"{who} of {reference}, and {error} If it is elsewhere now, say so with --family."
            ) from error
        if family.name != name:
            raise ValueError(
                f"{who} of {reference}, and that is {family.name!r} now; give the right one with --family."
            )
        return family
    if name not in FAMILIES:
        raise ValueError(
            f"{who}, which is not known here; give it with --family {FORM}, or in Python to"
            " metazoo.tasks.own.give, or install the package that declares it (entry point metazoo.families)."
        )
    return FAMILIES[name](**arguments)


def identity(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """What tells a policy's family from others: the entries of its metadata, and what stands in their place here."""
    kept = {key: metadata[key] for key in KEYS if metadata.get(key)}
    given = _GIVEN.get(metadata["family"])
    return kept, f"{given.called} {given.arguments}" if given else ""


def place_of(family: Any) -> str:
    """``module:name`` of a class or factory that can be imported again by it; empty for all else."""
    module, name = getattr(family, "__module__", ""), getattr(family, "__qualname__", "")
    if isinstance(family, ANY) or module in ("", "__main__") or not name.isidentifier():
        return ""
    return f"{module}:{name}" if getattr(sys.modules.get(module), name, None) is family else ""


def import_path() -> None:
    """Modules in the current directory are found: an installed program does not look there, ``python -m`` does."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())


def object_at(reference: str) -> Any:
    """What ``module:object`` or ``file.py:object`` names, of whatever kind.

    Raises:
        FamilyError: nothing is there.
    """
    place, _, name = reference.rpartition(":")
    if not place or not re.fullmatch(r"[A-Za-z_][\w.]*", name):
        raise FamilyError(f"{reference!r} is no place of an object; it must be MODULE:OBJECT or FILE.py:OBJECT.")
    return _found(reference)


def _found(reference: str) -> Any:
    """The object that a reference names."""
    place, colon, name = reference.rpartition(":")
    if not colon:
        place, name = (reference, "") if reference.endswith(".py") else ("", reference)
    if not place or not re.fullmatch(r"[\w.]*", name):
        raise FamilyError(f"the family is {reference!r}; it must be {FORM}.")
    module = _module_of_file(Path(place)) if place.endswith(".py") else _module(place)
    if not name:
        return _only_one(module, reference)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [one for one, value in vars(module).items() if _is_family(value)]
            raise FamilyError(f"{place} has no {name!r}; {meant(name, known, 'it has no family at all')}")
        found = getattr(found, part)
    return found


def _module(name: str) -> ModuleType:
    import_path()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise FamilyError(
                f"there is no module {name!r} here; its directory must be the current one or on PYTHONPATH."
            ) from error
        raise FamilyError(f"the module {name!r} cannot be imported: {error}.") from error
    except Exception as error:  # the user's code
        raise FamilyError(f"the module {name!r} cannot be imported: {type(error).__name__}: {error}.") from error


def _module_of_file(path: Path) -> ModuleType:
    """The file as a module of its own name, which worker processes import too."""
    if not path.is_file():
        raise FamilyError(f"there is no file {path}.")
    directory = str(path.resolve().parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module = _module(path.stem)
    if not getattr(module, "__file__", None) or not path.samefile(typing.cast(str, module.__file__)):
        raise FamilyError(f"another module is called {path.stem!r}; give the file {path} another name.")
    return module


def _only_one(module: ModuleType, reference: str) -> Any:
    """The family of a file in which there is no other."""
    known = [name for name, value in vars(module).items() if _is_family(value, module.__name__)]
    if len(known) != 1:
        what = f"{len(known)} families ({', '.join(known)})" if known else "no family"
        raise FamilyError(f"{reference} has {what}; say which object: {reference}:OBJECT.")
    return getattr(module, known[0])


def _is_family(value: Any, module: str = "") -> bool:
    """Whether it is a family, or a class of one that the module itself defines."""
    if isinstance(value, type):
        own = not module or value.__module__ == module
        return own and issubclass(value, ANY) and not inspect.isabstract(value)
    return isinstance(value, ANY)


def _returns_family(found: Any) -> bool:
    if isinstance(found, type):
        return issubclass(found, ANY)
    try:
        returned = typing.get_type_hints(found).get("return")
    except Exception:  # noqa: BLE001  what has no hints, or hints that cannot be read, does not say it
        return False
    return isinstance(returned, type) and issubclass(returned, Family)


def _named(family: AnyFamily, called: str) -> AnyFamily:
    """The family, if its name can be told from those of the zoo."""
    name = getattr(family, "name", None)
    if not isinstance(name, str) or not name:
        raise FamilyError(f"{called} has the name {name!r}; a family needs one, such as name = 'altitude'.")
    if name in FAMILIES and not isinstance(family, FAMILIES[name]):
        raise FamilyError(f"{called} has the name {name!r}, as a family of the zoo; give it another one.")
    return family


def _is_environment(found: Any) -> bool:
    of = found if isinstance(found, type) else type(found)
    return all(hasattr(of, method) for method in ("reset", "step", "render")) and not issubclass(of, ANY)


def _kind(found: Any) -> str:
    if isinstance(found, type):
        return f"the class {found.__name__}"
    return f"the environment {env_name(found)}" if _is_environment(found) else f"of type {type(found).__name__}"


def _hint(found: Any) -> str:
    if not _is_environment(found):
        return ""
    return " An environment becomes one by GymFamily(Env, {'parameter': (low, high)})."
