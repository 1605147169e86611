"""Columns of numbers by name, one row a step: arrays of a CSV file, a ``pandas.DataFrame``.

``observation_0``, ``observation_1``, … (or one column ``observation``, which may hold vectors ``[N, ...]``), ``action``
likewise, ``reward``, ``terminated``, ``truncated``; ``episode`` has a number for each episode, unless the ends tell
them apart. The observation after the last step stands in ``next_observation_0``, … of the last row, or in a row of
its own whose action is empty (NaN).
"""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from metazoo.artefact.spaces import CollectionError
from metazoo.words import meant

VECTORS = ("observation", "action", "next_observation")
NUMBERS = ("reward", "terminated", "truncated", "episode")


def rows(given: Any) -> list[dict[str, Any]]:
    """The table as dicts of steps, which ``logs.steps`` reads.

    Raises:
        CollectionError: a column is missing, or of another length, or not of numbers.
    """
    names = [str(name) for name in given.keys()]  # noqa: SIM118  a DataFrame iterates over its columns all the same
    columns: dict[str, np.ndarray] = {}
    for role in VECTORS:
        if (found := _vector(given, names, role)) is not None:
            columns[role] = found
    columns |= {name: _column(given, name) for name in NUMBERS if name in names}
    for needed in ("observation", "action", "reward"):
        if needed not in columns:
            near = meant(needed, names)
            raise CollectionError(f"the table has no column {needed!r}: {near.rstrip('.?')}")
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise CollectionError(f"the columns of the table have different lengths: {lengths}")
    return [_row(columns, index) for index in range(len(columns["reward"]))]


def _row(columns: dict[str, np.ndarray], index: int) -> dict[str, Any]:
    """One step; what is empty is left out."""
    values = {name: column[index] for name, column in columns.items()}
    return {name: value for name, value in values.items() if not _is_empty(value)}


def _is_empty(value: Any) -> bool:
    return value.dtype.kind == "f" and bool(np.all(np.isnan(value)))


def _vector(given: Any, names: Iterable[str], role: str) -> np.ndarray | None:
    """``[N, ...]`` from one column or from numbered ones, in the order of the numbers."""
    if role in names:
        return _column(given, role)
    numbered = {int(match[1]): name for name in names if (match := re.fullmatch(rf"{role}_(\d+)", name))}
    if not numbered:
        return None
    missing = set(range(len(numbered))) - set(numbered)
    if missing:
        raise CollectionError(f"the table has {len(numbered)} columns {role}_N, but no {role}_{min(missing)}")
    return np.stack([_column(given, numbered[number]) for number in range(len(numbered))], -1)


def _column(given: Any, name: str) -> np.ndarray:
    column = np.asarray(given[name])
    if column.dtype.kind == "O":
        column = _plain(name, column)
    if column.dtype.kind not in "biuf" or not column.ndim:
        raise CollectionError(f"the column {name!r} holds {column.dtype}: it must be numbers, one for each step")
    return column


def _plain(name: str, column: np.ndarray) -> np.ndarray:
    """Of objects: truth values and numbers with gaps, or a vector in each row."""
    try:
        return np.asarray([np.nan if value is None else value for value in column], float)
    except (TypeError, ValueError) as error:
        raise CollectionError(f"the column {name!r} is not of numbers: {error}") from error
