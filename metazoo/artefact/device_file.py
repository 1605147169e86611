"""The file that a device gets: a LiteRT model with the policy's metadata behind it, which LiteRT does not look at.

What follows the model is a ZIP archive with one entry, as the TFLite metadata format has it for associated files: any
ZIP reader lists it, and the archive's end tells a whole file from one that was cut off. Standard library only.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ENTRY: Final = "metazoo.json"
FORMAT: Final = 1
"""Version of this file format, stored as ``edge.format``; ``edge.runtime.FORMAT`` is what a device reads."""
SUFFIX: Final = ".tflite"
KEPT: Final = (
    "name", "family", "family_args", "algorithm", "observation_space", "action_space", "distribution", "memory",
    "parameters", "horizon", "supervised", "adapt", "rewards", "adapted",
)  # fmt: skip
"""What a device is told of ``assets.extra/metazoo.json``."""
CONTRACT: Final = (
    "Play K episodes of at most T steps with actions sampled by `step` from one memory (carry `step`'s memory where "
    "memory.online is true, with one closing step on each final observation), then call `adapt` with the memory they "
    "began with. Steps and episodes that were not played are zeros with mask 0; actions are stored as sampled, and "
    "clipped only for the environment."
)


def packed(
    model: bytes,
    metadata: Mapping[str, Any],
    version: int,
    sizes: tuple[int, int],
    checked: int,
    weights: str = "float32",
) -> bytes:
    """The model with its metadata; ``sizes`` are K and T. The same input gives the same bytes.

    ``checked``: on so many random inputs of every signature it answered as the SavedModel. ``weights``: their dtype.
    """
    about = {
        "format": FORMAT,
        "version": version,
        "episodes": sizes[0],
        "steps": sizes[1],
        "rows": 1,
        "checked": checked,
        "weights": weights,
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "contract": CONTRACT,
    }
    kept = {name: metadata[name] for name in KEPT if name in metadata}
    content = io.BytesIO(model)
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(ENTRY)  # of 1980: a date would make every export another file
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, json.dumps({"edge": about, **kept}, indent=1, allow_nan=False))
    return content.getvalue()


def beside(version: Path) -> Path | None:
    """The file for devices that belongs to a version directory, ``<name>/<name>.tflite`` beside it, if there is one."""
    path = version.parent / f"{version.parent.name}{SUFFIX}"
    return path if str((about(path) or {}).get("version")) == version.name else None


def about(path: Path) -> dict[str, Any] | None:
    """What a file says of itself (``edge`` in its metadata: see ``packed``); None of what is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read(ENTRY))["edge"])
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return None
