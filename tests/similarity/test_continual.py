"""Continual use: nothing is forgotten, and the least useful goes first."""

import numpy as np
import pytest

import metazoo
from metazoo.similarity.continual import HALF_LIFE, Memories
from tests import toy_policy


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "toy" / "1"
    toy_policy.export_toy(directory)
    return metazoo.load(directory.parent)


@pytest.fixture
def env():
    import gymnasium

    with gymnasium.make("CartPole-v1") as made:
        yield made


def test_earlier_policies_stay_what_they_were(toy, env, tmp_path):
    memories = Memories(toy, tmp_path, quota=20)
    first = memories.meet(env, "first", episodes=2)
    returns = first.evaluate(env, 5)
    for number in range(6):
        memories.meet(env, f"t{number}", episodes=2, seed=number + 1)
    again = Memories(metazoo.load(toy.directory), tmp_path, quota=20).meet(env, "first")
    np.testing.assert_array_equal(again.memory, first.memory)
    np.testing.assert_array_equal(again.evaluate(env, 5), returns)
    assert memories.met == 7 and len(memories.names) == 7


def test_the_least_useful_is_evicted(toy, env, tmp_path):
    memories = Memories(toy, tmp_path, quota=2)
    for task in ("a", "b", "a", "a", "c"):
        memories.meet(env, task, episodes=2)
    assert memories.names == ["toy-a", "toy-c"]
    assert (tmp_path / "toy-a" / "1").exists() and not (tmp_path / "toy-b").exists()
    assert memories.usefulness("toy-c") >= 0.5 ** (1 / HALF_LIFE)
    with pytest.raises(ValueError, match="quota is 0"):
        Memories(toy, tmp_path, quota=0)
