"""``metazoo.find``: what fits by its spaces, what is said where nothing does, and how those that fit do."""

import shutil

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import metazoo
from metazoo import finding
from metazoo.artefact import store
from metazoo.artefact.intervals import interval
from metazoo.collect import CollectionError
from tests import toy_policy

HERE = metazoo.savedmodels_directory()
SHORT = {"max_episode_steps": 10}


class Moon(gym.Env):
    """The spaces of LunarLander."""

    observation_space, action_space = spaces.Box(-2.0, 2.0, (8,), np.float32), spaces.Discrete(4)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two policies of CartPole, one of which adapts, and one of something else."""
    directory = tmp_path_factory.mktemp("models")
    toy_policy.export_toy(directory / "toy" / "1")
    for name, changes in (("stays", {"adapt": {"episodes": 3, "steps": 0}}), ("bandit", {})):
        shutil.copytree(directory / "toy", directory / name)
        metadata = {**toy_policy.METADATA, "name": name, **changes}
        if name == "bandit":
            metadata["action_space"] = {"type": "Discrete", "n": 7, "start": 0}
        store.replace_metadata(directory / name / "1", metadata)
    return directory


def test_policies_fit_by_their_spaces_alone(models):
    found = metazoo.find(gym.make("CartPole-v1", **SHORT), models=models)
    assert [row["name"] for row in found.fitting] == ["stays", "toy"]
    assert found.fitting[0]["sees"] == "Box(4)" and "tried" not in found.fitting[0]
    assert found.others == [{"name": "bandit", "reason": "it sees Box(4) and does Discrete(7)"}]
    assert "--try" in found.advice and "toy" in finding.text(found)


def test_what_was_trained_here_is_looked_at_first(models, tmp_path, monkeypatch):
    shutil.copytree(models / "toy", tmp_path / "runs" / "mine" / "savedmodels" / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finding, "savedmodels_directory", lambda: models)
    found = finding.find(gym.make("CartPole-v1", **SHORT))
    assert [row["name"] for row in found.fitting] == ["mine", "stays", "toy"]
    assert found.fitting[0]["directory"] == "runs/mine/savedmodels/mine"
    several = finding.find(
        gym.make("CartPole-v1", **SHORT), models=[models, tmp_path / "runs" / "mine" / "savedmodels"]
    )
    assert [row["name"] for row in several.fitting] == ["stays", "toy", "mine"]


@pytest.mark.parametrize("models_of", ["models", None])
def test_where_nothing_fits_it_says_so_and_what_to_do(models, models_of):
    if models_of is None and not (HERE / "maml_cartpole").is_dir():
        pytest.skip("there are no pretrained policies")
    found = finding.find(Moon(), try_out=True, models=models if models_of else None)
    assert not found.fitting and "No policy here has the spaces of Moon" in found.advice
    assert "metazoo new family" in found.advice and 0 < len(found.others) <= finding.NEAR
    assert "does not fit: it sees" in finding.text(found)


def test_trying_plays_before_and_after_on_the_same_seeds_and_ranks_by_after(models):
    env = gym.make("CartPole-v1", **SHORT)
    found = finding.find(env, try_out=True, budget=2, test_episodes=3, seed=5, models=models)
    rows = {row["name"]: row["tried"] for row in found.fitting}
    assert [row["tried"]["after"]["mean"] for row in found.fitting] == sorted(
        r["after"]["mean"] for r in rows.values()
    )[::-1]
    assert rows["stays"]["used"] == 0 and rows["stays"]["gain"]["mean"] == 0.0
    assert rows["toy"]["used"] == 2
    policy = metazoo.load(models / "toy")
    adapted = policy.adapt(env, episodes=2, steps=1, seed=5)
    before, after = (one.evaluate(env, 3, finding.TEST_SEED + 5) for one in (policy, adapted))
    assert rows["toy"]["before"] == interval(before) and rows["toy"]["after"] == interval(after)
    assert rows["toy"]["gain"]["mean"] == pytest.approx(np.mean(after - before))
    assert "2 episodes" in finding.text(found) and "does not adapt" in finding.text(found)


@pytest.mark.parametrize(
    ("trained", "budget", "used"), [((5, 3), 15, 15), ((5, 3), 12, 10), ((5, 3), 4, 4), ((5, 1), 15, 5)]
)
def test_a_budget_is_never_exceeded(trained, budget, used):
    class Counting:
        metadata = {"adapt": dict(zip(("episodes", "steps"), trained, strict=True)), "memory": {"online": False}}

        def adapt(self, env, episodes, steps, seed):
            return episodes * steps

    assert finding._adapted(Counting(), None, budget, 0) == (used, used)


def test_intervals_are_students():
    found = interval(np.array([1.0, 2.0, 3.0]))
    assert found["mean"] == 2.0 and found["ci95"] == pytest.approx([2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5])


def test_wrong_requests_are_refused(models, tmp_path):
    with pytest.raises(ValueError, match="budget is 0 and test_episodes 10"):
        finding.find(Moon(), budget=0)
    with pytest.raises(FileNotFoundError, match="there is no models directory"):
        finding.find(Moon(), models=tmp_path / "gone")
    with pytest.raises(CollectionError):
        finding.find("CartPole-v1", models=models)
