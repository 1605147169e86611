"""The blocks "From Python" of every learner's page.

Quick: they are run on the starting family, and learners and presets are made, but nothing is trained. Slow: with two
updates each, to policies that load.
"""

import inspect
import re
from pathlib import Path

import keras
import pytest

import metazoo
from metazoo import evaluation
from metazoo.algorithms.registry import LEARNERS
from metazoo.cli.new import new
from metazoo.training import callbacks, export, own, teacher_sources, train
from tests.algorithms.problems import small_teacher
from tests.own_families import working_in
from tests.training.test_own_training import few_test_tasks
from tests.without_xla import without_xla

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs" / "algorithms").glob("*.md"))
EXPORTED = r'export\(learner, Path\("(.*)"\)'


def program(page: Path) -> str:
    """The section's blocks as one program."""
    _, _, section = page.read_text(encoding="utf-8").partition("# From Python\n")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", section.split("\n## ")[0], re.DOTALL | re.MULTILINE))


@pytest.fixture
def here(tmp_path):
    """The current directory, with the family that the pages speak of."""
    with working_in(tmp_path):
        new("family", "my_robot", tmp_path)
        own.own.import_path()
        yield tmp_path


def run(page: Path, text: str) -> dict:
    names: dict = {"__name__": "page"}
    exec(compile(text, page.name, "exec"), names)
    return names


def test_every_learner_has_its_block():
    text = "\n".join(map(program, PAGES))
    assert not [name for name in LEARNERS if f'"{name}"' not in text and name != "recurrent_distillation"]
    assert not [one.__name__ for name, one in LEARNERS.items() if one.__name__ not in text and "recurrent" not in name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_they_make_learners_and_presets(page, here, monkeypatch):
    made, called = [], []

    def instead_of(function):
        def bound(*args, **options):
            called.append(inspect.signature(function).bind(*args, **options).arguments)

        return bound

    def trained(runs, out, options, show):
        made.extend(train.build(run.preset) for run in runs)
        return True

    monkeypatch.setattr(own, "train_all", trained)
    monkeypatch.setattr(own, "load", lambda version: version)
    monkeypatch.setattr(keras.Model, "fit", lambda learner, *data, **how: made.append(learner) or learner.optimizer)
    monkeypatch.setattr(evaluation, "evaluate", instead_of(evaluation.evaluate))
    monkeypatch.setattr(export, "export", instead_of(export.export))
    monkeypatch.setattr(teacher_sources, "load_teacher", lambda where, family: small_teacher(family))
    names = run(page, program(page))
    learner = names["learner"]
    assert made[-1] is learner and type(made[-2]) is type(learner), "both ways make the same learner"
    judged, exported = called
    assert judged["family"] is learner.family and exported["learner"] is learner
    assert exported["metadata"]["adapt"] == {key: judged[key] for key in ("episodes", "steps")}


@pytest.mark.slow  # some forty programs are compiled
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.stem != "mpc"],  # planning takes too long without XLA: test_dynamics_learners.py
    ids=lambda page: page.stem,
)
def test_they_end_in_policies_that_load(page, here, monkeypatch):
    monkeypatch.setattr(train, "EPOCH", 2)
    monkeypatch.setattr(callbacks, "ON_HOST", (3, 3))
    monkeypatch.setattr(own, "preset_of", few_test_tasks)
    without_xla(monkeypatch)
    text = re.sub(r"updates=\d+", "updates=2", re.sub(r"updates\(0, \d+\)", "updates(0, 2)", program(page)))
    names = run(page, text)
    assert names["report"]["curve"][0]["ci95"] and list(here.glob("runs/*/savedmodels/*/README.md"))
    assert metazoo.load(re.search(EXPORTED, text).group(1)).metadata["adapt"]
