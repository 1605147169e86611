"""Figures of many tasks, against values worked by hand and closed forms."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from metazoo.summaries import by_parameter, cvar, gain, tail


class Task(NamedTuple):
    mass: Any
    goal: Any


def test_cvar_is_the_mean_of_the_worst_tenth_rounded_up():
    assert cvar(np.arange(20.0)) == 0.5
    assert cvar(np.arange(11.0)[::-1]) == 0.5, "two of eleven"
    assert cvar(np.array([[3.0, 1.0], [0.0, 5.0]]), 1).tolist() == [1.0, 0.0]


def test_cvar_of_a_uniform_sample_is_its_closed_form():
    values = np.random.default_rng(0).uniform(0, 1, 20_000)
    assert cvar(values) == pytest.approx(0.05, abs=0.003)


def test_a_gain_counts_who_lost():
    before = np.array([0.0, 0.0, 5.0, 1.0])
    found = gain(before, np.array([1.0, 0.0, 4.0, 3.0]))
    assert (found["mean"], found["worse"], found["cvar10"]) == (0.5, 0.25, -1.0)
    low, high = found["worse_ci95"]
    # Wilson's interval of 1 of 4 (Wilson 1927): centre (p + z²/2n) / (1 + z²/n)
    z2 = 1.959964**2
    assert (low + high) / 2 == pytest.approx((0.25 + z2 / 8) / (1 + z2 / 4), abs=1e-5)
    assert found["ci95"][0] <= 0.5 <= found["ci95"][1]


def test_the_tail_of_errors_is_their_highest():
    errors = np.arange(20.0)
    found = tail(errors, -1)
    assert found["cvar10"] == 18.5
    low, high = found["cvar10_ci95"]
    assert low <= 18.5 <= high


def test_parts_by_a_parameter_are_equally_full():
    mass = np.arange(8.0)[::-1]
    tasks = Task(mass, np.stack([np.zeros(8), mass * 2], 1))
    found = by_parameter(tasks, before=np.zeros(8), after=mass * 10)
    assert list(found) == ["mass", "goal[1]"], "what does not vary is left out"
    assert [(part["low"], part["high"], part["tasks"]) for part in found["mass"]] == [
        (0, 1, 2), (2, 3, 2), (4, 5, 2), (6, 7, 2),
    ]  # fmt: skip
    assert [part["after"] for part in found["mass"]] == [5, 25, 45, 65]
    assert found["goal[1]"][3]["low"] == 12


def test_many_parameters_are_not_cut_by():
    assert by_parameter(Task(np.arange(9.0), np.arange(81.0).reshape(9, 9)), np.zeros(9), np.zeros(9)) == {}
