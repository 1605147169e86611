"""The policies of a models directory, as ``metazoo list`` shows them. Reads metadata only; no TensorFlow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metazoo import store

COLUMNS = ("name", "version", "algorithm", "family", "steps", "before", "after", "size")


def entries(directory: Path) -> list[dict[str, Any]]:
    """One row for every ``directory/<name>`` whose newest version is a policy, in order of names.

    Keys: name, version, algorithm, family, metric, steps, before, after (returns on the test tasks without and with
    adaptation; null where none were recorded), parameters (floats of the policy's memory), bytes (of the version).

    Raises:
        FileNotFoundError: there is no such directory.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"there is no models directory {directory}.")
    rows = []
    for base in sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if found := store.versions(base):
            version = max(found)
            metadata = store.read_metadata(found[version])
            if metadata is not None:
                rows.append(_entry(base.name, version, found[version], metadata))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text in columns."""
    if not rows:
        return "There are no policies here: metazoo train PRESET --out DIR makes one."
    cells = [COLUMNS, *([_cell(row, column) for column in COLUMNS] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    lines = []
    for line in cells:
        padded = (
            text.rjust(width) if name in ("steps", "before", "after", "size") else text.ljust(width)
            for name, text, width in zip(COLUMNS, line, widths, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def find(name_or_dir: str, directory: Path) -> Path:
    """The version directory of a policy: the newest under ``directory/name``, or a directory given as a path.

    Raises:
        ValueError: there is none; the message lists the names in ``directory``.
    """
    for candidate in (directory / name_or_dir, Path(name_or_dir)):
        if store.read_metadata(candidate) is not None:
            return candidate
        if candidate.is_dir() and (found := store.versions(candidate)):
            return found[max(found)]
    known = ", ".join(row["name"] for row in entries(directory)) or "none"
    raise ValueError(f"there is no policy {name_or_dir!r}: give a directory or a name ({known}).")


def card(version: Path) -> str:
    """The model card that stands beside a version directory.

    Raises:
        FileNotFoundError: it has none.
    """
    path = version.parent / "README.md"
    if not path.is_file():
        raise FileNotFoundError(f"{version} has no model card {path}; --json shows its metadata.")
    return path.read_text(encoding="utf-8")


def _entry(name: str, version: int, path: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    evaluation = metadata.get("evaluation") or {}
    curve = evaluation.get("curve") or [{}]
    return {
        "name": name,
        "version": version,
        "algorithm": metadata.get("algorithm"),
        "family": metadata.get("family"),
        "metric": evaluation.get("metric"),
        "steps": curve[-1].get("steps"),
        "before": curve[0].get("mean"),
        "after": curve[-1].get("mean"),
        "parameters": (metadata.get("memory") or {}).get("size"),
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
    }


def _cell(row: Mapping[str, Any], column: str) -> str:
    if column == "size":
        return f"{row['bytes'] / 1e3:.0f} kB"
    value = row[column]
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
