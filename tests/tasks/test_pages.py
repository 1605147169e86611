"""Every family has a page that names its task parameters, with a small picture, and a row in the table of families."""

import runpy
from pathlib import Path

import pytest

from metazoo.tasks.registry import BUILT_IN, ON_THE_HOST

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "families"
TABLES = runpy.run_path(str(ROOT / "docs" / "figures" / "family_index.py"))
INDEX = (PAGES / "README.md").read_text()


def page_of(family) -> str:
    """The text of the page, which shows its picture."""
    name = family.page or family.name
    text = (PAGES / f"{name}.md").read_text()
    assert family.name in text and f"{name}.png" in text
    assert 1_000 < (PAGES / f"{name}.png").stat().st_size < 60_000
    return text


@pytest.mark.parametrize("family", BUILT_IN, ids=lambda family: family.name)
def test_the_page_covers_the_family(family):
    text = page_of(family)
    for parameter in family.Task._fields:
        assert f"`{parameter}`" in text or f"`{parameter} [" in text, f"its page does not explain {parameter}"


@pytest.mark.parametrize("family", [*BUILT_IN, *ON_THE_HOST], ids=lambda family: family.name)
def test_every_family_says_what_is_hidden(family):
    assert family.hidden and f"[`{family.name}`]({family.page or family.name}.md)" in INDEX


def test_the_table_of_families_is_current():
    """``python docs/figures/family_index.py`` writes it."""
    assert TABLES["put"](INDEX, "graph", TABLES["in_the_graph"]()) == INDEX
    assert "| [`cartpole`](cartpole.md) | `metazoo/CartPole-v0` | `[4]` | 2 | 200 | masses" in INDEX


@pytest.mark.mujoco
def test_the_table_of_families_on_the_host_is_current():
    assert TABLES["put"](INDEX, "host", TABLES["on_the_host"]()) == INDEX


@pytest.mark.mujoco
@pytest.mark.parametrize("make", ON_THE_HOST, ids=lambda family: family.name)
def test_the_page_covers_the_families_on_the_host(make):
    text, family = page_of(make), make(workers=0, rows=1)
    seen, done = family.observation_space.shape, family.action_space.shape
    assert f"`{list(seen)}`" in text and f"`{list(done)}`" in text and f"{family.horizon} steps" in text
    for parameter in family.Task._fields:
        assert f"`{parameter}`" in text, f"its page does not explain {parameter}"
