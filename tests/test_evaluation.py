"""The evaluation protocol: by hand, from a learner and from its export, and whatever should not change a result."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from metazoo import evaluation, random
from metazoo.algorithms.common.learner import agent_of
from metazoo.artefact.store import read_metadata
from metazoo.evaluation import evaluate, play_split, strata
from metazoo.pretrained import Pretrained
from metazoo.rollouts import returns
from metazoo.rollouts.agent import random_agent
from metazoo.rollouts.graph import rollout
from metazoo.summaries import bootstrap_interval, interquartile_mean, summary
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.family import SPLITS
from metazoo.types import StepInputs
from tests.exports import HORIZON, export_small
from tests.without_xla import without_xla

TASKS, EPISODES, STEPS = 7, 3, 2
PROTOCOL = {"tasks": TASKS, "episodes": EPISODES, "steps": STEPS}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A MAML learner on navigation, and its export as loaded by ``metazoo.load``."""
    learner, directory = export_small(tmp_path_factory.mktemp("navigation"), "maml", "gaussian", inner_rate=0.5)
    return learner, Pretrained(directory, read_metadata(directory), tf.saved_model.load(str(directory)))


@pytest.fixture(scope="module")
def learner(exported):
    return exported[0]


@pytest.fixture(scope="module")
def long():
    return Navigation(2 * HORIZON)


@pytest.fixture(scope="module")
def played(learner, long):
    """``(returns [S + 1, M, E], returns at the longer horizon)`` of the learner itself."""
    return play_split(agent_of(learner), learner.family, "test", TASKS, EPISODES, STEPS, seed=3, long=long)


@pytest.fixture(scope="module")
def report(learner, long):
    return evaluate(agent_of(learner), learner.family, name="small", seed=3, long=long, **PROTOCOL)


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    """What the fixtures above play is compiled."""
    without_xla(monkeypatch)


def test_it_plays_the_rounds_that_the_protocol_says(learner, long, played):
    tasks = learner.family.sample(TASKS, "test", 3)
    keys = random.fold(random.fold(random.key(3), 1), tf.range(TASKS))
    weights = learner.current_weights()
    memory = tf.tile(learner.initial_memory(weights)[None, None], [TASKS, 1, 1])

    def step(*args):
        return learner.step(weights, *args)

    for made in range(STEPS + 1):
        episodes = rollout(learner.family, tasks, step, memory, random.fold(keys, made), EPISODES)
        np.testing.assert_allclose(played[0][made], returns.episode_returns(episodes), rtol=1e-4, atol=1e-4)
        if made < STEPS:
            memory = learner.adapt(weights, memory, episodes)[0]
    episodes = rollout(long, tasks, step, memory, random.fold(keys, STEPS + 1), EPISODES)
    np.testing.assert_allclose(played[1], returns.episode_returns(episodes), rtol=1e-4, atol=1e-4)


def test_adapting_changes_what_is_played(played):
    assert np.abs(played[0][1:] - played[0][:1]).min() > 1e-4


def test_the_report_summarises_what_was_played(report, played):
    per_task = played[0].mean(2)
    for made, point in enumerate(report["curve"]):
        assert (point["steps"], point["episodes"]) == (made, made * EPISODES)
        assert point["mean"] == pytest.approx(per_task[made].mean(), rel=1e-6)
        assert point["iqm"] == pytest.approx(np.sort(per_task[made])[1:-1].mean(), rel=1e-6)
        np.testing.assert_allclose(point["per_task"], per_task[made], atol=6e-4)
        assert point["ci95"][0] < point["mean"] < point["ci95"][1]
    assert len(report["curve"]) == STEPS + 1
    assert report["total"]["mean"] == pytest.approx(played[0].sum() / TASKS, rel=1e-6)
    assert report["total"]["mean"] == pytest.approx(EPISODES * sum(p["mean"] for p in report["curve"]), rel=1e-6)
    assert report["at_horizon"].keys() == {str(2 * HORIZON)}
    assert report["at_horizon"][str(2 * HORIZON)]["mean"] == pytest.approx(played[1].mean(), rel=1e-6)


def test_the_report_names_the_protocol_and_is_json(report):
    expected = {"name": "small", "split": "test", "tasks": TASKS, "seed": 3, "deterministic": False, "horizon": HORIZON}
    assert expected.items() <= report.items()
    assert report["metric"] == "return" and report["higher_is_better"] is True
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_same_seed_gives_the_same_report_and_another_one_others():
    family = Navigation(3)
    one, same, other = (
        evaluate(random_agent(family), family, name="random", tasks=3, episodes=2, steps=1, seed=seed)
        for seed in (3, 3, 4)
    )
    assert one == same
    assert one["curve"][0]["per_task"] != other["curve"][0]["per_task"]


def test_results_do_not_depend_on_what_is_played_side_by_side(learner, long, played, monkeypatch):
    """Neither on how many tasks that are, nor on how many tasks there are in all."""
    monkeypatch.setattr(evaluation, "CHUNK", 3)
    parts = play_split(agent_of(learner), learner.family, "test", TASKS + 1, EPISODES, STEPS, seed=3, long=long)
    assert parts[0].shape == (STEPS + 1, TASKS + 1, EPISODES) and parts[1].shape == (TASKS + 1, EPISODES)
    np.testing.assert_allclose(parts[0][:, :TASKS], played[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(parts[1][:TASKS], played[1], rtol=1e-5, atol=1e-5)


def test_the_export_plays_deterministically_what_the_learner_plays(exported):
    learner, policy = exported
    curves = [
        play_split(agent, learner.family, "validation", TASKS, 2, 1, deterministic=True)[0]
        for agent in (agent_of(learner), policy.agent())
    ]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-3, atol=1e-3)
    assert np.array_equal(curves[0][..., 0], curves[0][..., 1]), "navigation's episodes only differ by their actions"


@pytest.mark.slow
def test_the_export_samples_from_the_learners_distribution(exported):
    learner, policy = exported
    mine, exports = (
        play_split(agent, learner.family, "validation", 10, 200, 1)[0] for agent in (agent_of(learner), policy.agent())
    )
    assert not np.array_equal(mine, exports)
    for one, other in zip(mine[0], exports[0], strict=True):  # before adapting; by task
        assert stats.ks_2samp(one, other).pvalue > 1e-4
    error = np.sqrt((mine[1].var() + exports[1].var()) / mine[1].size)
    assert abs(mine[1].mean() - exports[1].mean()) < max(4 * error, 0.02 * abs(mine[1].mean()))


@pytest.mark.parametrize("split", SPLITS)
def test_the_tasks_are_those_of_the_split(split, learner):
    seen = []

    def spying(name, family):
        original = family.sample
        return lambda count, split, seed: seen.append((count, split, seed)) or original(count, split, seed)

    family = Navigation(1)
    family.sample = spying("sample", family)
    report = evaluate(random_agent(family), family, name="random", split=split, tasks=2, episodes=1, steps=0, seed=5)
    assert seen == [(2, split, 5)] and report["split"] == split
    best = 0.1 * 2**0.5 - np.linalg.norm(Navigation(1).sample(2, split, 5).goal, axis=1)
    worst = -0.1 * 2**0.5 - np.linalg.norm(Navigation(1).sample(2, split, 5).goal, axis=1)
    assert np.all((report["curve"][0]["per_task"] > worst) & (report["curve"][0]["per_task"] < best))


def test_wrong_requests_are_refused_with_the_value_and_the_limit(learner):
    def refused(match, **changes):
        with pytest.raises(ValueError, match=match):
            evaluate(agent_of(learner), learner.family, name="small", **(PROTOCOL | changes))

    refused("'tests'; did you mean test", split="tests")
    refused("tasks is 1; it must be at least 2", tasks=1)
    refused("episodes is 0; it must be at least 1", episodes=0)
    refused("steps is -1; it must be at least 0", steps=-1)


def test_fewer_tasks_side_by_side_where_their_episodes_would_not_fit(learner, played, long, monkeypatch):
    monkeypatch.setattr(evaluation, "HELD", 2 * EPISODES * long.horizon * (2 + 2 + 7) + 1)  # two of seven tasks
    parts = play_split(agent_of(learner), learner.family, "test", TASKS, EPISODES, STEPS, seed=3, long=long)
    for part, whole in zip(parts, played, strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="episodes is 7; of navigation at most 6 of a task are played at once"):
        play_split(agent_of(learner), learner.family, "test", TASKS, 7, STEPS, long=long)


def test_the_random_agent_is_uniform_over_the_action_space():
    keys = random.key(tf.range(6000))[None]
    inputs = StepInputs(None, None, None, None)
    actions = random_agent(Navigation()).step(inputs, tf.zeros([1, 1, 0]), keys, False).actions[0].numpy()
    for axis in range(2):
        assert stats.kstest(actions[:, axis], stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(actions.T)[0, 1]) < 0.05
    family = Bandit()
    arms = random_agent(family).step(inputs, tf.zeros([1, 1, 0]), keys, False).actions[0].numpy()
    space = family.action_space
    counts = np.bincount(arms - space.start, minlength=space.n)
    assert len(counts) == space.n and stats.chisquare(counts).pvalue > 1e-3


def test_the_intervals_cover_what_they_estimate_nineteen_times_in_twenty():
    """An exponential's middle half lies between ln 4/3 and ln 4; its mean there is 1 + ln 4 - 1.5 ln 3."""
    rng, middle = np.random.default_rng(0), 1 + np.log(4) - 1.5 * np.log(3)
    inside = stats.expon.expect(lb=np.log(4 / 3), ub=np.log(4), conditional=True)
    assert abs(inside - middle) < 1e-6
    found = [summary(rng.exponential(2.0, 60)) for _ in range(200)]
    for key, truth in (("ci95", 2.0), ("iqm_ci95", 2.0 * middle)):
        intervals = np.array([one[key] for one in found])
        assert 0.88 < np.mean((intervals[:, 0] < truth) & (intervals[:, 1] > truth)) < 0.99


def test_summary_of_equal_values_and_of_outliers():
    assert summary(np.full(8, 5.0)) == {"mean": 5.0, "iqm": 5.0, "ci95": [5.0, 5.0], "iqm_ci95": [5.0, 5.0]}
    found = summary(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1000.0]))
    assert found["iqm"] == 3.5 and found["mean"] == 127.625 and found["ci95"][0] < 10
    low, high = found["iqm_ci95"]
    assert 1 <= low < 3.5 < high


class TwoWays(NamedTuple):
    """``direction`` −1 or 1, and an ``offset`` that may make tasks differ further."""

    direction: Any
    offset: Any


def test_few_distinct_tasks_are_strata():
    directions = np.float32([1, -1, -1, 1, 1])
    found = strata(TwoWays(directions, np.zeros((5, 2), np.float32)))
    assert [kind.task for kind in found] == [
        {"direction": -1.0, "offset": [0.0, 0.0]},
        {"direction": 1.0, "offset": [0, 0]},
    ]
    assert [kind.where.tolist() for kind in found] == [[1, 2], [0, 3, 4]]
    assert strata(TwoWays(directions, np.arange(5.0))) == [], "all differ"
    assert strata(TwoWays(directions, np.zeros(5) + (directions > 0) * [0, 0, 0, 0, 1])) == [], "one occurs once"
    assert strata(TwoWays(np.ones(5), np.zeros(5))) == [], "they are all the same"


def test_intervals_are_drawn_within_strata():
    """Two tasks far apart, each without spread: how many of either a resample has must not matter."""
    kinds = [evaluation.Stratum({}, np.array([0, 2])), evaluation.Stratum({}, np.array([1, 3]))]
    (point,) = evaluation._curve(np.float32([[[87.0], [586.0], [87.0], [586.0]]]), kinds, 1, False, False, 1)
    assert point["mean"] == 336.5 and point["ci95"] == [336.5, 336.5]
    assert [(one["tasks"], one["mean"]) for one in point["by_task"]] == [(2, 87.0), (2, 586.0)]
    low, high = summary(np.array([87.0, 586.0, 87.0, 586.0]))["ci95"]
    assert high - low > 200


def test_the_stratified_interval_draws_within_each_stratum():
    """Eight strata far apart: where each has equal values, nothing varies. Where one has three that differ by ½, it is
    a quarter of the middle half; all three draws are its least with probability 1/27, which is more than 2.5 %."""
    apart = [np.full(3, float(level)) for level in range(8)]
    assert bootstrap_interval(interquartile_mean, *apart) == [3.5, 3.5]
    one_varies = [*apart[:3], np.array([2.5, 3.0, 3.5]), *apart[4:]]
    assert bootstrap_interval(interquartile_mean, *one_varies) == pytest.approx([3.5 - 0.5 / 4, 3.5 + 0.5 / 4])
