"""The check kit's front door, for the tests of this package and for families of your own.

    from metazoo.tasks.testing import check_family
    check_family(MyFamily())

Each check raises an AssertionError that says in one sentence what is wrong. They take some seconds together, most of
them for the last: a tiny policy plays the family, is exported, loaded, acts and adapts.
"""

from metazoo.tasks.family import TaskFamily
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.tasks.testing import graph, host


def check_family(family: AnyFamily) -> None:
    """Run every check on the family. One without out-of-range tasks (``sample`` refuses ``ood`` by a ValueError) is
    checked on the other splits.

    Raises:
        AssertionError: names the family, what it did and what it should have done.
        TypeError: it is no family.
    """
    if not isinstance(family, TaskFamily | HostFamily):
        what = f"the class {family.__name__}" if isinstance(family, type) else f"a {type(family).__name__}"
        raise TypeError(f"check_family was given {what}; it checks a TaskFamily or a HostFamily, such as GymFamily(…).")
    if isinstance(family, HostFamily):
        for on_the_host in host.CHECKS.values():
            on_the_host(family)
    else:
        for in_the_graph in graph.CHECKS.values():
            in_the_graph(family)
    _check_policy(family)


def _check_policy(family: AnyFamily) -> None:
    """The last check of every family, with a policy; it needs almost everything, so it is imported here."""
    from metazoo.tasks.testing.policy import check_policy

    check_policy(family)
