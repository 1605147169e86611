"""The policies of a models directory, as ``metazoo list`` shows them. Reads metadata only; no TensorFlow."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from metazoo.artefact import store
from metazoo.words import count, meant

_FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)
LONGEST: Final = 2000
"""Characters of a name or path; the system refuses to look for longer ones."""
COLUMNS = ("name", "version", "algorithm", "family", "sees", "does", "adapts in", "before", "after", "metric", "size")
NUMBERS = ("version", "before", "after", "size")


def entries(directory: Path) -> list[dict[str, Any]]:
    """One row for every ``directory/<name>`` whose newest version is a policy, in order of names.

    Keys: name, version, bytes (of the version), and those of ``summary``.

    Raises:
        FileNotFoundError: there is no such directory.
    """
    rows = []
    for name, path in policies(directory).items():
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        metadata = store.read_metadata(path) or {}
        rows.append({"name": name, "version": int(path.name), **summary(metadata), "bytes": size})
    return rows


def policies(directory: Path) -> dict[str, Path]:
    """The newest version directory of every policy in ``directory`` by name, in order.

    Raises:
        FileNotFoundError: there is no such directory.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"there is no models directory {directory}.")
    found = {}
    for base in sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if (versions := store.versions(base)) and store.read_metadata(versions[max(versions)]) is not None:
            found[base.name] = versions[max(versions)]
    return found


def summary(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What one line can say of a policy: how it was trained, how it adapts, and what that brings on the test tasks.

    Keys: algorithm, family, adapts_in (text), steps, episodes (as made for; null where unknown), metric,
    higher_is_better, before, after (null where nothing was recorded), before_is, after_is (text: what was measured),
    sees, does (the spaces, as text), parameters (weights of the network; null where unknown), memory_size (floats that
    it carries about a task).
    """
    evaluation, adapt, memory = (metadata.get(key) or {} for key in ("evaluation", "adapt", "memory"))
    return {
        "algorithm": metadata.get("algorithm"),
        "family": metadata.get("family"),
        "adapts_in": _adapts_in(metadata),
        "steps": (evaluation.get("curve") or [adapt])[-1].get("steps"),
        "episodes": adapt.get("episodes"),
        "metric": evaluation.get("metric"),
        "higher_is_better": evaluation.get("higher_is_better"),
        **_before_and_after(evaluation),
        "sees": _space(metadata.get("observation_space")),
        "does": _space(metadata.get("action_space")),
        "parameters": _weights(metadata),
        "memory_size": memory.get("size"),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text in columns."""
    if not rows:
        return "There are no policies here: metazoo train PRESET --out DIR makes one."
    cells = [COLUMNS, *([_cell(row, column) for column in COLUMNS] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    lines = []
    for line in cells:
        padded = (
            text.rjust(width) if name in NUMBERS else text.ljust(width)
            for name, text, width in zip(COLUMNS, line, widths, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def find(name_or_dir: str, directory: Path) -> Path:
    """The version directory of a policy: the newest under ``directory/name``, or a directory given as a path.

    Raises:
        ValueError: there is none; the message names those in ``directory`` that are near.
    """
    for candidate in (directory / name_or_dir, Path(name_or_dir)) if len(name_or_dir) <= LONGEST else ():
        if store.read_metadata(candidate) is not None:
            return candidate
        if candidate.is_dir() and (found := store.versions(candidate)):
            return found[max(found)]
    shown = name_or_dir[:80]
    if os.sep in name_or_dir or os.path.exists(name_or_dir):
        raise ValueError(f"there is no policy in {shown!r}; it must be a directory of versions, or one version.")
    known = policies(directory) if directory.is_dir() else {}
    suggestion = meant(name_or_dir, known, "give a directory or a name that metazoo list shows")
    raise ValueError(f"there is no policy {shown!r}; {suggestion}")


def card(version: Path) -> str:
    """The model card that stands beside a version directory, without what it says to Hugging Face's machines first.

    Raises:
        FileNotFoundError: it has none.
    """
    path = version.parent / "README.md"
    if not path.is_file():
        raise FileNotFoundError(f"{version} has no model card {path}; --json shows its metadata.")
    return _FRONT_MATTER.sub("", path.read_text(encoding="utf-8"))


def _weights(metadata: Mapping[str, Any]) -> int | None:
    """Fast weights are the memory, with a counter of steps; other exports say how many they have."""
    memory = metadata.get("memory") or {}
    noted = metadata.get("parameters")
    return memory["size"] - 1 if noted is None and memory.get("kind") == "fast_weights" else noted


def _adapts_in(metadata: Mapping[str, Any]) -> str:
    adapt, memory = metadata.get("adapt") or {}, metadata.get("memory") or {}
    steps, episodes, horizon = adapt.get("steps"), adapt.get("episodes") or 0, metadata.get("horizon") or 0
    if memory.get("online"):
        return count(episodes, "episode") if episodes > 1 else f"{count(horizon, 'step')} of playing"
    if not steps:
        return "-"
    examples = count(horizon, metadata.get("example", "point"))
    return f"{steps} × {examples if metadata.get('supervised') else count(episodes, 'episode')}"


def _before_and_after(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The ends of the curve; where a trial is one episode, random actions instead of an episode before the first."""
    curve = evaluation.get("curve") or [{}]
    first, last = curve[0], curve[-1]
    if not evaluation.get("online"):
        ends = ("unadapted", f"after {count(last.get('steps') or 0, 'step')}" if len(curve) > 1 else "unadapted")
    elif len(curve) > 1:
        ends = "first episode", f"episode {len(curve)}"
    else:
        first = (evaluation.get("baselines") or {}).get("random") or {}
        ends = "random actions", "whole trial"
    return {"before": first.get("mean"), "after": last.get("mean"), "before_is": ends[0], "after_is": ends[1]}


def _space(space: Mapping[str, Any] | None) -> str | None:
    """A space in a word: ``Box(4)``, ``Discrete(2)``."""
    if space is None:
        return None
    size = space.get("shape", space.get("nvec", space.get("n", "")))
    return f"{space['type']}({','.join(map(str, size)) if isinstance(size, list) else size})"


def _cell(row: Mapping[str, Any], column: str) -> str:
    if column == "size":
        return f"{row['bytes'] / 1e3:.0f} kB"
    value = row[column.replace(" ", "_")]
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)
