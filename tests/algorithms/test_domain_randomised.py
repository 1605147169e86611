"""Domain-randomised PPO: its gradient, what several outer steps on one batch do, and that memory does not change."""

from dataclasses import fields

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.domain_randomised import DomainRandomised, DomainRandomisedConfig
from metazoo.policies.networks import mlp
from metazoo.policies.policy import Policy
from metazoo.policies.weights import flatten, unflatten
from metazoo.tasks.families.navigation import Navigation
from tests.algorithms.problems import FAMILIES, made_up_episodes, small_policy
from tests.algorithms.test_docs import PAGES, row


def small(kind: str, dtype="float64", **settings) -> tuple[DomainRandomised, list]:
    """A learner, and made-up episodes of one update."""
    family = FAMILIES[kind](5)
    config = DomainRandomisedConfig(**({"tasks": 3, "episodes": 4, "clip_norm": 0.0} | settings))
    learner = DomainRandomised(small_policy(family, dtype=dtype), family, config)
    return learner, [made_up_episodes(family, 3, 4, 0)]


def mean_loss(learner, flat, batch) -> float:
    samples, old, _ = batch
    weights = unflatten(tf.constant(flat), learner.policy.shapes)
    of_task = lambda task: tf.nest.map_structure(lambda field: field[task], (samples, old))  # noqa: E731
    return float(np.mean([learner.task_loss(weights, *of_task(task)) for task in range(3)]))


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_first_step_is_the_policy_gradient_with_entropy(kind):
    learner, rounds = small(kind, entropy=0.1)
    weights = learner.current_weights()
    samples = inner_loop.samples(rounds[0], 0.99, 0.97, 5)
    _, expected = inner_loop.gradient_over_tasks(
        lambda one: inner_loop.policy_gradient(learner.policy, flatten(weights), one, 0.1), weights, samples
    )
    found, _ = learner.meta_gradient(weights, learner.prepare(weights, rounds))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", FAMILIES)
def test_away_from_the_old_weights_the_gradient_is_that_of_the_clipped_loss(kind):
    """Central differences, at weights where some of the ratios are clipped and some are not."""
    learner, rounds = small(kind, entropy=0.05, clip=0.1)
    start = flatten(learner.current_weights()).numpy()
    batch = learner.prepare(learner.current_weights(), rounds)
    rng = np.random.default_rng(1)
    moved = start + 0.1 * rng.standard_normal(start.shape)
    weights = unflatten(tf.constant(moved), learner.policy.shapes)
    ratios = np.exp([
        learner._log_probs(weights, tf.nest.map_structure(lambda field, task=task: field[task], batch[0]))[0]
        - batch[1][task] for task in range(3)
    ])  # fmt: skip
    assert 0.1 < np.mean(np.abs(ratios - 1) > 0.1) < 0.9
    gradient = flatten(learner.meta_gradient(weights, batch)[0]).numpy()
    for _ in range(5):
        direction = rng.standard_normal(start.shape)
        ahead, behind = (mean_loss(learner, moved + step * direction, batch) for step in (1e-6, -1e-6))
        assert gradient @ direction == pytest.approx((ahead - behind) / 2e-6, rel=1e-5, abs=1e-8)


def test_epochs_are_that_many_optimizer_steps_on_the_same_episodes():
    moved = {}
    for epochs in (1, 3):
        learner, _ = small("gaussian", dtype="float32", epochs=epochs)
        before = flatten(learner.current_weights()).numpy()
        learner.compile(keras.optimizers.SGD(1e-3), jit_compile=True)
        history = learner.fit(updates(0, 1), verbose=0).history
        assert set(history) == {"loss", "return_0", "gradient_norm"}
        assert int(learner.optimizer.iterations) == epochs
        moved[epochs] = flatten(learner.current_weights()).numpy() - before
    ratio = moved[3] @ moved[1] / (moved[1] @ moved[1])
    assert ratio == pytest.approx(3.0, rel=0.05), "small steps on one batch add up"


@pytest.mark.slow
def test_shown_the_goal_it_learns_to_go_there():
    family = Navigation(horizon=20, reveal_goal=True)
    policy = Policy(mlp(family.observation_space, family.action_space, (16,), initial_scale=0.1), *spaces(family))
    learner = DomainRandomised(policy, family, DomainRandomisedConfig(tasks=10, episodes=10, epochs=4))
    learner.compile(keras.optimizers.Adam(1e-2), jit_compile=True)
    learner.fit(updates(0, 60), verbose=0, shuffle=False, callbacks=[log := Returns()])
    assert np.mean(log.values[:3]) < -6 and np.mean(log.values[-10:]) > -4


def test_its_memory_is_empty_and_adapting_changes_nothing():
    learner, rounds = small("gaussian", dtype="float32")
    assert learner.initial_memory(learner.current_weights()).shape == (0,)
    after, diagnostics = learner.adapt(learner.current_weights(), tf.zeros([3, 1, 0]), rounds[0])
    assert after.shape == (3, 1, 0)
    assert diagnostics["kl"].shape == (3,) and not np.any(diagnostics["kl"]) and not np.any(diagnostics["loss"])


def spaces(family):
    return family.observation_space, family.action_space


class Returns(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(float(logs["return_0"]))


def test_eager_graph_and_xla_agree():
    learner, rounds = small("categorical", dtype="float32", entropy=0.1)
    weights = learner.current_weights()

    def everything(weights, rounds):
        gradients, metrics = learner.meta_gradient(weights, learner.prepare(weights, rounds))
        return [*gradients, metrics]

    eager = tf.nest.flatten(everything(weights, rounds))
    for compiled in (tf.function(everything), tf.function(everything, jit_compile=True)):
        for one, other in zip(eager, tf.nest.flatten(compiled(weights, rounds)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_page_of_baselines_describes_every_setting_as_the_code_has_it():
    page = (PAGES / "baselines.md").read_text(encoding="utf-8")
    table = page.split("| setting | default | range | meaning |\n|---|---|---|---|\n")[1].split("\n\n")[0]
    assert table.splitlines() == [row(item) for item in fields(DomainRandomisedConfig)]
