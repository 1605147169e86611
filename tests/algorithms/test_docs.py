"""The page of a learner describes every setting as the code has it."""

from dataclasses import fields
from pathlib import Path

import pytest

from metazoo.algorithms.maml import MAMLConfig
from tests.algorithms.problems import meta_gradient, small_maml

PAGES = Path(__file__).resolve().parents[2] / "docs" / "algorithms"
CONFIGS = {"maml": MAMLConfig}


def row(item) -> str:
    """The table row of one setting."""
    allowed = item.metadata["allowed"]
    choice = isinstance(allowed[0], str)
    span = ", ".join(f"`{value}`" for value in allowed) if choice else f"{allowed[0]:,} to {allowed[1]:,}"
    return f"| `{item.name}` | {item.default} | {span} | {item.metadata['doc']} |"


@pytest.mark.parametrize("name", CONFIGS)
def test_the_table_of_settings_is_the_code_s(name):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    table = page.split("| setting | default | range | meaning |\n|---|---|---|---|\n")[1].split("\n\n")[0]
    assert table.splitlines() == [row(item) for item in fields(CONFIGS[name])]


def test_every_metric_is_explained():
    learner, rounds = small_maml("categorical", inner_steps=1)
    page = (PAGES / "maml.md").read_text(encoding="utf-8")
    for metric in meta_gradient(learner, rounds)[1]:
        assert f"`{metric}`" in page
