"""Every registered family keeps the contract, and the check kit notices families that do not."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from metazoo import plugins, random
from metazoo.tasks import registry
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.cartpole import CartPole, CartPoleGoal
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.family import SPLITS, Range, TaskFamily, Transition, random_actions
from metazoo.tasks.images.archives import MissingDataError
from metazoo.tasks.registry import BUILT_IN, IN_GRAPH, ON_THE_HOST
from metazoo.tasks.testing import check_family
from metazoo.tasks.testing import graph as testing
from metazoo.tasks.testing.policy import check_policy
from metazoo.types import Box, Discrete, MultiDiscrete

VARIANTS = {
    **IN_GRAPH,
    "bandit_as_large_as_published": lambda: Bandit(arms=50, horizon=500),
    "cartpole_goal_oracle": lambda: CartPoleGoal(horizon=50, reveal_target=True),
    "cartpole_as_long_as_gymnasiums": lambda: CartPole(horizon=500),
    "navigation_oracle": lambda: Navigation(horizon=50, reveal_goal=True),
}


RECORDED = "half_cheetah_dynamics"
"""Where nothing is in the cache, MuJoCo plays for some seconds first."""


@pytest.mark.parametrize("check", testing.CHECKS)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in IN_GRAPH and name != RECORDED else pytest.mark.slow) for name in VARIANTS],
)
def test_family_keeps_the_contract(name, check):
    try:
        testing.CHECKS[check](VARIANTS[name]())
    except MissingDataError as missing:
        pytest.skip(str(missing))


QUICK = ("sinusoid", "tabular_mdp")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
)
def test_a_policy_goes_all_the_way_with_the_family(name):
    check_policy(VARIANTS[name]())


@pytest.mark.parametrize("family", BUILT_IN, ids=lambda family: family.name)
def test_every_task_parameter_has_its_unit(family):
    """Cards print them; an empty one says that there is none."""
    assert set(family.Task._fields) <= set(family.units)


@pytest.mark.parametrize("family", [*BUILT_IN, *ON_THE_HOST], ids=lambda family: family.name)
def test_every_family_says_what_its_rewards_are(family):
    assert family.reward_unit and "\n" not in family.reward_unit and family.reward_unit != "the environment's own"


class ToyTask(NamedTuple):
    """``drift`` (m per step)."""

    drift: object


class ToyState(NamedTuple):
    position: object


class Toy(TaskFamily):
    """A random walk with unknown drift, right in every respect; the subclasses below each break one thing."""

    name, Task, horizon = "toy", ToyTask, 5
    observation_space, action_space = Box((1,), -100.0, 100.0), Box((1,), -1.0, 1.0)
    ranges = {"drift": Range((0.0, 1.0), ((1.0, 2.0),))}

    def sample_task(self, key, split):
        return ToyTask(self.ranges["drift"].sample(key, split))

    def reset(self, task, key):
        return ToyState(random.uniform(key))

    def step(self, task, state, actions, key):
        moved = state.position + tf.clip_by_value(actions[..., 0], -1.0, 1.0) + task.drift + random.normal(key)
        return Transition(ToyState(moved), -tf.abs(moved), moved > 3.0)

    def observe(self, task, state):
        return state.position[..., None]


class WithoutHorizon(Toy):
    horizon = 0


class SameTasksForAllSeeds(Toy):
    def sample(self, count, split="train", seed=0):
        return super().sample(count, split, 0)


class OverlappingSplits(Toy):
    def sample(self, count, split="train", seed=0):
        return super().sample(count, "ood" if split == "ood" else "train", seed)


class WrongDtype(Toy):
    def observe(self, task, state):
        return tf.cast(super().observe(task, state), tf.float64)


class LeakingRows(Toy):
    def step(self, task, state, actions, key):
        after = super().step(task, state, actions, key)
        return after._replace(rewards=after.rewards - tf.reduce_mean(after.rewards))


class Unclipped(Toy):
    def step(self, task, state, actions, key):
        moved = state.position + actions[..., 0]
        return Transition(ToyState(moved), -moved, moved > 3.0)


class NotFinite(Toy):
    def step(self, task, state, actions, key):
        after = super().step(task, state, actions, key)
        return after._replace(rewards=tf.math.log(after.state.position))


class OutOfBounds(Toy):
    observation_space = Box((1,), -0.5, 0.5)


class UnlikeInGraphs(Toy):
    def step(self, task, state, actions, key):
        after = super().step(task, state, actions, key)
        return after if tf.executing_eagerly() else after._replace(rewards=after.rewards + 0.01)


class FlatTargets(Toy):
    supervised = True

    def targets(self, task, state):
        return state.position


BROKEN = {
    WithoutHorizon: ("declarations", "horizon is 0"),
    SameTasksForAllSeeds: ("sampling", "the same for two seeds"),
    OverlappingSplits: ("splits", "in both splits train and validation"),
    WrongDtype: ("shapes", "observe has shape .* and dtype float64"),
    FlatTargets: ("shapes", r"targets has shape \[4, 3\] and dtype float32; it must have \[4, 3, 1\]"),
    LeakingRows: ("independence", "depends on other rows"),
    Unclipped: ("clipping", "must clip"),
    NotFinite: ("episodes", "not finite"),
    OutOfBounds: ("episodes", "outside observation_space"),
    UnlikeInGraphs: ("compilation", "a graph disagree"),
}


def test_a_right_family_passes():
    check_family(Toy())


@pytest.mark.parametrize("broken", BROKEN)
def test_the_kit_notices(broken):
    check, message = BROKEN[broken]
    with pytest.raises(AssertionError, match=f"{broken.__name__}: .*{message}"):
        testing.CHECKS[check](broken())
    with pytest.raises(AssertionError):
        check_family(broken())


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split is 'tests'; did you mean test?"):
        Toy().sample(3, "tests")


def test_ranges_cover_their_intervals_and_nothing_else():
    keys = random.spread(random.key(1), 4000)
    two_sided = Range((6.0, 14.0), ((4.0, 6.0), (14.0, 18.0)))
    inside = two_sided.sample(keys, "test").numpy()
    assert inside.min() >= 6 and inside.max() <= 14 and np.ptp(inside) > 7.9
    outside = two_sided.sample(keys, "ood").numpy()
    low = outside[outside < 10]
    high = outside[outside > 10]
    assert low.min() >= 4 and low.max() <= 6 and high.min() >= 14 and high.max() <= 18
    assert abs(len(low) / 4000 - 1 / 3) < 0.04 and np.ptp(low) > 1.9 and np.ptp(high) > 3.8


def test_training_seeds_never_meet_the_other_splits():
    """Training draws tasks from a new seed per update: none of those seeds may yield another split's tasks."""
    family = IN_GRAPH["cartpole"]()
    poles = {split: set() for split in SPLITS}
    for seed in range(40):
        for split in SPLITS:
            poles[split].update(map(float, family.sample(20, split, seed).half_length))
    for split in SPLITS[1:]:
        assert not poles["train"] & poles[split]


def test_discrete_actions_of_a_family_start_where_the_space_says():
    space = Discrete(3, start=2)

    class Offset(Toy):
        action_space = space

        def step(self, task, state, actions, key):
            tf.debugging.assert_greater_equal(actions, 2)
            tf.debugging.assert_less(actions, 5)
            return super().step(task, state, tf.cast(actions, tf.float32)[..., None], key)

    testing.check_shapes(Offset())


def test_actions_of_several_components():
    class Buttons(Toy):
        action_space = MultiDiscrete((2, 3), start=1)

        def step(self, task, state, actions, key):
            assert actions.shape[-1] == 2 and actions.dtype == tf.int32
            pressed = tf.cast(tf.reduce_sum(actions, -1) - 3, tf.float32)
            return super().step(task, state, pressed[..., None], key)

    check_family(Buttons())
    drawn = random_actions(Buttons().action_space, random.spread(random.key(1), 3000)).numpy()
    pairs, counts = np.unique(drawn, axis=0, return_counts=True)
    assert pairs.tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    np.testing.assert_allclose(counts, 500, atol=90)


class EntryPoint(NamedTuple):
    name: str
    value: str
    family: object

    def load(self):
        if isinstance(self.family, Exception):
            raise self.family
        return self.family


def test_other_packages_add_families_by_entry_point(monkeypatch):
    points = [EntryPoint("toy", "pkg:Toy", Toy)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == "metazoo.families" else [])
    assert registry.load_families() == {**{family.name: family for family in (*BUILT_IN, *ON_THE_HOST)}, "toy": Toy}


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        (ImportError("no module pkg"), "no module pkg"),
        (Toy(), "not a subclass of TaskFamily"),
        (type("Toy", (Toy,), {"name": "cartpole"}), "the name 'cartpole' is taken"),
    ],
)
def test_an_unusable_entry_point_is_left_out(monkeypatch, family, reason):
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint("bad", "pkg:Bad", family)])
    with pytest.warns(UserWarning, match=f"pkg:Bad of entry point 'bad' is left out: .*{reason}"):
        families = registry.load_families()
    assert list(families) == [family.name for family in (*BUILT_IN, *ON_THE_HOST)]
