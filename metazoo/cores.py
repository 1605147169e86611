"""Which processor cores this process may use; standard library only."""

import os


def core_numbers() -> list[int]:
    """Those it is confined to, where the system tells, else all; at least one."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores() -> int:
    """How many they are."""
    return len(core_numbers())
