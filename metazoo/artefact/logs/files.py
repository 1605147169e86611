"""Files of recorded episodes, by the end of their name."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from metazoo.artefact.episodes import arrays_of
from metazoo.artefact.logs import minari
from metazoo.artefact.spaces import CollectionError

SUFFIXES: Final = (".npz", ".json", ".jsonl", ".csv")


def read(name: str | Path) -> Any:
    """What is in a file, or in Minari's data set ``minari:ID``. A file of another name is an ``.npz``.

    Raises:
        CollectionError: there is no such file, or it is damaged.
    """
    if str(name).startswith(minari.PREFIX):
        return minari.load(str(name).removeprefix(minari.PREFIX))
    path = Path(name)
    readers: dict[str, Callable[[Path], Any]] = {".json": json_of, ".jsonl": _lines, ".csv": _columns}
    return readers.get(path.suffix, arrays_of)(path)


def json_of(path: Path) -> Any:
    """A JSON document. Raises CollectionError."""
    return _parsed(path, _text(path), "it")


def _lines(path: Path) -> list[Any]:
    """A JSON document in each line: a step, or an episode."""
    lines = [line for line in _text(path).splitlines() if line.strip()]
    return [_parsed(path, line, f"line {number}") for number, line in enumerate(lines, 1)]


def _columns(path: Path) -> dict[str, np.ndarray]:
    """A table whose first line names its columns; what is empty is NaN."""
    header, *rows = list(csv.reader(_text(path).splitlines())) or [[]]
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise CollectionError(f"{path} has {len(row)} values in line {number}: its first line names {len(header)}")
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return {name.strip(): _numbers(path, name, column) for name, column in zip(header, columns, strict=True)}


def _numbers(path: Path, name: str, column: tuple[str, ...]) -> np.ndarray:
    words = {"": "nan", "true": "1", "false": "0"}
    try:
        return np.array([float(words.get(value.strip().casefold(), value)) for value in column])
    except ValueError as error:
        raise CollectionError(f"{path}: the column {name!r} is not of numbers: {error}") from error


def _parsed(path: Path, text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CollectionError(f"{path} is not JSON: {what} has {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before it
    except FileNotFoundError as error:
        raise CollectionError(f"there is no episodes file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CollectionError(f"{path} cannot be read: {error}") from error
