"""``omniglot``: handwritten characters of 50 alphabets by 20 people (Lake et al. 2015, Science 350:1332).

The archives (``metazoo.tasks.images.archives``) are the published ones, under the MIT licence.
"""

import functools
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final, NamedTuple, final

import numpy as np

from metazoo.tasks.images.archives import RUNS, SOURCES, found
from metazoo.tasks.images.classes import ImageClasses
from metazoo.tasks.images.image_set import SIDE, ImageSet
from metazoo.words import meant

KNOWN: Final = {"small": 242, "full": 1_623}
"""Characters of each source."""
VALIDATION: Final = {"small": ("Early_Aramaic",), "full": ("Tagalog", "Korean", "N_Ko", "Futurama", "Sanskrit")}
TEST: Final = ("Sanskrit", "Tagalog")
"""Of the small sets; of the full one, all alphabets of ``images_evaluation``."""


class Run(NamedTuple):
    """One run of the official one-shot test: ``support [20, 28, 28]``, one drawing of each of 20 characters of an
    alphabet; ``query [20, 28, 28]``, drawn by another person; ``labels [20]``, which of the first each is."""

    support: np.ndarray
    query: np.ndarray
    labels: np.ndarray


@final
class Omniglot(ImageClasses):
    """``source`` ``small``: the 242 characters of the two minimal sets, Sanskrit and Tagalog held out for tests.
    ``full``: learned from the background set, tested on the evaluation set.

    Raises:
        ValueError: another source.
    """

    name: ClassVar[str] = "omniglot"

    def __init__(
        self,
        ways: int = 5,
        shots: int = 1,
        queries: int = 5,
        turned: bool = True,
        source: str = "small",
    ):
        if source not in SOURCES:
            raise ValueError(f"source is {source!r}; {meant(source, SOURCES)}")
        super().__init__(ways, shots, queries, turned)
        self.source, self.known = source, KNOWN[source]

    def image_set(self) -> ImageSet:
        return loaded(self.source)

    def alphabets(self, split: str) -> tuple[str, ...]:
        test = TEST if self.source == "small" else alphabets_in(found(SOURCES["full"][1]))
        held = {"validation": VALIDATION[self.source], "test": test}
        every = set(self.image_set().alphabets.tolist())
        return held[split] if split in held else tuple(sorted(every - {*held["validation"], *test}))


@functools.cache
def loaded(source: str) -> ImageSet:
    """All characters of a source; those that two archives share are there once."""
    drawn: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for archive in SOURCES[source]:
        for path, content in _pictures(found(archive)):
            _, alphabet, character, file = path.split("/")
            drawn.setdefault((alphabet, character), {}).setdefault(file.split("_")[1], read_picture(content))
    order = sorted(drawn)
    images = np.stack([np.stack([drawn[one][name] for name in sorted(drawn[one])]) for one in order])
    return ImageSet(images, np.array([one[0] for one in order]), np.array([one[1] for one in order]))


@functools.cache
def runs() -> tuple[Run, ...]:
    """The 20 runs of the official one-shot test."""
    archive = found(RUNS)
    pictures = {path: read_picture(content) for path, content in _pictures(archive)}
    return tuple(_run(archive, pictures, f"run{number:02d}") for number in range(1, 21))


def alphabets_in(archive: Path) -> tuple[str, ...]:
    """The alphabets of an archive."""
    with zipfile.ZipFile(archive) as file:
        names = {name.split("/")[1] for name in file.namelist() if name.count("/") > 1}
    return tuple(sorted(names))


def read_picture(content: bytes) -> np.ndarray:
    """A published drawing, 105 × 105 with black ink, as uint8 ``[28, 28]`` with ink 255: each pixel the mean of its
    area."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return 255 - np.asarray(small, np.uint8)


def _run(archive: Path, pictures: dict[str, np.ndarray], name: str) -> Run:
    with zipfile.ZipFile(archive) as file:
        lines = [line.split() for line in file.read(f"{name}/class_labels.txt").decode().splitlines()]
    classes = sorted(path for path in pictures if path.startswith(f"{name}/training/"))
    support = np.stack([pictures[path] for path in classes])
    query = np.stack([pictures[test] for test, _ in lines])
    return Run(support, query, np.array([classes.index(training) for _, training in lines], np.int32))


def _pictures(archive: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as file:
        for name in sorted(file.namelist()):
            if name.endswith(".png"):
                yield name, file.read(name)
