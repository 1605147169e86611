"""A small family of image classes that needs no data, and folders of pictures."""

from pathlib import Path

import numpy as np

from metazoo.tasks.images.classes import ImageClasses
from metazoo.tasks.images.image_set import SIDE, ImageSet

ALPHABETS = {"train": ("a", "b"), "validation": ("c",), "test": ("d",)}


def made_up_set(characters: int = 6, drawings: int = 20, seed: int = 0) -> ImageSet:
    """Four alphabets; each character is a random picture, its drawings differ from it a little; every one is unlike."""
    rng = np.random.default_rng(seed)
    means = rng.integers(40, 216, (4 * characters, 1, SIDE, SIDE))
    images = np.clip(means + rng.integers(-30, 31, (4 * characters, drawings, SIDE, SIDE)), 0, 255).astype(np.uint8)
    names = np.array([f"{i}" for i in range(4 * characters)])
    return ImageSet(images, np.repeat(np.array(["a", "b", "c", "d"]), characters), names)


SET = made_up_set()


class Pictures(ImageClasses):
    """N of the characters of ``SET``."""

    name = "pictures"
    known = len(SET.images)

    def image_set(self) -> ImageSet:
        return SET

    def alphabets(self, split: str) -> tuple[str, ...]:
        return ALPHABETS[split]


def write_folder(folder: Path, images: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> Path:
    """Pictures as black ink on white paper, a subfolder for each class."""
    from PIL import Image

    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / names[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - image).save(place / f"{number:02d}.png")
    return folder
