"""What a process holds: whether it grows with the work, beside all that else a large process does."""

import os
from collections.abc import Callable
from pathlib import Path

STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def least_growth(parts: list[Callable[[], object]]) -> int:
    """The least growth during one of several equal parts of some work, in bytes.

    What leaks grows in every part. What the allocator, the collector of garbage and other threads do, in some.
    """
    sizes = [resident_bytes()]
    for part in parts:
        part()
        sizes.append(resident_bytes())
    return min(after - before for before, after in zip(sizes, sizes[1:], strict=False))
