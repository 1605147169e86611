"""The command ``metazoo gallery``."""

import os
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from metazoo import progress
from metazoo.artefact.places import savedmodels_directory
from metazoo.cli import options, places, support
from metazoo.cli.zoo import Models


def gallery(
    models: Models = None,
    adapted: Annotated[Path, typer.Option(help="Where adapted policies are published.")] = Path("adapted"),
    port: Annotated[int, options.port()] = 0,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
) -> None:
    """Look at the policies in a browser, and watch one adapt to a task that you choose. Ctrl-C ends it.

    A server for this computer alone, as ``metazoo serve`` starts it, on a free port.

    \b
    metazoo gallery
    metazoo gallery --models my-models --adapted my-adapted
    metazoo gallery --no-open --port 8600
    """
    directory = models or savedmodels_directory()
    places.directory(adapted, "--adapted")
    progress.say(f"Loading the policies of {directory}.")
    import serving.engine.without_onednn  # noqa: F401 — it must come before TensorFlow

    support.load_tensorflow()
    from metazoo.gallery.site import Site
    from serving.options import Options
    from serving.server import Server

    site = Site([directory, adapted])
    try:
        with Server(directory, adapted, rest_port=port, options=Options(site=site)) as server:
            print(f"Look  {server.url}/\nCtrl-C ends it.", flush=True)
            if open_browser and _has_screen():
                webbrowser.open(f"{server.url}/")
            server.wait()
    finally:
        site.close()


def _has_screen() -> bool:
    """Elsewhere a browser of the terminal would take it over."""
    return os.name != "posix" or os.uname().sysname == "Darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ})
