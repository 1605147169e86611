"""Every family has a page that names its task parameters, with a small picture."""

from pathlib import Path

import pytest

from metazoo.tasks.registry import BUILT_IN, ON_THE_HOST

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


ON_HOST_PAGES = {
    "half_cheetah": ("half_cheetah_dir", "half_cheetah_vel"),
    "ant": ("ant_dir", "ant_goal"),
    "random_bodies": ("hopper_params", "walker2d_params"),
}


def test_every_family_on_the_host_has_a_page():
    assert {name for names in ON_HOST_PAGES.values() for name in names} == {family.name for family in ON_THE_HOST}


@pytest.mark.mujoco
@pytest.mark.parametrize("page", ON_HOST_PAGES)
def test_the_page_covers_the_families_on_the_host(page):
    text, index = (PAGES / f"{page}.md").read_text(), (PAGES / "README.md").read_text()
    assert f"{page}.png" in text and 2_000 < (PAGES / f"{page}.png").stat().st_size < 60_000
    for family in (make(workers=0) for make in ON_THE_HOST if make.name in ON_HOST_PAGES[page]):
        row = next(line for line in index.splitlines() if line.startswith(f"| [`{family.name}`]({page}.md)"))
        seen, done = family.observation_space.shape, family.action_space.shape
        assert f"| `{list(seen)}` | `{list(done)}`, ±1 | {family.horizon} |" in row
        assert f"`{list(seen)}`" in text and f"`{list(done)}`" in text and f"{family.horizon} steps" in text
        for parameter in family.Task._fields:
            assert f"`{parameter}`" in text, f"{page}.md does not explain {parameter}"
