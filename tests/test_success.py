"""Success as a metric: told by environments at their steps, or judged by families of whole episodes."""

import re

import numpy as np
import pytest
import tensorflow as tf

from metazoo.cards.card_tables import results
from metazoo.cli.support import print_report
from metazoo.evaluation import evaluate
from metazoo.rollouts.agent import random_agent
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.gym.rows import told_success
from tests.cards.reports import made_up_metadata, made_up_report
from tests.host_envs import Point


class Told(Point):
    """Succeeds at its second step alone, where the task is above one half; says so under the name ``key``."""

    difficulty, key = 0.0, "success"

    def step(self, action):
        return *super().step(action)[:4], {self.key: self.difficulty > 0.5 and self.t == 2}


class Silent(Told):
    """Says something else."""

    key = "happiness"


class Near(Navigation):
    """Success: within 0.2 of the goal at the end."""

    def successes(self, tasks, episodes):
        away = tf.norm(episodes.final_observations - tasks.goal[:, None], axis=-1)
        return tf.cast(away < 0.2, tf.float32)


def host(make, **arguments):
    return GymFamily(make, {"difficulty": (0.0, 1.0)}, horizon=4, name="told", **arguments)


@pytest.mark.parametrize("key", ["success", "is_success"])
@pytest.mark.parametrize("online", [False, True])
def test_an_episode_succeeds_that_does_at_any_step(online, key):
    """Rounds and trials, in turns of few rows and several episodes of a task side by side."""
    family = host(Told, rows=7, env_args={"key": key})
    agent = random_agent(family)._replace(online=online)
    report = evaluate(agent, family, name="told", tasks=9, episodes=2, steps=1, seed=4)
    hard = np.asarray(family.sample(9, "test", 4).difficulty) > 0.5
    assert 0 < hard.mean() < 1 and len(report["curve"]) == (4 if online else 2)
    for point in report["curve"]:
        assert point["success"]["mean"] == pytest.approx(hard.mean())
        assert point["success"]["ci95"][0] <= hard.mean() <= point["success"]["ci95"][1]


class Kinds(GymFamily):
    """Easy tasks and hard ones."""

    def kinds_of(self, tasks):
        return ["hard" if one > 0.5 else "easy" for one in tasks.difficulty]


def test_kinds_of_tasks_have_their_own_figures(capsys):
    """Exact ones, as success is decided by the kind here; in the report, on the card and in the terminal."""
    family = Kinds(Told, {"difficulty": (0.0, 1.0)}, horizon=4, name="told", rows=7)
    report = evaluate(random_agent(family), family, name="told", tasks=12, episodes=2, steps=1, seed=4)
    for point in report["curve"]:
        easy, hard = point["by_task"]
        assert (easy["task"], hard["task"]) == ({"kind": "easy"}, {"kind": "hard"})
        assert easy["success"]["mean"] == 0 and hard["success"]["mean"] == 1 and easy["tasks"] + hard["tasks"] == 12
    print_report(report)
    assert "kind hard" in (text := capsys.readouterr().out) and text.count("success 100 % [100, 100]") == 1
    table = results(made_up_metadata(), report)
    assert "By kind of task:" in table and re.search(r"\| `hard` \| test \| \d+ \| .*, 100 % \[100, 100\] \|", table)


def test_nothing_is_said_where_environments_say_nothing():
    report = evaluate(random_agent(host(Silent)), host(Silent), name="silent", tasks=3, episodes=1, steps=0)
    assert "success" not in report["curve"][0]


@pytest.mark.parametrize(
    ("info", "rate"), [({"success": True}, 1), ({"is_success": np.float32(0)}, 0), ({}, None), (None, None)]
)
def test_what_an_info_says(info, rate):
    said = told_success(info)
    assert np.isnan(said) if rate is None else said == rate


def test_a_family_in_the_graph_judges_whole_episodes():
    """As many succeed as end near their goal when the same episodes are played once more."""
    from metazoo import random
    from metazoo.rollouts.graph import rollout

    family, agent = Near(12), random_agent(Near(12))
    report = evaluate(agent, family, name="near", tasks=40, episodes=5, steps=0, seed=2)
    tasks, keys = family.sample(40, "test", 2), random.fold(random.fold(random.key(2), 1), tf.range(40))
    played = rollout(family, tasks, agent.step, tf.zeros([40, 1, 0]), random.fold(keys, 0), 5)
    away = np.linalg.norm(played.final_observations - np.asarray(tasks.goal)[:, None], axis=-1)
    assert 0 < (away < 0.2).mean() < 1
    assert report["curve"][0]["success"]["mean"] == pytest.approx((away < 0.2).mean(), abs=1e-6)


def judged(**changes):
    rate = {"success": {"mean": 0.934, "ci95": [0.876, 0.981]}}
    report = made_up_report("maml_cartpole", (20.0, 90.0), **changes)
    curve = [point | rate for point in report["curve"]]
    return report | {"curve": curve, "baselines": {"random": report["baselines"]["random"] | rate}}


def test_cards_and_the_command_show_it_in_percent(capsys):
    text = results(made_up_metadata(), judged())
    assert "| test: mean | test: IQM | test: success |" in text and "| 93 % [88, 98] |" in text
    assert "the share of episodes that reached the goal at any step" in text
    assert "| `random` | 21.3 [20.1, 22.5] | 93 % [88, 98] |" in text
    assert "success" not in results(made_up_metadata(), made_up_report("maml_cartpole", (20.0, 90.0)))
    report = judged()
    report["curve"][-1] |= {"cvar10": 1.0, "cvar10_ci95": [0.0, 2.0]}
    print_report(report)
    assert capsys.readouterr().out.count("success 93 % [88, 98]") == 3
