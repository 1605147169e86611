"""What ``metazoo bench`` measures, on settings small enough for a test."""

import numpy as np
import pytest

from metazoo import bench
from tests import toy_policy


def test_a_learners_rate_counts_whole_updates(monkeypatch):
    config = {"tasks": 3, "episodes": 2, "inner_steps": 1}
    monkeypatch.setitem(bench.LEARNERS, "maml/navigation", bench.LearnerBench("maml_navigation", config, (8, 8)))
    monkeypatch.setattr(bench, "_repeated", lambda action: [action(), 0.5][1:])
    (row,) = bench.measure_learner("maml/navigation")
    assert row["env_steps_per_s"] == 3 * 2 * 100 * 2 * bench.UPDATES_PER_FIT / 0.5
    assert row["what"] == "maml/navigation"
    assert row["config"] == "3 tasks x 2 episodes x 100 steps, 1 inner step, second order, MLP 8-8"


def test_the_learners_are_measured_at_the_published_sizes():
    sizes = {name: (*one.config.values(), one.hidden) for name, one in bench.LEARNERS.items()}
    assert sizes == {"maml/cartpole": (20, 20, 1, (64, 64)), "maml/navigation": (40, 20, 1, (100, 100))}


def test_families_are_measured_beside_gymnasium(monkeypatch):
    monkeypatch.setattr(bench, "SECONDS", 0.05)
    monkeypatch.setattr(bench, "COPIES", 8)
    monkeypatch.setattr(bench._repeated, "__defaults__", (0.05, 5))
    ours, theirs = bench.measure_family("cartpole")
    assert (ours["what"], theirs["what"]) == ("cartpole", "gymnasium/CartPole-v1")
    assert min(ours["env_steps_per_s"], theirs["env_steps_per_s"]) > 1000
    assert len(bench.measure_family("navigation")) == 1


def test_times_are_taken_often_enough():
    calls = []
    times = list(bench._repeated(lambda: calls.append(1), seconds=0.0, least=7))
    assert len(times) == len(calls) == 7
    assert min(times) >= 0


def test_serving_is_measured_over_rest_and_grpc(monkeypatch, tmp_path):
    toy_policy.export_toy(tmp_path / "models" / "toy" / "1")
    monkeypatch.setattr(bench._repeated, "__defaults__", (0.1, 5))
    import gymnasium as gym

    import metazoo.gym_make

    monkeypatch.setattr(metazoo.gym_make, "make_task", lambda metadata, parameters: gym.make("CartPole-v1"))
    rows = bench.measure_serving("serving", str(tmp_path / "models"))
    assert [row["what"] for row in rows] == ["rest/act-1", "grpc/act-1", "adapt/rest"]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] and np.isfinite(row["requests_per_s"]) for row in rows)


def test_a_measurement_that_fails_says_why(monkeypatch):
    monkeypatch.setitem(bench.MEASUREMENTS, "families", {"moons": bench.measure_family})
    with pytest.raises(RuntimeError, match="the benchmark moons failed: .*Error|StopIteration"):
        bench.run("families")
