"""Where policies are on this machine. Standard library only: ``import metazoo`` imports it."""

from pathlib import Path


def savedmodels_directory() -> Path:
    """Where the policies that come with metazoo are: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_savedmodels"
    return installed if installed.is_dir() else package.parent / "savedmodels"
