"""The published archives of Omniglot: where they are, and how to get them. Imports nothing heavy.

``metazoo download --data omniglot`` fetches them; a directory ``shared/omniglot`` beside a checkout is found without.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from metazoo.artefact.places import cache_directory

BASE: Final = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
ARCHIVES: Final = {
    "images_background_small1.zip": "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
    "images_background_small2.zip": "3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
    "images_background.zip": "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
    "images_evaluation.zip": "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
    "one-shot-classification/all_runs.zip": "437c1eeab0af8484112e1b4cc0f3d541ec727f7c47b9b202da738af9dfd6c325",
}
"""Below ``BASE``, with SHA-256."""
SOURCES: Final = {
    "small": ("images_background_small1.zip", "images_background_small2.zip"),
    "full": ("images_background.zip", "images_evaluation.zip"),
}
RUNS: Final = "one-shot-classification/all_runs.zip"

Progress = Callable[[int], None]


class MissingDataError(ValueError):
    """The archives are not on this machine; one sentence."""


def found(archive: str) -> Path:
    """Where an archive is.

    Raises:
        MissingDataError: it is nowhere.
    """
    for place in (cache_directory() / "omniglot", Path(__file__).resolve().parents[4] / "shared" / "omniglot"):
        if (path := place / Path(archive).name).is_file():
            return path
    raise MissingDataError(f"omniglot's {Path(archive).name} is not here; metazoo download --data omniglot fetches it.")


def here() -> bool:
    """Whether the archives of the small sets are on this machine."""
    try:
        return all(map(found, SOURCES["small"]))
    except MissingDataError:
        return False


def download(advance: Progress = lambda _: None) -> Path:
    """Fetches all archives into the cache, each checked by its SHA-256; those that are there already are kept.

    Returns:
        The directory.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    directory = cache_directory() / "omniglot"
    for archive, sha256 in ARCHIVES.items():
        pooch.retrieve(BASE + archive, f"sha256:{sha256}", Path(archive).name, directory)
        advance(1)
    return directory
