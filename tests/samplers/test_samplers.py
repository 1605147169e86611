"""Task samplers: their equations by hand, what they do on constructed landscapes, and that they change nothing else."""

import copy

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.samplers import alp_gmm, mixtures, pdts, plr, roml
from metazoo.samplers.registry import NAMES, SAMPLERS, sampler_of
from metazoo.samplers.sampler import Sampler
from metazoo.tasks.families.navigation import Navigation

COUNT = 16


def made(name, seed=0):
    return sampler_of(name, Navigation(), COUNT, seed)


def trained(sampler, landscape, updates, first=0):
    """Lets it learn from ``landscape(points [N, D], update) → returns``; the points of all proposals ``[U, N, D]``."""
    points = []
    for update in range(first, first + updates):
        tasks = sampler.propose(update)
        points.append(sampler.points(tasks))
        sampler.learn(update, tasks, np.repeat(landscape(points[-1], update)[:, None], 3, 1))
    return np.array(points)


def test_replay_probabilities_by_hand():
    """Ranks 1, 3, 2; with β = 1 weights 1, 1/3, 1/2; half of it by age: 1, 0, 3 updates."""
    found = plr.replay_probabilities(np.array([3.0, 1.0, 2.0]), np.array([1, 0, 3]), temperature=1.0, staleness=0.5)
    assert found == pytest.approx([6 / 22 + 1 / 8, 2 / 22, 3 / 22 + 3 / 8])
    sharp = plr.replay_probabilities(np.array([3.0, 1.0, 2.0]), np.zeros(3), temperature=0.5, staleness=0.0)
    assert sharp == pytest.approx(np.array([1, 1 / 9, 1 / 4]) / (1 + 1 / 9 + 1 / 4))


def test_tasks_with_regret_are_met_again_and_old_ones_make_room():
    sampler = made("plr")
    family_tasks, met = [], []
    for update in range(90):
        tasks = sampler.propose(update)
        spread = np.where(sampler.points(tasks)[:, 0] > 0.5, 1.0, 0.0)  # regret on one half alone
        sampler.learn(update, tasks, np.stack([-spread, spread], 1))
        met.append(sampler.points(tasks)[: COUNT // 2, 0].mean())
        family_tasks.append(np.asarray(tasks.goal))
    assert np.mean(met[5:]) > 0.6, "replayed tasks lie where there is regret"
    assert int(sampler.state["held"]) == plr.CAPACITY
    seen = {tuple(goal) for goals in family_tasks[:-1] for goal in goals.tolist()}
    assert all(tuple(goal) in seen for goal in family_tasks[-1][: COUNT // 2].tolist()), "replayed ones were met"
    assert not any(tuple(goal) in seen for goal in family_tasks[-1][COUNT // 2 :].tolist()), "the others are new"


def test_regret_is_against_the_best_that_was_ever_seen_of_a_task():
    sampler = made("plr")
    first = sampler.propose(0)
    sampler.learn(0, first, np.tile([1.0, 5.0], (COUNT, 1)))
    assert sampler.state["score"][:COUNT] == pytest.approx(2.0), "5 − 3"
    again = sampler.propose(1)
    sampler.learn(1, again, np.tile([0.0, 1.0], (COUNT, 1)))
    met_again = sampler._from
    assert sampler.state["score"][met_again] == pytest.approx(4.5), "5 − ½: the best is remembered"


def test_a_step_of_the_cross_entropy_method_by_hand():
    """Two of four tasks earn at most 2: with weights 1 and 3 their mean rank is (0.2 + 3 · 0.6) / 4 = ½ of … = 0.5."""
    ranks, weights = np.array([[0.2], [0.6], [0.9], [0.1]]), np.array([1.0, 3.0, 1.0, 1.0])
    found = roml.moved(np.array([0.7]), ranks, weights, np.array([1.0, 2.0, 3.0, 4.0]), level=2.0)
    assert found == pytest.approx([0.5 * 0.7 + 0.5 * 0.5])


def test_the_level_is_the_easier_of_both_quantiles():
    reference, earned = np.arange(11.0), np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert roml.quantile_to_reach(reference, earned) == max(1.0, 1.0)
    assert roml.quantile_to_reach(reference + 10, earned) == 11.0, "the tail of the training distribution"
    assert roml.quantile_to_reach(reference - 10, earned) == 1.0, "not fewer than a fifth of the update"


def test_the_proposal_is_the_training_distribution_at_first_and_a_beta_then():
    ranks = np.linspace(0.05, 0.95, 19)[:, None]
    assert roml.density(ranks, np.array([0.5])) == pytest.approx(1.0)
    found, mean = roml.density(ranks, np.array([0.8])), 0.8
    expected = ranks[:, 0] ** (2 * mean - 1) * (1 - ranks[:, 0]) ** (1 - 2 * mean)
    assert found / found[0] == pytest.approx(expected / expected[0])


def test_weights_undo_the_proposal():
    """The weighted mean of any figure is that of the training distribution: here of the rank itself, ½."""
    sampler = made("roml")
    sampler.state["mean"] = np.array([0.6, 0.5])
    plain, weighted = [], []
    for update in range(120):
        ranks = sampler.ranks(sampler.propose(update))[sampler._usual :, 0]
        weights = sampler._weights[sampler._usual :]
        plain.append(ranks.mean())
        weighted.append((weights @ ranks, weights.sum()))
    assert np.mean(plain) > 0.56
    assert np.sum(weighted, 0)[0] / np.sum(weighted, 0)[1] == pytest.approx(0.5, abs=0.02)


def test_progress_is_the_change_at_the_nearest_known_task():
    known, before = np.array([[0.0], [1.0]]), np.array([5.0, 7.0])
    found = alp_gmm.learning_progress(known, before, np.array([[0.1], [0.8], [0.45]]), np.array([5.5, 4.0, 5.0]))
    assert found == pytest.approx([0.5, 3.0, 0.0])
    assert alp_gmm.learning_progress(known[:0], before[:0], known, before).tolist() == [0, 0]


def test_a_mixture_finds_two_clusters_and_akaike_prefers_them():
    rng = np.random.default_rng(0)
    clusters = [rng.normal(middle, 0.03, size=(200, 2)) for middle in (0.2, 0.8)]
    samples = np.concatenate(clusters)
    found = mixtures.fit(samples, 2, rng)
    assert sorted(found.means[:, 0]) == pytest.approx([0.2, 0.8], abs=0.02)
    assert found.weights == pytest.approx([0.5, 0.5], abs=0.02)
    by_hand = np.log(0.5) + sum(
        -0.5 * ((samples[0] - m) @ np.linalg.inv(c) @ (samples[0] - m) + np.log(np.linalg.det(2 * np.pi * c)))
        for m, c in [(found.means[0], found.covariances[0])]
    )
    assert mixtures.log_densities(found, samples)[0, 0] == pytest.approx(by_hand + np.log(found.weights[0] / 0.5))
    assert mixtures.akaike(found, samples) < mixtures.akaike(mixtures.fit(samples, 10, rng), samples)


def test_tasks_come_from_where_something_is_learned():
    """Returns change on a strip alone, a third of the tasks: most proposals lie on it."""
    on_strip = lambda points: points[:, 0] > 2 / 3  # noqa: E731
    met = trained(made("alp_gmm"), lambda points, update: np.where(on_strip(points), update % 7, 0.0), 60)
    assert (met[30:, :, 0] > 0.6).mean() > 0.6 > 0.5 > (met[:10, :, 0] > 0.6).mean()


@pytest.mark.parametrize("name", ["roml", "pdts"])
def test_the_worst_tasks_are_trained_on_more(name):
    """Returns fall along one parameter: its high values are the worst."""
    met = trained(made(name), lambda points, _: -10 * points[:, 0] ** 2, 40)
    assert met[20:, :, 0].mean() > 0.6 > met[0, :, 0].mean() + 0.05


def test_a_subset_is_risky_and_dispersed():
    """On a line without risk: any end first, then the other; then what is far from both. With a risk: the risky one."""
    points = np.array([[0.0], [0.45], [0.5], [1.0]])
    assert sorted(pdts.dispersed(np.zeros(4), points, 2, 1.0)) == [0, 3]
    assert pdts.dispersed(np.array([0.0, 9.0, 0.0, 0.0]), points, 1, 1.0).tolist() == [1]
    assert sorted(pdts.dispersed(np.array([0.0, 9.0, 9.0, 0.0]), points, 2, 0.0)) == [1, 2], "no diversity asked for"


def test_a_draw_of_the_posterior_has_its_mean_and_covariance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 2))
    targets = features @ [2.0, -1.0] + rng.normal(size=50)
    counts = np.full(50, 0.5)
    draws = np.array([pdts.posterior_draw(features, targets, counts, rng) for _ in range(4000)])
    precision = 0.5 * features.T @ features + np.eye(2)
    mean = np.linalg.solve(precision, 0.5 * features.T @ targets)
    noise = ((targets - features @ mean) ** 2).mean()
    assert draws.mean(0) == pytest.approx(mean, abs=0.02)
    assert np.cov(draws.T) == pytest.approx(noise * np.linalg.inv(precision), abs=0.005)


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_saved_is_all_there_is(name):
    """A sampler with the saved state proposes what the first would have, and shapes of the state do not change."""
    landscape = lambda points, update: points.sum(1) * (update % 3)  # noqa: E731
    one = made(name)
    shapes = {key: (value.shape, value.dtype) for key, value in one.state.items()}
    trained(one, landscape, 20)
    assert {key: (value.shape, value.dtype) for key, value in one.state.items()} == shapes
    other = made(name)
    other.state.update(copy.deepcopy(one.state))
    np.testing.assert_array_equal(trained(one, landscape, 5, first=20), trained(other, landscape, 5, first=20))


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_are_tasks_of_the_family_and_differ_by_seed(name):
    drawn = [np.asarray(made(name, seed).propose(3).goal) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert drawn[0].shape == (COUNT, 2) and drawn[0].dtype == np.float32 and not np.array_equal(drawn[0], drawn[2])


def test_names_and_families_without_a_choice_are_refused():
    assert sampler_of("uniform", Navigation(), COUNT, 0) is None
    with pytest.raises(ValueError, match="did you mean plr"):
        sampler_of("plrr", Navigation(), COUNT, 0)
    assert NAMES[0] == "uniform"


class AsUniform(Sampler):
    """Proposes what ``Learner.drawn`` draws, as the graph does it."""

    name = "as_uniform"
    about = ""

    def propose(self, update):
        key = random.fold(random.fold(random.key(self.seed), update), 0)
        return tf.nest.map_structure(np.asarray, self.family.sample(self.count, "train", key))

    def learn(self, update, tasks, returns):
        self.heard = tasks, returns
