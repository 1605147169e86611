"""``glyphs``: characters of the scripts in DejaVu Sans, each drawn 20 times; alphabets are held out."""

import functools
from pathlib import Path
from typing import ClassVar, final

from metazoo import progress
from metazoo.artefact.places import cache_directory
from metazoo.tasks.images import image_set, rendering, scripts
from metazoo.tasks.images.classes import ImageClasses
from metazoo.tasks.images.image_set import ImageSet

CHECKSUM = "b91d0a878a09c78ea5ebf09a489adbfca080f9398bc6d9306a01d33b5c637ae4"
"""Of the set as matplotlib 3.11 draws it; another FreeType may move the edge of a character by a pixel."""


@final
class Glyphs(ImageClasses):
    """2,188 characters of 15 scripts and 7 blocks of symbols; nine scripts are held out."""

    name: ClassVar[str] = "glyphs"
    known = 2_188

    def image_set(self) -> ImageSet:
        return rendered()

    def alphabets(self, split: str) -> tuple[str, ...]:
        if split in scripts.SPLIT:
            return scripts.SPLIT[split]
        return tuple(name for name in (*scripts.NAMED, *scripts.BLOCKS) if scripts.split_of(name) == "train")


def path() -> Path:
    """Where the drawn set is kept."""
    return cache_directory() / "glyphs.npz"


@functools.cache
def rendered() -> ImageSet:
    """The set: from the cache, or drawn and put there."""
    kept = path()
    if kept.exists():
        return image_set.read(kept)
    with progress.stage("glyphs, characters") as advance:
        images = rendering.render(advance=advance)
    image_set.write(images, kept)
    return images
