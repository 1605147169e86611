"""One server with a gallery for the directory: it shows the whole zoo, and serves one policy of it."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from metazoo.artefact.places import savedmodels_directory
from metazoo.gallery.site import Site
from serving.engine import without_onednn
from serving.options import Options
from serving.server import Server

SERVED = "maml_cartpole"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Debian's browser."""
    return shutil.which("chromium")


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Directories: ``models`` with one policy, ``adapted`` with none yet."""
    root = tmp_path_factory.mktemp("gallery")
    (root / "models").mkdir()
    os.symlink(savedmodels_directory() / SERVED, root / "models" / SERVED)
    return root


@pytest.fixture(scope="session")
def gallery(place):
    """The address of a running gallery."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(without_onednn, "is_on", lambda: False)
        site = Site([savedmodels_directory(), place / "adapted"])
        with Server(place / "models", place / "adapted", poll_seconds=0, options=Options(site=site)) as server:
            yield server.url
        site.close()


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, driven by playwright; tests skip where one of them is missing.

    Of one module: while playwright is there, nothing else in this process can run an event loop.
    """
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    if chromium() is None:
        pytest.skip("there is no chromium on the PATH: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def page(browser):
    """A page whose console and requests are watched: a test fails where one of them fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    made = context.new_page()
    wrong: list[str] = []
    made.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("requestfailed", lambda request: "ABORTED" in (request.failure or "") or wrong.append(request.url))
    made.set_default_timeout(60_000)
    made.wrong = wrong
    yield made
    context.close()
    assert not wrong


@pytest.fixture(scope="session")
def checks():
    """The script that looks for what people with other eyes, ears and hands would miss."""
    return Path(__file__).with_name("accessible.js").read_text(encoding="utf-8")
