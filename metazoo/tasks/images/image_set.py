"""Images of characters by alphabet, and the file that holds them."""

import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metazoo.artefact.whole import aside

SIDE = 28
"""Rows and columns of an image."""


class ImageSet(NamedTuple):
    """``images [C, D, 28, 28]`` uint8, ink 255 on 0: D drawings of C characters; ``alphabets [C]``, each one's name;
    ``characters [C]``, what it is called there."""

    images: Any
    alphabets: Any
    characters: Any

    def checksum(self) -> str:
        """SHA-256 of all that is in it, in hexadecimal."""
        names = "\n".join(map("\t".join, zip(self.alphabets.tolist(), self.characters.tolist(), strict=True)))
        return hashlib.sha256(names.encode() + self.images.tobytes()).hexdigest()

    def of(self, alphabets: tuple[str, ...]) -> Any:
        """The indices of the characters of these alphabets, int32 ``[n]``."""
        return np.flatnonzero(np.isin(self.alphabets, alphabets)).astype(np.int32)


def write(images: ImageSet, path: Path) -> None:
    """Writes the set whole: whoever reads sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, checksum=images.checksum(), **images._asdict())
    with aside(path) as part:
        part.write_bytes(buffer.getvalue())


def read(path: Path) -> ImageSet:
    """Reads a set.

    Raises:
        ValueError: the file is no such set, or was changed.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            fields = {name: file[name] for name in (*ImageSet._fields, "checksum")}
    except Exception as error:  # whatever a damaged archive raises  # noqa: BLE001
        raise ValueError(f"{path} holds no images ({type(error).__name__}); delete it, and it is made anew.") from None
    checksum = str(fields.pop("checksum"))
    images = ImageSet(**fields)
    if images.checksum() != checksum:
        raise ValueError(f"{path} was changed: its checksum does not fit; delete it, and it is made anew.")
    return images
