"""Distances of tasks: against constructed embeddings, and the command as a user runs it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

import metazoo
from metazoo.pretrained import family_of
from metazoo.similarity import quality, space
from metazoo.similarity.embeddings import embed, embed_environment
from metazoo.tasks.views.make import make_task


def met_twice(count=4000, signal=(3.0, 1.0), noise=(1.0, 1.0, 5.0)):
    """Embeddings: two entries that hold the task and noise, and one that is noise alone."""
    rng = np.random.default_rng(0)
    tasks = rng.normal(size=(count, 2)) * signal
    whole = np.concatenate([tasks, np.zeros((count, 1))], 1)
    return tasks, *(whole + rng.normal(size=whole.shape) * noise for _ in range(2))


def test_repeatability_is_the_share_of_variance_that_is_the_task():
    _, first, again = met_twice()
    found = space.fit(first, again)
    assert found.repeatable == pytest.approx([9 / 10, 1 / 2, 0], abs=0.03)


def test_a_coordinate_has_the_spread_of_its_signal_over_its_noise():
    _, first, again = met_twice()
    found = space.fit(first, again)
    spread = found.coordinates(np.concatenate([first, again])).std(0)
    expected = np.sqrt(found.repeatable / (1 + space.LEAST_NOISE - found.repeatable))
    assert spread == pytest.approx(expected, rel=1e-3)


def test_distances_do_not_depend_on_the_units_of_an_embedding():
    """Nor, then, on an inner step's sizes, nor on a turn of its entries."""
    _, first, again = met_twice(400)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    for change in (np.diag([1e-3, 10.0, 3.0]), np.diag([-1.0, 1.0, 1.0])):
        one, other = (space.fit(a, b).coordinates(a) for a, b in ((first, again), (first @ change, again @ change)))
        np.testing.assert_allclose(space.distances(one), space.distances(other), rtol=1e-3, atol=1e-3)
    one, other = (space.fit(a, b) for a, b in ((first, again), (first @ turn, again @ turn)))
    assert one.repeatable == pytest.approx(other.repeatable, abs=1e-3)


def test_noise_is_not_what_makes_tasks_alike():
    tasks, first, again = met_twice(300)
    parameters = {"one": tasks[:, 0], "two": tasks[:, 1]}
    ours = quality.rank_correlations(space.fit(first, again).coordinates(first), parameters)
    plain = quality.rank_correlations(first, parameters)
    assert ours["one"]["rho"] > 0.75 > 0.45 > plain["one"]["rho"]
    far = [space.distances(x) for x in (first, tasks[:, :1])]
    upper = np.triu_indices(len(tasks), 1)
    assert plain["one"]["rho"] == pytest.approx(stats.spearmanr(far[0][upper], far[1][upper])[0])
    low, high = ours["one"]["ci95"]
    assert low < ours["one"]["rho"] < high and high - low < 0.2


def test_distances_and_nearest_by_hand():
    points = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    np.testing.assert_allclose(space.distances(points)[0], [0, 5, 1])
    which, far = space.nearest(points, np.array([0.0, 2.0]), 2)
    assert which.tolist() == [2, 0] and far.tolist() == [1, 2]


def test_equal_embeddings_and_few_tasks_are_refused():
    with pytest.raises(ValueError, match="nothing tells them apart"):
        space.fit(np.ones((20, 3)), np.ones((20, 3)))
    with pytest.raises(ValueError, match="two of each of 20 tasks"):
        space.fit(np.ones((19, 3)), np.ones((19, 3)))


@pytest.mark.parametrize("name", ["rl2_navigation", pytest.param("maml_navigation", marks=pytest.mark.slow)])
def test_an_environment_is_embedded_as_the_task_it_is(name):
    """The episodes differ by their draws alone; on the map both are near one another."""
    policy = metazoo.load(name)
    family = family_of(policy.metadata)
    tasks = family.sample(20, "test", 0)
    twice = [embed(policy, family, tasks, 3, seed) for seed in (1, 2)]
    found = space.fit(*twice)
    env = make_task(policy.metadata, {"goal": str(np.asarray(tasks.goal)[4].tolist())})
    far = space.distances(found.coordinates(embed_environment(policy, env, 3, 0)[None]), found.coordinates(twice[0]))[0]
    assert np.argsort(far).tolist().index(4) < 3


def test_policies_that_do_not_adapt_are_refused():
    policy = metazoo.load("dr_navigation")
    with pytest.raises(ValueError, match="does not adapt"):
        embed(policy, family_of(policy.metadata), None, 1, 0)


@pytest.mark.slow
def test_the_command_says_what_the_issue_asks_for(tmp_path):
    """ρ with the goal, and with the target, after one episode; policies transfer to near tasks."""
    found = {}
    for name in ("rl2_navigation", "maml_navigation", "rl2_cartpole_goal"):
        command = [sys.executable, "-m", "metazoo.cli", "similar", name, "--json", "--out", f"{name}.png"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        moved = found[name]["transfer"]
        assert moved["rho"]["distance"]["ci95"][1] < 0 and moved["nearest"]["mean"] > moved["other"]["mean"]
    assert found["rl2_navigation"]["correlation"]["all"]["rho"] > 0.9
    assert found["maml_navigation"]["correlation"]["all"]["rho"] > 0.7
    assert found["rl2_cartpole_goal"]["correlation"]["target"]["rho"] > 0.7
    whole = [found["rl2_cartpole_goal"]["transfer"]["rho"][name]["mean"] for name in ("target", "gravity")]
    assert whole[0] < -0.3 < whole[1], "the target is the parameter that matters"
