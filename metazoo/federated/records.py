"""Flower's records, as server and clients of a federation write and read them."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict

ARRAYS: Final = "arrays"
CONFIG: Final = "config"
METRICS: Final = "metrics"
FEDERATION: Final = "federation"
"""The federation as text, in every message's config."""
ROUND: Final = "server-round"
WEIGHT: Final = "num-examples"
"""By which Flower averages: a client's tasks."""
CLIENT: Final = "client"
DROPPED: Final = 200
"""Error code of a client that drops out of a round; Flower's own are small."""


def arrays_of(names: Iterable[str], values: Iterable[np.ndarray]) -> ArrayRecord:
    """Weights under the names of their variables."""
    return ArrayRecord({name: Array(np.asarray(value)) for name, value in zip(names, values, strict=True)})


def names_of(variables: Sequence[Any]) -> list[str]:
    """A name for each variable, which nobody else has."""
    return [f"{i}:{variable.path}" for i, variable in enumerate(variables)]


def bytes_of(content: RecordDict) -> int:
    """What a message carries, without Flower's envelope."""
    return sum(record.count_bytes() for record in content.values())
