"""Clients' slices of a family: private, of equal probability, and together the family."""

from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.federated.slices import coordinate, slices_of
from metazoo.tasks.family import Range
from metazoo.tasks.registry import FAMILIES

CLIENTS = 32


@pytest.fixture(scope="module")
def sectors():
    return slices_of(FAMILIES["navigation"](), CLIENTS)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_goal_of_a_client_lies_in_its_sector(sectors, split):
    for client in (0, 7, 31):
        goals = np.asarray(sectors.sample(50, split, sectors.of(client), random.key(3)).goal)
        turns = np.mod(np.arctan2(goals[:, 1], goals[:, 0]) / (2 * np.pi), 1.0)
        low, high = sectors.bounds[client : client + 2]
        assert len(np.unique(goals, axis=0)) == 50
        assert np.all((turns >= low - 1e-6) & (turns < high + 1e-6))


def test_sectors_are_about_a_thirty_second_of_a_turn(sectors):
    assert np.diff(sectors.bounds[1:-1]) == pytest.approx(np.full(CLIENTS - 2, 1 / CLIENTS), rel=0.5)


def test_slices_have_equal_probability(sectors):
    along = coordinate(FAMILIES["navigation"]().sample(20_000, "test", 5), "goal").numpy()
    shares = np.histogram(along, sectors.bounds)[0] / len(along)
    assert shares == pytest.approx(np.full(CLIENTS, 1 / CLIENTS), abs=0.006)  # five standard deviations


def test_all_clients_together_have_the_family_s_tasks(sectors):
    goals = [np.asarray(sectors.sample(100, "train", sectors.of(i), random.key(i)).goal) for i in range(CLIENTS)]
    spread = np.concatenate(goals)
    assert spread.mean(0) == pytest.approx([0, 0], abs=0.03)
    assert spread.std(0) == pytest.approx([np.sqrt(1 / 12)] * 2, abs=0.02)


def test_the_same_key_gives_the_same_tasks_in_a_graph_too(sectors):
    draw = lambda: sectors.sample(3, "train", sectors.of(5), random.key(9)).goal  # noqa: E731
    compiled = tf.function(draw, jit_compile=True)()
    assert np.array_equal(draw(), compiled)
    assert not np.array_equal(draw(), sectors.sample(3, "train", sectors.of(5), random.key(8)).goal)


def test_a_family_with_ranges_is_cut_along_the_first():
    family = FAMILIES["cartpole"]()
    slices = slices_of(family, 4)
    first = next(iter(family.ranges))
    assert slices.parameter == first
    low, high = family.ranges[first].train
    values = np.asarray(getattr(slices.sample(40, "train", slices.of(2), random.key(0)), first))
    assert values.min() >= low + 0.49 * (high - low)
    assert values.max() <= low + 0.76 * (high - low)


class Task(NamedTuple):
    direction: tf.Tensor


class Directions:
    """Two tasks."""

    name = "directions"
    ranges: ClassVar[dict[str, Range]] = {}

    def parameter_ranges(self):
        return self.ranges

    def sample(self, count, split="train", seed=0):
        keys = random.spread(random.fold(random.key(0), seed), count)
        return Task(tf.where(random.bernoulli(keys, 0.5), 1.0, -1.0))


def test_two_values_are_two_clients():
    slices = slices_of(Directions(), 2)
    for client, value in ((0, -1.0), (1, 1.0)):
        drawn = slices.sample(6, "train", slices.of(client), random.key(1)).direction
        assert np.array_equal(drawn, np.full(6, value))


def test_more_clients_than_values_are_refused():
    with pytest.raises(ValueError) as error:
        slices_of(Directions(), 3)
    said = "clients is 3; directions is cut along direction, which has 2 values, and every client needs a share"
    assert str(error.value) == f"{said} of its own."
