"""Warm starts: what held-back episodes say, by hand; and an index that follows what is published."""

import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

from metazoo.artefact import lineage, store, warm_start
from metazoo.types import Episodes
from tests import toy_policy

START = np.array([0.0, 0.0, 0.0], np.float32)
METADATA = {"name": "two", "memory": {"kind": "fast_weights", "size": 3}, "config": {"inner_gamma": 0.0},
            "action_space": {"type": "Discrete", "n": 2, "start": 0}}  # fmt: skip


def step(inputs):
    """Two actions whose logits are the memory's first entries."""
    return {"logits": inputs["memory"][:, :2]}


def played(rewarded, episodes=8, length=30):
    """Episodes of a policy that draws both actions alike; one of them is rewarded."""
    actions = np.random.default_rng(0).integers(2, size=(1, episodes, length)).astype(np.int32)
    flags = np.zeros(actions.shape, bool)
    seen = np.zeros((*actions.shape, 1), np.float32)
    rewards = (actions == rewarded).astype(np.float32)
    return Episodes(seen, seen[:, :, 0], actions, rewards, flags, flags, np.ones(actions.shape, np.float32))


def near(logits, name="a"):
    return warm_start.Near(name, 1, np.array([*logits, 1.0], np.float32), 0.1)


def test_the_start_that_held_back_episodes_like_better_is_taken():
    likes_one, likes_two = near([-2, 2], "one"), near([2, -2], "two")
    cold = np.array([-0.1, 0.1, 1.0], np.float32)
    found = warm_start.choose(step, METADATA, played(rewarded=1), START, cold, [likes_two, likes_one])
    said = found.record["warm_start"]
    assert said["from"] == "one" and said["held_back"]["episodes"] == 2
    np.testing.assert_array_equal(found.memory, likes_one.memory)
    assert said["held_back"]["warm"] > said["held_back"]["cold"] > 0
    assert warm_start.choose(step, METADATA, played(rewarded=0), START, -cold, [likes_one]) == (None, {})


def test_what_a_start_is_worth_by_hand():
    """Rewarded steps are worth 1, the others −1; with probabilities 0.9 and 0.1 of ½ each: 0.9 − 0.1."""
    episodes = played(rewarded=1, episodes=40)
    worth = warm_start.advantages(episodes, 0.0)
    assert worth[episodes.actions == 1].mean() > 0.9 and worth[episodes.actions == 0].mean() < -0.9
    ratios = np.log(np.where(np.arange(10) < 5, 0.9, 0.1) / 0.5)
    found = warm_start.weighed_advantages(ratios, np.where(np.arange(10) < 5, 1.0, -1.0))
    assert found.sum() == pytest.approx(0.8)
    limited = warm_start.weighed_advantages(np.full(4, 90.0), np.arange(4.0))
    assert limited.sum() == pytest.approx(1.5), "ratios have a limit"


def test_advantages_by_hand():
    """Two episodes, the second one step shorter: 1 + ½ · 2, 2 and 0; less the means 1, 2."""
    rewards = np.array([[[1.0, 2.0], [0.0, 9.0]]], np.float32)
    mask = np.array([[[1.0, 1.0], [1.0, 0.0]]], np.float32)
    flags = np.zeros(mask.shape, bool)
    found = warm_start.advantages(Episodes(mask, mask, mask, rewards, flags, flags, mask), 0.5)
    assert found == pytest.approx(np.array([[[1, 0], [-1, 0]]]) / np.sqrt(2 / 3))


def test_log_probabilities_are_scipys():
    rng = np.random.default_rng(0)
    loc, scale, actions = rng.normal(size=(5, 2)), rng.uniform(0.5, 2, (5, 2)), rng.normal(size=(5, 2))
    box = spaces.Box(-1, 1, (2,))
    expected = stats.norm.logpdf(actions, loc, scale).sum(1)
    assert warm_start.log_probs({"loc": loc, "scale": scale}, actions, box) == pytest.approx(expected)
    logits, several = rng.normal(size=(5, 5)), spaces.MultiDiscrete([2, 3], start=[1, 0])
    chosen = np.stack([rng.integers(1, 3, 5), rng.integers(0, 3, 5)], 1)
    by_hand = [
        np.log(np.exp(row[a - 1]) / np.exp(row[:2]).sum() * np.exp(row[2 + b]) / np.exp(row[2:]).sum())
        for row, (a, b) in zip(logits, chosen, strict=True)
    ]
    assert warm_start.log_probs({"logits": logits}, chosen, several) == pytest.approx(by_hand)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "toy" / "1"
    toy_policy.export_toy(directory)
    return directory


def publish(toy, directory, task, change, version=1):
    start = store.read_memory(toy).reshape(-1)
    record = {"from": "toy", "from_version": version, "task": task, "steps": 1, "episodes": 3}
    parent = lineage.Parent("toy", 1, toy, store.read_metadata(toy))
    return lineage.publish(parent, directory, lineage.Target(f"toy-{task}", record), start + change)


def directions(*which):
    change = np.zeros(toy_policy.SIZE, np.float32)
    change[list(which)] = 1.0
    return change


def test_the_index_follows_what_is_published_changed_and_deleted(toy, tmp_path):
    start = store.read_memory(toy).reshape(-1)
    index = warm_start.Index(tmp_path, "toy", 1, start)
    index.refresh()
    assert len(index) == 0
    for task, which in (("a", (0,)), ("b", (1,)), ("c", (0, 1, 2))):
        publish(toy, tmp_path, task, directions(*which))
    publish(toy, tmp_path, "older", directions(0), version=7)
    (tmp_path / "toy-empty").mkdir()
    index.refresh()
    found = index.nearest(directions(0), 3)
    assert found[0].name == "toy-a" and len(found) == 3, "of the same version alone"
    by_hand = {"toy-a": (0,), "toy-b": (1,), "toy-c": (0, 1, 2)}
    whole = np.linalg.norm(warm_start.sketch(directions(0)))
    for one in found:
        apart = warm_start.sketch(directions(*by_hand[one.name]) - directions(0))
        assert one.distance == pytest.approx(np.linalg.norm(apart) / whole, abs=1e-5)
    np.testing.assert_array_equal(found[0].memory, start + directions(0))
    publish(toy, tmp_path, "b", directions(0, 3))
    store.delete_model(tmp_path / "toy-a")
    index.refresh()
    found = index.nearest(directions(0, 3), 3)
    assert [(one.name, one.version) for one in found] == [("toy-b", 2), ("toy-c", 1)]
    assert found[0].distance == pytest.approx(0, abs=1e-6)


def test_sketches_keep_distances_and_leave_the_counter_out():
    rng = np.random.default_rng(0)
    steps = np.concatenate([rng.normal(size=(40, 3)) @ rng.normal(size=(3, 4000)), rng.normal(size=(40, 1))], 1)
    found = np.array([warm_start.sketch(one) for one in steps])
    true = np.linalg.norm(steps[:, None, :-1] - steps[None, :, :-1], axis=-1)
    ours = np.linalg.norm(found[:, None] - found[None], axis=-1)
    upper = np.triu_indices(40, 1)
    assert ours[upper] / true[upper] == pytest.approx(1.0, abs=0.35)
    assert stats.spearmanr(ours[upper], true[upper])[0] > 0.95


def test_what_cannot_be_started_warmly_is_refused():
    with pytest.raises(lineage.LineageError, match="at least 2 episodes"):
        warm_start.check_possible(METADATA, 1)
    with pytest.raises(lineage.LineageError, match="cannot be started from another's"):
        warm_start.check_possible({**METADATA, "memory": {"kind": "recurrent"}}, 5)
