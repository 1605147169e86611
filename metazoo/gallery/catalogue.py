"""What the gallery tells of the policies in some directories: read from metadata and cards, without TensorFlow."""

import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

from metazoo.artefact import device_file, lineage, store
from metazoo.gallery import markdown
from metazoo.hub import listing

KINDS: Final = {".png": b"image/png", ".gif": b"image/gif", device_file.SUFFIX: b"application/octet-stream"}
"""Files beside a policy's versions that are given out."""
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_SENTENCE: Final = re.compile(r"\A\s*# .*\n+([^\n]+)")


@final
class Catalogue:
    """The newest version of every policy in ``directories``; of two of one name the first directory's.

    What was read is kept until a file says that it has changed: the server has better things to do.
    """

    def __init__(self, directories: Sequence[Path]):
        self._directories = tuple(Path(one) for one in directories)
        self._lock = threading.Lock()
        self._stamp: Any = None
        self._versions: dict[str, Path] = {}
        self._rows: list[dict[str, Any]] = []
        self._cards: dict[tuple[Path, int], str] = {}
        self._policies: dict[str, tuple[Any, str, dict[str, Any]]] = {}

    def versions(self) -> dict[str, Path]:
        """The version directories by name; a directory that is not there has none."""
        with self._lock:
            self._read()
            return self._versions

    def rows(self) -> list[dict[str, Any]]:
        """A line about each policy, in order of names: ``hub.listing.summary``, what it is in a sentence, the curve of
        its evaluation, whose it is if it was adapted here, its file for devices. The same list while nothing changes.
        """
        with self._lock:
            self._read()
            return self._rows

    def policy(self, name: str) -> dict[str, Any] | None:
        """The line, and the card as HTML; None of what is not there. The same document while nothing changes."""
        version = self.versions().get(name)
        if version is None:
            return None
        row, card = next(row for row in self.rows() if row["name"] == name), self._card(name, version)
        kept = self._policies.get(name)
        if kept is None or kept[0] is not row or kept[1] is not card:
            kept = self._policies[name] = row, card, {**row, "card": card}
        return kept[2]

    def file(self, name: str, file: str) -> tuple[bytes, Path] | None:
        """Content type and place of a picture or a file for devices beside a policy; None of everything else."""
        version, kind = self.versions().get(name), KINDS.get(Path(file).suffix)
        if version is None or kind is None or not _FILE.fullmatch(file):
            return None
        path = version.parent / file
        return (kind, path) if path.is_file() else None

    def _read(self) -> None:
        stamp = [_stamp(directory) for directory in self._directories]
        if stamp == self._stamp:
            return
        found: dict[str, Path] = {}
        for directory in self._directories:
            if directory.is_dir():
                found = {**listing.policies(directory), **found}
        rows = [_row(name, version, store.read_metadata(version) or {}) for name, version in sorted(found.items())]
        self._stamp, self._versions, self._rows = stamp, found, rows

    def _card(self, name: str, version: Path) -> str:
        """Rendering takes as long as hundreds of requests for an action."""
        try:
            key = version, (version.parent / "README.md").stat().st_mtime_ns
            if key not in self._cards:
                self._cards[key] = markdown.html_of(listing.card(version), f"gallery/files/{name}")
            return self._cards[key]
        except OSError:
            return ""


def _stamp(directory: Path) -> list[tuple[str, int]]:
    """Changes when a policy comes or goes, or gets a version or another card."""
    try:
        with os.scandir(directory) as entries:
            return sorted((entry.name, entry.stat().st_mtime_ns) for entry in entries)
    except OSError:
        return []


def _row(name: str, version: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    adapted, device = lineage.record(metadata), device_file.beside(version)
    evaluation = metadata.get("evaluation") or {}
    return {
        "name": name,
        "version": int(version.name),
        **listing.summary(metadata),
        "about": _about(version),
        "online": bool((metadata.get("memory") or {}).get("online")),
        "curve": [] if adapted else [[point["mean"], *point["ci95"]] for point in evaluation.get("curve") or []],
        "adapted": adapted and {key: adapted.get(key) for key in ("from", "task", "steps", "episodes")},
        "litert": device and {"file": device.name, "bytes": device.stat().st_size},
        "picture": (version.parent / "curve.png").is_file(),
        **({"before": None, "after": None} if adapted else {}),
    }


def _about(version: Path) -> str:
    """The card's first sentence."""
    try:
        found = _SENTENCE.match(listing.card(version))
    except OSError:
        found = None
    return found[1][:1].upper() + found[1][1:] if found else ""
