"""How many processor cores this process may use; standard library only."""

import os


def cores() -> int:
    """Those it is confined to, where the system tells; at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
