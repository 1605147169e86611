"""``metazoo evaluate``'s report: a policy and its baselines on the same tasks, with totals that compare."""

import numpy as np
import pytest

from metazoo.algorithms.domain_randomised import DomainRandomised
from metazoo.algorithms.maml import MAML
from metazoo.artefact import store
from metazoo.cards import baselines, record, report
from metazoo.cards.report import evaluate_preset
from metazoo.evaluation import evaluate
from metazoo.presets.metaworld import METAWORLD_PRESETS
from metazoo.presets.mujoco import MUJOCO_PRESETS
from metazoo.presets.registry import PRESETS
from metazoo.rollouts.agent import random_agent
from metazoo.tasks.families.cartpole import CartPole, CartPoleGoal
from metazoo.training.export import export
from tests.algorithms.problems import small_policy
from tests.cards.reports import made_up_metadata
from tests.exports import METADATA

HORIZON, TASKS, EPISODES, STEPS = 4, 6, 2, 1
PROTOCOL = {"tasks": TASKS, "episodes": EPISODES, "steps": STEPS, "seed": 2}


def export_named(models, name, learner_class, family):
    learner = learner_class(small_policy(family, dtype="float32"), family)
    provenance = made_up_metadata()["provenance"]
    changes = {"name": name, "family_args": {"horizon": family.horizon}, "provenance": provenance}
    return export(learner, models / name / "1", METADATA | changes)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A models directory with a policy, and one of the two baselines that its preset names."""
    models = tmp_path_factory.mktemp("models")
    export_named(models, "maml_cartpole_goal", MAML, CartPoleGoal(HORIZON))
    export_named(models, "dr_cartpole_goal", DomainRandomised, CartPoleGoal(HORIZON))
    return models


@pytest.fixture(scope="module")
def found(models, tmp_path_factory):
    nothing = tmp_path_factory.mktemp("nothing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "savedmodels_directory", lambda: nothing)
        patch.setattr(CartPoleGoal, "gradient_rates", {})
        return evaluate_preset(models / "maml_cartpole_goal", **PROTOCOL)


def test_the_baselines_are_those_that_are_installed(found):
    assert set(found["baselines"]) == {"random", "dr_cartpole_goal", "best_fixed_position", "model_rollout"}
    assert (found["name"], found["tasks"], found["seed"], found["split"]) == ("maml_cartpole_goal", TASKS, 2, "test")
    assert [point["steps"] for point in found["curve"]] == [0, 1]


def test_baselines_play_as_many_episodes_as_the_whole_trial(found):
    for name in ("random", "dr_cartpole_goal"):
        baseline = found["baselines"][name]
        assert baseline["total"]["mean"] == pytest.approx(baseline["mean"] * EPISODES * (STEPS + 1), rel=1e-5)
        assert baseline["ci95"][0] < baseline["mean"] < baseline["ci95"][1]
    assert found["total"]["mean"] == pytest.approx(EPISODES * sum(p["mean"] for p in found["curve"]), rel=1e-5)


def test_the_random_baseline_plays_the_policys_own_tasks(found):
    family, protocol = CartPoleGoal(HORIZON), {"tasks": TASKS, "episodes": EPISODES * (STEPS + 1), "steps": 0}
    again = evaluate(random_agent(family), family, name="random", seed=2, **protocol)["curve"][0]
    assert found["baselines"]["random"]["mean"] == again["mean"]


def test_the_best_fixed_position_is_that_of_the_tasks_played(found):
    targets = CartPoleGoal(HORIZON).sample(TASKS, "test", 2).target.numpy()
    positions = np.linspace(-2, 2, 4001)
    returns = HORIZON * np.maximum(0, 1 - np.abs(positions[:, None] - targets)).mean(1)
    bound = found["baselines"]["best_fixed_position"]
    assert bound["mean"] == pytest.approx(returns.max(), abs=HORIZON * 1e-3)
    assert "the bound for a policy that does not adapt" in bound["what"]


def test_some_families_are_also_reported_at_a_longer_horizon(tmp_path, monkeypatch):
    monkeypatch.setattr(CartPole, "long_horizon", 6)
    export_named(tmp_path, "cart", DomainRandomised, CartPole(3))
    found = evaluate_preset(tmp_path / "cart", tasks=3, episodes=2, steps=0, baselines=False)
    assert found["curve"][0]["mean"] == 3.0 and found["horizon"] == 3
    assert found["at_horizon"]["6"]["mean"] == 6.0, "a pole does not fall in six steps"
    assert found["baselines"] == {}


def test_wrong_requests_are_refused(models):
    with pytest.raises(ValueError, match="no policy 'chess'"):
        evaluate_preset("chess")
    with pytest.raises(ValueError, match="split is 'tests'; did you mean test"):
        evaluate_preset(models / "maml_cartpole_goal", **PROTOCOL, split="tests")


def test_recording_writes_figures_that_load_and_verify(models, monkeypatch, tmp_path):
    """Into the metadata without the tasks' own values, into the card, and as a picture."""
    calls = []

    def quick(version, split="test", baselines=True):
        calls.append((split, baselines))
        return made_report(version, split)

    def made_report(version, split):
        family = CartPoleGoal(HORIZON)
        return evaluate(random_agent(family), family, name="maml_cartpole_goal", split=split, tasks=3, episodes=1)

    monkeypatch.setattr(record, "evaluate_preset", quick)
    version = export_named(tmp_path, "maml_cartpole_goal", DomainRandomised, CartPoleGoal(HORIZON))
    result = record.record(version)
    assert calls == [("test", True), ("ood", False)]
    evaluation = store.read_metadata(version)["evaluation"]
    assert store.verify(version)
    assert [point["mean"] for point in evaluation["curve"]] == [point["mean"] for point in result["curve"]]
    assert all("per_task" not in point for point in [*evaluation["curve"], *evaluation["ood"]["curve"]])
    assert evaluation["ood"]["split"] == "ood" and "per_task" in result["curve"][0]
    assert (version.parent / "README.md").is_file()
    assert (version.parent / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_card_has_the_tasks_of_its_preset_or_what_its_metadata_says(models):
    shipped = {"name": "maml_cartpole_goal", "family": "cartpole_goal", "family_args": {}, "adapt": {"tasks": 200}}
    assert report.card_tasks(shipped) == PRESETS["maml_cartpole_goal"].evaluation_tasks == 2_000
    assert report.card_tasks({**shipped, "family_args": {"horizon": 4}}) == 200
    assert report.card_tasks({**shipped, "name": "mine"}) == 200
    assert report.card_tasks({**shipped, "name": "mine", "adapt": {}}) == report.DEFAULT_TASKS


def test_cheap_evaluations_have_two_thousand_tasks():
    """One lost trial in 200 changes rl2_navigation's third episode by 0.2; 200 tasks need not hold one."""
    few = {name for name, preset in PRESETS.items() if preset.evaluation_tasks < 2_000}
    dear = {"mpc_pendulum"}  # which plans at every step
    assert few == {preset.name for preset in (*MUJOCO_PRESETS, *METAWORLD_PRESETS)} | dear
