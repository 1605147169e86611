"""The task families by name: those of ``metazoo.tasks.catalogue``, and those of other packages.

These add theirs by the entry point ``metazoo.families``, whose value is a ``TaskFamily`` or ``HostFamily`` subclass
that can be made without arguments.
"""

from metazoo.plugins import subclass_of, with_entry_points
from metazoo.tasks import catalogue
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.host_family import AnyFamily, HostFamily

BUILT_IN: tuple[type[TaskFamily], ...] = tuple(line.load() for line in catalogue.IN_THE_GRAPH.values())
ON_THE_HOST: tuple[type[HostFamily], ...] = tuple(line.load() for line in catalogue.ON_THE_HOST.values())


def load_families() -> dict[str, type[AnyFamily]]:
    """The built-in families and those of entry points; an unusable entry point is left out with a warning."""
    check = subclass_of(TaskFamily, HostFamily)
    return with_entry_points("metazoo.families", "family", (*BUILT_IN, *ON_THE_HOST), lambda one: one.name, check)


FAMILIES: dict[str, type[AnyFamily]] = load_families()
IN_GRAPH: dict[str, type[TaskFamily]] = {name: one for name, one in FAMILIES.items() if issubclass(one, TaskFamily)}
