"""Baselines of ``metazoo evaluate``: plain gradient steps from trained and from initial weights, and closed forms."""

import json

import numpy as np
import pytest

from metazoo.algorithms.domain_randomised import DomainRandomised
from metazoo.algorithms.maml import MAML
from metazoo.cards import baselines
from metazoo.cards.baselines import Protocol, at_rate, gradient_learners
from metazoo.policies.networks import mlp
from metazoo.policies.policy import Policy
from metazoo.pretrained import load
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.mujoco.families import HalfCheetahDir, HalfCheetahVel, best_fixed_velocity
from metazoo.training.export import export
from tests.algorithms.problems import made_up_episodes
from tests.cards.reports import made_up_metadata
from tests.exports import METADATA
from tests.without_xla import without_xla

PROTOCOL = Protocol(split="test", tasks=4, episodes=3, steps=2, seed=1, deterministic=False)
NETWORK = {"hidden": [4], "initial_scale": 0.1}
FAMILY = Navigation(horizon=6)


@pytest.fixture(autouse=True, scope="module")
def uncompiled():
    with pytest.MonkeyPatch.context() as patch:
        without_xla(patch)
        yield


def export_named(models, name, learner_class):
    model = mlp(FAMILY.observation_space, FAMILY.action_space, **NETWORK, seed=7)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.25)
    learner = learner_class(Policy(model, FAMILY.observation_space, FAMILY.action_space), FAMILY)
    provenance = {**made_up_metadata()["provenance"], "seed": 7}
    changes = {"name": name, "family_args": {"horizon": 6}, "network": NETWORK, "provenance": provenance}
    export(learner, models / name / "1", METADATA | changes)
    return learner


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A policy with the baseline that its preset names beside it, that baseline's learner, and what was reported."""
    models = tmp_path_factory.mktemp("models")
    export_named(models, "maml_navigation", MAML)
    trained = export_named(models, "dr_navigation", DomainRandomised)
    policy = load(models / "maml_navigation")
    return load(models / "dr_navigation"), trained, baselines.baselines(policy, FAMILY, PROTOCOL, None)


def test_fine_tuning_starts_from_the_trained_weights_and_scratch_from_the_initial_ones(zoo):
    pretrained, trained, _ = zoo
    learners = gradient_learners(pretrained, FAMILY)
    initial = Policy(
        mlp(FAMILY.observation_space, FAMILY.action_space, **NETWORK, seed=7),
        FAMILY.observation_space,
        FAMILY.action_space,
    ).flat_weights()
    np.testing.assert_array_equal(learners["fine_tuning"].policy.flat_weights(), trained.policy.flat_weights())
    np.testing.assert_array_equal(learners["from_scratch"].policy.flat_weights(), initial)


def test_the_step_size_is_the_one_asked_for(zoo):
    """Inner steps on the same episodes are as long as their step size."""
    learner = gradient_learners(zoo[0], FAMILY)["fine_tuning"]
    episodes = made_up_episodes(FAMILY, 1, 3, 0)
    before = learner.initial_memory(learner.current_weights())
    moved = {}
    for rate in (0.01, 0.03):
        at_rate(learner, rate)
        moved[rate] = learner.adapt(learner.current_weights(), before[None, None], episodes)[0][0, 0] - before
    np.testing.assert_allclose(moved[0.03][:-1], 3 * moved[0.01][:-1], rtol=1e-3, atol=1e-6)
    assert np.max(np.abs(moved[0.03])) > 0


def test_those_that_adapt_report_their_curve_and_begin_where_their_weights_do(zoo):
    found = zoo[2]
    assert set(found) == {"random", "dr_navigation", "fine_tuning", "from_scratch", "standing_still", "optimum"}
    for name in ("fine_tuning", "from_scratch"):
        report = found[name]
        assert [point["steps"] for point in report["curve"]] == [0, 1, 2]
        assert [point["episodes"] for point in report["curve"]] == [0, 3, 6]
        assert report["mean"] == report["curve"][-1]["mean"] and report["ci95"] == report["curve"][-1]["ci95"]
        assert report["step_size"] == Navigation.gradient_rates[name]
        assert all("per_task" not in point for point in report["curve"])
        total = sum(point["mean"] for point in report["curve"]) * 3
        assert report["total"]["mean"] == pytest.approx(total, rel=1e-5)
    assert "curve" not in found["dr_navigation"] and "curve" not in found["random"]
    start = found["fine_tuning"]["curve"][0]["mean"]
    assert start == pytest.approx(found["dr_navigation"]["mean"], abs=0.05), (
        "other episodes, the same tasks and weights"
    )
    assert start != found["from_scratch"]["curve"][0]["mean"]


def test_no_steps_no_curves(zoo, tmp_path):
    policy = load(zoo[0].directory.parent.parent / "maml_navigation")
    found = baselines.baselines(policy, FAMILY, PROTOCOL._replace(steps=0), None)
    assert set(found) == {"random", "dr_navigation", "standing_still", "optimum"}


def test_closed_forms_are_exact_and_ordered(zoo):
    found = zoo[2]
    goals = FAMILY.sample(4, "test", 1).goal.numpy()
    assert found["standing_still"]["mean"] == pytest.approx(-6 * np.linalg.norm(goals, axis=1).mean(), rel=1e-6)
    assert found["optimum"]["mean"] > max(found[name]["mean"] for name in found if name != "optimum")
    low, high = found["optimum"]["ci95"]  # over the tasks at hand, of which there are few
    assert low < found["optimum"]["mean"] < high and "nothing earns more" in found["optimum"]["what"]


def test_the_best_fixed_velocity_is_the_best_of_all():
    velocities = np.array([0.2, 0.5, 1.7, 1.9, 2.0])
    best, mean = best_fixed_velocity(velocities, horizon=10)
    earned = {fixed: -10 * np.abs(velocities - fixed).mean() for fixed in np.linspace(0, 2, 201).round(2)}
    assert best == max(earned, key=earned.get) == 1.7
    assert mean == pytest.approx(max(earned.values()))


@pytest.mark.mujoco
@pytest.mark.parametrize(
    ("cls", "expected"), [(HalfCheetahVel, "best_fixed_velocity"), (HalfCheetahDir, "standing_still")]
)
def test_half_cheetahs_have_closed_forms(cls, expected):
    which = json.dumps([{"family": cls.name, "family_args": {"horizon": 7, "rows": 1, "workers": 0}}, ""])
    found = baselines._references(which, "test", 4, 1)
    assert set(found) == {expected} and "closed form" in found[expected]["what"]
    velocities = HalfCheetahVel(workers=0, rows=1).sample(4, "test", 1).velocity.numpy()
    mean = best_fixed_velocity(velocities, 7)[1] if cls is HalfCheetahVel else 0.0
    assert found[expected]["mean"] == pytest.approx(mean)


def test_choosing_tries_every_rate_on_validation_tasks(zoo, monkeypatch):
    monkeypatch.setattr(baselines, "load", lambda name: zoo[0])
    monkeypatch.setattr(baselines, "VALIDATION_TASKS", 3)
    scores = baselines.choose_step_sizes("maml_navigation")
    assert set(scores) == {"fine_tuning", "from_scratch"}
    for by_rate in scores.values():
        assert tuple(by_rate) == baselines.RATES and len(set(by_rate.values())) == len(baselines.RATES)
        assert np.all(np.isfinite(list(by_rate.values())))


def test_the_classical_algorithms_play_the_same_tasks_for_the_whole_trial(monkeypatch):
    family, played = Bandit(arms=2, horizon=3), {}

    def one_algorithm(family, tasks, episodes, seed):
        played.update(means=tasks.means.numpy(), episodes=episodes)
        return {"greedy": np.arange(4 * episodes, dtype=np.float64).reshape(4, episodes)}

    monkeypatch.setattr(baselines, "classical_baselines", one_algorithm)
    found = baselines._classical(family, PROTOCOL.without_adapting())["greedy"]
    np.testing.assert_array_equal(played["means"], family.sample(4, "test", 1).means)
    assert played["episodes"] == 9
    assert found["mean"] == pytest.approx(17.5) and found["total"]["mean"] == pytest.approx(9 * 17.5)
    assert baselines._classical(FAMILY, PROTOCOL) == {}
