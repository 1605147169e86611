"""Pictures as users have them (files of a folder, or bytes in a request: PNG, JPEG, ...) as a policy sees them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo.tasks.images.image_set import SIDE
from metazoo.types import Episodes
from metazoo.words import count

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
GREY_OF_RGB: Final = (0.299, 0.587, 0.114)
GREY: Final = ("1", "L")
"""Pillow's modes of pictures with one channel of at most a byte."""


class Folder(NamedTuple):
    """``images [n, 28, 28]`` uint8 as a policy sees them, ``labels [n]`` int32, the ``classes``' names in the order of
    the labels, and each picture's path below the folder."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    paths: tuple[str, ...]

    def episodes(self) -> Episodes:
        """As recorded episodes, batch-first ``[1, 1, n]``, for ``Pretrained.adapt``."""
        nothing = np.zeros((1, 1, len(self.labels)), np.float32)
        never = nothing.astype(bool)
        images = self.images[None, None]
        return Episodes(images, images[:, :, -1], self.labels[None, None], nothing, never, never, nothing + 1.0)


def from_bytes(content: tf.Tensor) -> tf.Tensor:
    """uint8 ``[28, 28]``, ink 255 on 0, of one encoded picture: grey, on a square, each pixel the mean of its area.

    What is lighter at its border than grey is dark ink on light paper, and is inverted. In TensorFlow's own operations:
    an export reads the pictures of requests with it.
    """
    picture = tf.cast(tf.io.decode_image(content, channels=3, expand_animations=False), tf.float32)
    picture = tf.reshape(picture, tf.concat([tf.shape(picture)[:2], [3]], 0))
    picture = tf.reduce_sum(picture * GREY_OF_RGB, -1, keepdims=True)
    border = tf.concat([picture[0, :, 0], picture[-1, :, 0], picture[:, 0, 0], picture[:, -1, 0]], 0)
    picture = tf.where(tf.reduce_mean(border) > 127.5, 255.0 - picture, picture)
    height, width = tf.unstack(tf.shape(picture)[:2])
    side = tf.maximum(height, width)
    square = tf.image.pad_to_bounding_box(picture, (side - height) // 2, (side - width) // 2, side, side)
    small = tf.image.resize(square[None], (SIDE, SIDE), tf.image.ResizeMethod.AREA)[0, :, :, 0]
    return tf.cast(tf.round(small), tf.uint8)


def read_folder(path: Path, most: int, convert: bool = False) -> Folder:
    """The pictures of a folder with one subfolder for each class, in the order of their names.

    Args:
        path: the folder.
        most: so many classes a policy tells apart.
        convert: takes pictures of any mode and size; else they must be grey and 28 × 28.

    Raises:
        ValueError: fewer than two classes or more than ``most``, a class without pictures, a file that is none, another
            mode or size, or the same picture twice; one sentence.
    """
    path = Path(path)
    classes = _classes(path, most)
    files = [(label, file) for label, name in enumerate(classes) for file in _pictures(path / name)]
    for _, file in files:
        _check(file, file.relative_to(path), convert)
    images = np.stack([from_bytes(tf.constant(file.read_bytes())).numpy() for _, file in files])
    labels = np.array([label for label, _ in files], np.int32)
    paths = tuple(file.relative_to(path).as_posix() for _, file in files)
    _refuse_twins(images, paths)
    return Folder(images, labels, classes, paths)


def _classes(path: Path, most: int) -> tuple[str, ...]:
    if not path.is_dir():
        raise ValueError(f"there is no folder {path}; one with a subfolder for each class would be right.")
    names = sorted(one.name for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    if not 2 <= len(names) <= most:
        raise ValueError(
            f"{path} has {count(len(names), 'subfolder')}; 2 to {most} would be right, one for each class that is to be"
            " told apart."
        )
    return tuple(names)


def _pictures(folder: Path) -> Iterator[Path]:
    """The files of a class's folder; hidden ones are the system's."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    if not files:
        raise ValueError(f"the class {folder.name!r} has no picture in {folder}; at least one would be right.")
    yield from files


def _check(file: Path, shown: Path, convert: bool) -> None:
    """Raises ValueError for what is no picture, or none as the policy takes it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            picture.load()
            mode, size = picture.mode, picture.size
    except (UnidentifiedImageError, OSError, SyntaxError):
        mode, size = None, (0, 0)
    if mode is None or file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{shown} is no picture that can be read; {', '.join(SUFFIXES)} would be right.")
    if convert:
        return
    if mode not in GREY:
        raise ValueError(f"{shown} has the mode {mode}; grey (mode L) would be right, --convert makes it so.")
    if size != (SIDE, SIDE):
        raise ValueError(
            f"{shown} has {size[0]} × {size[1]} pixels; {SIDE} × {SIDE} would be right, --convert makes it so."
        )


def _refuse_twins(images: np.ndarray, paths: tuple[str, ...]) -> None:
    first: dict[bytes, str] = {}
    for image, path in zip(images, paths, strict=True):
        other = first.setdefault(image.tobytes(), path)
        if other != path:
            raise ValueError(f"{other} and {path} are the same picture; leave one of them out.")


def single(folder: Folder) -> Any:
    """The names of the classes that have one picture only."""
    sizes = np.bincount(folder.labels, minlength=len(folder.classes))
    return [name for name, size in zip(folder.classes, sizes, strict=True) if size == 1]
