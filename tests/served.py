"""A models directory with a few of the pretrained policies: a server that loads all of them takes half a minute."""

from pathlib import Path

import metazoo


def pretrained(directory: Path, *names: str) -> Path:
    """``directory`` with links to the policies of these names."""
    directory.mkdir()
    for name in names:
        (directory / name).symlink_to(metazoo.savedmodels_directory() / name)
    return directory
