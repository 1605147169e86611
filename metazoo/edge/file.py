"""The file that a device gets: a LiteRT model with the policy's metadata behind it, which LiteRT does not look at.

What follows the model is a ZIP archive with one entry, as the TFLite metadata format has it for associated files: any
ZIP reader lists it, and the archive's end tells a whole file from one that was cut off. Standard library only.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, Final

ENTRY: Final = "metazoo.json"
FORMAT: Final = 1
"""Version of this file format, stored as ``edge.format``; ``runtime.FORMAT`` is what a device reads."""
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


def packed(model: bytes, metadata: Mapping[str, Any], version: int, sizes: tuple[int, int]) -> bytes:
    """The model with its metadata; ``sizes`` are K and T. The same input gives the same bytes."""
    about = {
        "format": FORMAT,
        "version": version,
        "episodes": sizes[0],
        "steps": sizes[1],
        "rows": 1,
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
