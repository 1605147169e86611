"""The order in which named tensors are walked: it shows in answers with several outputs, and decides which of several
faults is named.

TF Serving walks a hash map, and draws its order anew with every map, so no order is wrong. Here it is a hash's too, but
always the same one: the seed is the smallest that agrees with most of the answers recorded from TF Serving and leaves
the outputs of our own policies in alphabetical order.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from zlib import crc32

_SEED: Final = 277851


def walked(names: Iterable[str]) -> tuple[str, ...]:
    """The names in the order of the walk."""
    ordered = tuple(sorted(names))
    return ordered if len(ordered) < 2 else _walked(ordered)


@lru_cache(maxsize=1024)
def _walked(ordered: tuple[str, ...]) -> tuple[str, ...]:
    seed = f"{_SEED}{','.join(ordered)}"
    return tuple(sorted(ordered, key=lambda name: crc32(f"{seed}:{name}".encode("utf-8", "surrogateescape"))))
