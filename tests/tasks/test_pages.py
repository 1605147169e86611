"""Every family has a page that names its task parameters, with a small picture."""

from pathlib import Path

import pytest

from metazoo.tasks.registry import BUILT_IN

PAGES = Path(__file__).parents[2] / "docs" / "families"
SHARED = {"gaussian_bandit": "bandit", "navigation_sparse": "navigation"}


@pytest.mark.parametrize("make", BUILT_IN, ids=lambda family: family.name)
def test_the_page_covers_the_family(make):
    family, name = make(), make.name
    page = SHARED.get(name, name)
    text = (PAGES / f"{page}.md").read_text()
    for parameter in family.Task._fields:
        assert f"`{parameter}`" in text or f"`{parameter} [" in text, f"{page}.md does not explain {parameter}"
    assert name in text and f"{page}.png" in text
    assert 1_000 < (PAGES / f"{page}.png").stat().st_size < 60_000
    index = (PAGES / "README.md").read_text()
    row = next(line for line in index.splitlines() if line.startswith(f"| [`{name}`]({page}.md)"))
    assert f"metazoo/{family.gym_name}-v0" in row
    assert f"| {family.horizon} |" in row
