"""The documentation as a site: whole, without anything from elsewhere; and pages for users that can be read quickly."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MKDOCS = Path(sys.executable).with_name("mkdocs")
PLACES = "algorithms.common.learner.agent_of", "cards.plots.adaptation_curve"
pytestmark = pytest.mark.skipif(not MKDOCS.exists(), reason="mkdocs is not installed")


def module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "figures" / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    command = [MKDOCS, "build", "--strict", "--quiet", "--site-dir", directory]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def test_every_policy_has_its_card_with_its_curve(site):
    table = (site / "cards.html").read_text("utf-8")
    for card in (ROOT / "savedmodels").glob("*/README.md"):
        name = card.parent.name
        assert f'href="cards/{name}/index.html"' in table
        page = (site / "cards" / name / "index.html").read_text("utf-8")
        assert 'id="use"' in page and (site / "cards" / name / "curve.png").is_file()


def test_the_reference_has_the_public_names_with_what_they_raise(site):
    page = (site / "api.html").read_text("utf-8")
    for name in ("metazoo.load", "metazoo.train", "metazoo.find", "metazoo.average"):
        assert f'id="{name}"' in page, name
    for name in ("pretrained.Pretrained.adapt", "evaluation.evaluate", "tasks.family.TaskFamily.step", *PLACES):
        assert f'id="metazoo.{name}"' in page, name
    assert page.count("Raises:") > 20 and 'id="serving.client.Client.adapt"' in page


def test_nothing_is_fetched_from_elsewhere_and_no_link_is_dead(site):
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"https?:|<link[^>]+stylesheet[^>]+https?:", text), path
        if path.name == "404.html":
            continue
        for target in re.findall(r"(?:href|src)=\"([^\"#:?]+)[#\"]", text):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_pages_for_users_are_read_quickly():
    readability = module("readability")
    found = {page: readability.too_long((ROOT / page).read_text("utf-8")) for page in readability.PAGES}
    assert not {page: said for page, said in found.items() if said}


def test_what_is_long_is_found():
    too_long = module("readability").too_long
    words = "one two three four five six seven eight nine ten "
    assert too_long(words * 3 + words[:24] + ".") == []
    (sentence,) = too_long(words * 3 + "a b c d e f.")
    assert sentence.startswith("sentence of 36 words")
    assert len(too_long((words + ". ") * 10)) == 1, "a paragraph of 100 words, whose sentences are short"
    assert too_long("```\n" + words * 20 + "\n```\n\n| " + words * 20 + "|\n\n## Details\n\n" + words * 20) == []


def test_from_readme_everything_is_two_clicks_away():
    """Install, adapt to an environment, serve, train, the format of requests, what it cannot do."""
    wanted = {
        "Installing": "docs/install.md", "adapting": "docs/your-own-environment.md", "serving": "docs/serving.md",
        "training": "docs/training.md", "requests": "docs/the-wire.md", "limits": "README.md",
    }  # fmt: skip
    link = re.compile(r"\]\(([^)#\s]+)[^)]*\)")

    def linked(page):
        found = link.findall((ROOT / page).read_text("utf-8"))
        return {(ROOT / page).parent.joinpath(one).resolve() for one in found if not re.match("[a-z]+:", one)}

    first = linked("README.md") | {ROOT / "README.md"}
    second = first | {two for one in first if one.suffix == ".md" and one.is_file() for two in linked(one)}
    assert {name: page for name, page in wanted.items() if ROOT / page not in second} == {}
    assert "## Limits" in (ROOT / "README.md").read_text("utf-8")
