"""What the gallery tells of the policies in some directories: read from metadata and cards, without TensorFlow."""

import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

from metazoo.artefact import device_file, lineage, store
from metazoo.gallery import markdown
from metazoo.hub import listing

FRESH_SECONDS: Final = 2.0
"""So long what was read is not read again."""
KINDS: Final = {".png": b"image/png", ".gif": b"image/gif", device_file.SUFFIX: b"application/octet-stream"}
"""Files beside a policy's versions that are given out."""
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_SENTENCE: Final = re.compile(r"\A\s*# .*\n+([^\n]+)")


@final
class Catalogue:
    """The newest version of every policy in ``directories``; of two of one name the first directory's."""

    def __init__(self, directories: Sequence[Path]):
        self._directories = tuple(Path(one) for one in directories)
        self._read: tuple[float, dict[str, Path]] = (-FRESH_SECONDS, {})
        self._rows: dict[tuple[Path, int], dict[str, Any]] = {}
        self._lock = threading.Lock()

    def versions(self) -> dict[str, Path]:
        """The version directories by name; a directory that is not there has none."""
        with self._lock:
            when, found = self._read
            if time.monotonic() - when > FRESH_SECONDS:
                found = {}
                for directory in self._directories:
                    if directory.is_dir():
                        found = {**listing.policies(directory), **found}
                self._read = time.monotonic(), found
            return found

    def rows(self) -> list[dict[str, Any]]:
        """A line about each policy, in order of names: ``hub.listing.summary``, what it is in a sentence, the curve of
        its evaluation, whose it is if it was adapted here, its file for devices."""
        return [self._row(name, version) for name, version in sorted(self.versions().items())]

    def policy(self, name: str) -> dict[str, Any] | None:
        """The line, and the card as HTML; None of what is not there."""
        version = self.versions().get(name)
        if version is None:
            return None
        try:
            card = markdown.html_of(listing.card(version), f"gallery/files/{name}")
        except OSError:
            card = ""
        return {**self._row(name, version), "card": card}

    def file(self, name: str, file: str) -> tuple[bytes, Path] | None:
        """Content type and place of a picture or a file for devices beside a policy; None of everything else."""
        version, kind = self.versions().get(name), KINDS.get(Path(file).suffix)
        if version is None or kind is None or not _FILE.fullmatch(file):
            return None
        path = version.parent / file
        return (kind, path) if path.is_file() else None

    def _row(self, name: str, version: Path) -> dict[str, Any]:
        try:
            changed = (version / "assets.extra" / "metazoo.json").stat().st_mtime_ns
        except OSError:
            changed = 0
        if (row := self._rows.get((version, changed))) is None:
            row = self._rows[version, changed] = _row(name, version, store.read_metadata(version) or {})
        return row


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
    return found[1] if found else ""
