"""The spread over training seeds: measured on the same tasks, refused where trainings differ in more than seeds."""

import json

import numpy as np
import pytest

from metazoo.algorithms.maml import MAML
from metazoo.artefact import store
from metazoo.cards import seeds
from metazoo.cards.report import evaluate_preset
from metazoo.tasks.families.cartpole import CartPoleGoal
from metazoo.training.export import export
from tests.algorithms.problems import small_policy
from tests.cards.reports import made_up_metadata
from tests.exports import METADATA
from tests.without_xla import without_xla

FAMILY = CartPoleGoal(4)


@pytest.fixture(autouse=True, scope="module")
def uncompiled():
    with pytest.MonkeyPatch.context() as patch:
        without_xla(patch)
        yield


def export_seed(directory, seed, **changes):
    learner = MAML(small_policy(FAMILY, dtype="float32", seed=seed), FAMILY)
    provenance = {**made_up_metadata()["provenance"], "seed": seed, "seconds": 60.0 * seed}
    adapt = {"episodes": 2, "steps": 1, "tasks": 4}
    metadata = {**METADATA, "name": "small", "family_args": {"horizon": 4}, "adapt": adapt, "provenance": provenance}
    return export(learner, directory / f"seed-{seed}" / "small" / "savedmodels" / "small" / "1", metadata | changes)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs")
    for seed in (2, 10):
        export_seed(directory, seed)
    return directory


def test_trainings_are_found_by_seed(trainings, tmp_path):
    found = seeds.exports(trainings, "small")
    assert [path.parents[3].name for path in found] == ["seed-2", "seed-10"]
    with pytest.raises(ValueError, match="holds 0 finished trainings of small; make several with metazoo train small"):
        seeds.exports(tmp_path, "small")


def test_the_spread_is_that_of_the_means_over_the_same_tasks(trainings):
    found = seeds.exports(trainings, "small")
    result = seeds.compare(found[0], found)
    assert [run["seed"] for run in result["runs"]] == [2, 10]
    assert [run["seconds"] for run in result["runs"]] == [120.0, 600.0]
    means = [run["after"]["mean"] for run in result["runs"]]
    assert len(set(means)) == 2
    spread = result["spread"]
    assert spread["of"] == "after" and (spread["min"], spread["max"]) == (min(means), max(means))
    assert spread["sd"] == pytest.approx(np.std(means, ddof=1)) and spread["mean"] == pytest.approx(np.mean(means))
    every = np.concatenate([evaluate_preset(path, baselines=False)["curve"][-1]["per_task"] for path in found])
    assert len(every) == 8 and spread["iqm"] == pytest.approx(np.sort(every)[2:6].mean())
    assert result["tasks"] == 4
    low, high = spread["ci95"]  # Student's t with one degree of freedom: 12.706
    assert (low + high) / 2 == pytest.approx(spread["mean"])
    assert (high - low) / 2 == pytest.approx(12.7062 * spread["sd"] / np.sqrt(2), rel=1e-4)
    json.dumps(result, allow_nan=False)


def test_a_trial_of_a_training_counts_with_all_its_episodes(monkeypatch):
    curve = [
        {"mean": 2.5, "ci95": [2.0, 3.0], "per_task": [2.0, 3.0]},
        {"mean": 6.0, "ci95": [5.0, 7.0], "per_task": [5.0, 7.0]},
    ]
    report = {"online": True, "curve": curve, "total": {"mean": 8.5, "ci95": [7.0, 10.0], "iqm": 8.5}}
    monkeypatch.setattr(seeds, "evaluate_preset", lambda version, tasks, baselines: report)
    row, per_task = seeds._measured("version", {"seed": 3, "seconds": 60.0}, 2)
    assert row == {"seed": 3, "total": {"mean": 8.5, "ci95": [7.0, 10.0]}, "seconds": 60.0}
    assert per_task.tolist() == [7.0, 10.0]


def test_trainings_that_differ_in_more_than_seeds_are_refused(trainings, tmp_path):
    found = seeds.exports(trainings, "small")
    other = export_seed(tmp_path, 3, adapt={"episodes": 3, "steps": 1, "tasks": 4})
    with pytest.raises(ValueError, match="has another adapt than .*; only seeds may differ"):
        seeds.compare(found[0], [*found, other])
    config = {**store.read_metadata(found[0])["config"], "inner_rate": 0.5}
    faster = export_seed(tmp_path / "faster", 4, config=config)
    with pytest.raises(ValueError, match="has another config than"):
        seeds.compare(found[0], [*found, faster])
    with pytest.raises(ValueError, match=r"have the seeds \[2, 2\]; they must differ"):
        seeds.compare(found[0], [found[0], found[0]])
    assert all(store.verify(path) for path in found)


@pytest.mark.slow
def test_all_are_evaluated_on_the_tasks_of_the_shipped_one(tmp_path):
    """Even those that were trained when a card had another number of them."""
    shipped, other = export_seed(tmp_path, 1), export_seed(tmp_path, 2, adapt={"episodes": 2, "steps": 1, "tasks": 6})
    result = seeds.compare(shipped, [shipped, other])
    again = evaluate_preset(other, tasks=4, baselines=False)
    assert result["tasks"] == 4 and result["runs"][1]["after"]["mean"] == again["curve"][-1]["mean"]


def test_trainings_are_the_unit_of_their_interval():
    """Three trainings of which each was tested on however many tasks: two degrees of freedom, t = 4.3027."""
    low, high = seeds.over_trainings(np.array([111.5, 122.0, 123.9]))
    assert (low, high) == pytest.approx((102.54, 135.72), abs=0.02)
