"""The page of a learner describes every setting as the code has it."""

from dataclasses import fields
from pathlib import Path

import keras
import pytest

from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.registry import LEARNERS
from tests.algorithms.problems import learner_for

PAGES = Path(__file__).resolve().parents[2] / "docs" / "algorithms"
CONFIGS = {name: LEARNERS[name].config_class for name in ("maml", "anil", "meta_sgd", "promp", "reptile")}
TABLES = {name: LEARNERS[name].config_class for name in (*CONFIGS, "prototypical", "pretraining", "rebal", "mpc")}
CASES = [*((name, {}) for name in CONFIGS), ("maml", {"outer": "trpo", "cg_iterations": 1})]


def row(item) -> str:
    """The table row of one setting."""
    allowed = item.metadata["allowed"]
    choice = isinstance(allowed[0], str)
    span = ", ".join(f"`{value}`" for value in allowed) if choice else f"{allowed[0]:,} to {allowed[1]:,}"
    return f"| `{item.name}` | {item.default} | {span} | {item.metadata['doc']} |"


@pytest.mark.parametrize("name", TABLES)
def test_the_table_of_settings_is_the_code_s(name):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    table = page.split("| setting | default | range | meaning |\n|---|---|---|---|\n")[1].split("\n\n")[0]
    assert table.splitlines() == [row(item) for item in fields(TABLES[name])]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def test_every_metric_is_explained(case):
    name, settings = case
    learner = learner_for(name, "supervised", horizon=3, tasks=2, episodes=1, **settings)
    learner.compile(keras.optimizers.Adam(), run_eagerly=True, jit_compile=False)
    history = learner.fit(updates(0, 1), verbose=0).history
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert {"loss", "return_0", "return_1"} <= set(history)
    several = {f"return_{number}" for number in range(2, 9)}  # return_0, return_1, …
    assert not [metric for metric in history if f"`{metric}`" not in page and metric not in several]
