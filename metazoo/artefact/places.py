"""Where policies are on this machine. Standard library only: ``import metazoo`` imports it."""

import os
from pathlib import Path


def savedmodels_directory() -> Path:
    """Where the policies that come with metazoo are: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_savedmodels"
    return installed if installed.is_dir() else package.parent / "savedmodels"


def cache_directory() -> Path:
    """Where downloads are kept: ``METAZOO_CACHE``, or the operating system's place for caches."""
    import pooch

    return Path(os.environ.get("METAZOO_CACHE") or pooch.os_cache("metazoo"))
