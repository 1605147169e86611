"""What other packages add to the zoo by entry points: families, learners, presets. Imports nothing heavy."""

import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Any


def with_entry_points(
    group: str, kind: str, built_in: Iterable[Any], named: Callable[[Any], str], check: Callable[[Any], None]
) -> dict[str, Any]:
    """The ``built_in`` things by name, and those of the entry points of ``group``.

    An entry point's value is one thing, or a tuple or list of them. One that cannot be used (``check`` raises, or its
    name is taken) is left out with a warning: whatever another package does must not take the zoo down.
    """
    found = {named(one): one for one in built_in}
    for point in entry_points(group=group):
        try:
            loaded = point.load()
            for one in loaded if isinstance(loaded, tuple | list) else (loaded,):
                check(one)
                if found.setdefault(named(one), one) is not one:
                    raise ValueError(f"the name {named(one)!r} is taken")
        except Exception as error:  # noqa: BLE001
            warnings.warn(f"the {kind} {point.value} of entry point {point.name!r} is left out: {error}.", stacklevel=3)
    return found


def subclass_of(*classes: type) -> Callable[[Any], None]:
    """A check that refuses what is no subclass of one of the ``classes``."""

    def check(one: Any) -> None:
        if not (isinstance(one, type) and issubclass(one, classes)):
            raise TypeError(f"it is not a subclass of {' or '.join(base.__name__ for base in classes)}")

    return check
