"""The pictures of docs/gallery.md: ``python docs/figures/gallery.py``, with Debian's chromium.

Starts a gallery of the policies that come along, and takes them of maml_cartpole_goal on the task of a fixed seed.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import metazoo  # isort: skip  # before anything that imports TensorFlow
from metazoo.gallery.site import Site
from serving.options import Options
from serving.server import Server

FILE = Path(__file__).parents[1] / "images" / "gallery.png"
POLICY, SEED = "maml_cartpole_goal", 9
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SIZE = {"width": 1200, "height": 1010}


def take(address: str, file: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE, reduced_motion="reduce")
        page.set_default_timeout(120_000)
        page.goto(f"{address}/#/policy/{POLICY}?surprise&seed={SEED}")
        page.wait_for_selector(".said .gain")
        page.get_by_role("slider", name="Time").fill("620")
        page.evaluate("document.activeElement.blur()")
        page.locator(".live").screenshot(path=file)
        browser.close()


def main() -> None:
    site = Site([metazoo.savedmodels_directory()])
    with tempfile.TemporaryDirectory() as empty:
        try:
            with Server(empty, options=Options(site=site)) as server:
                take(server.url, Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
        finally:
            site.close()


if __name__ == "__main__":
    main()
