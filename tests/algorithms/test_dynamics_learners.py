"""Models that adapt and planning on them: losses by hand, the planner against what is known to be best, memories."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo import evaluation, random
from metazoo.algorithms.common import inner_loop, planning
from metazoo.algorithms.common.learner import agent_of, updates
from metazoo.algorithms.mpc import MPC, MPCConfig
from metazoo.algorithms.registry import LEARNERS
from metazoo.policies.networks import LEAST_SCALE, mlp, spread
from metazoo.policies.policy import Policy
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.pretrained import load
from metazoo.rollouts import supervised
from metazoo.rollouts.graph import trial
from metazoo.tasks.dynamics.families import PendulumDynamics
from metazoo.tasks.families.acrobot import Acrobot
from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.pendulum import Pendulum
from metazoo.training.export import export
from metazoo.types import Box, Discrete
from tests.exports import Session

FAMILY = PendulumDynamics(seen=6, asked=4)
PLANS = {"remembered": 5, "asked": 10, "ahead": 3, "candidates": 6, "best": 2, "rounds": 2, "inner_steps": 2}


def model_learner(algorithm, **settings):
    spaces = FAMILY.observation_space, FAMILY.action_space
    config = LEARNERS[algorithm].config_class(tasks=3, **settings)
    if algorithm == "rebal":
        policy = RecurrentPolicy(*spaces, units=5, heteroscedastic=True)
    else:
        policy = Policy(mlp(*spaces, (8,), heteroscedastic=True, output_gain=0.5), *spaces)
    return LEARNERS[algorithm](policy, FAMILY, config)


def planner(world, **settings):
    spaces = MPC.network_spaces(world)
    policy = Policy(mlp(*spaces, (8,), heteroscedastic=True, output_gain=0.5), *spaces)
    return MPC(policy, world, MPCConfig(tasks=2, **{**PLANS, **settings}))


def test_a_spread_begins_at_its_initial_scale_and_never_falls_below_a_share_of_it():
    loc, scale = spread(tf.constant([[1.0, -2.0, 0.0, -100.0]]), 0.5)
    np.testing.assert_allclose(loc, [[1.0, -2.0]])
    np.testing.assert_allclose(scale, [[0.5, 0.5 * LEAST_SCALE]], rtol=1e-6)


@pytest.mark.parametrize("algorithm", ["maml", "anil"])
def test_inner_steps_descend_squared_errors_and_the_outer_loss_is_the_likelihood(algorithm):
    learner = model_learner(algorithm, step_sizes="fixed", inner_rate=0.1, clip_norm=0.0)
    weights = learner.current_weights()
    rounds = learner.collect(weights, FAMILY.sample(3), random.key(1))
    gradients, said = learner.meta_gradient(weights, learner.prepare(weights, rounds))
    theta, sets, total = learner.policy.flat_weights(), list(map(inner_loop.shots, rounds)), 0.0
    moves = tf.constant(np.arange(learner.policy.size) >= learner.frozen, tf.float32)
    with tf.GradientTape() as outer:
        outer.watch(theta)
        for m in range(3):
            support, query = (tf.nest.map_structure(lambda field, m=m: field[m], one) for one in sets)
            with tf.GradientTape() as inner:
                inner.watch(theta)
                error = learner.policy.apply(theta, support.observations)["loc"] - support.actions
                loss = tf.reduce_mean(tf.reduce_sum(error**2, -1))
            fast = theta - 0.1 * moves * inner.gradient(loss, theta)
            found = learner.policy.apply(fast, query.observations)
            z = (query.actions - found["loc"]) / found["scale"]
            log_prob = -0.5 * z**2 - tf.math.log(found["scale"]) - 0.5 * np.log(2 * np.pi)
            total -= tf.reduce_mean(tf.reduce_sum(log_prob, -1)) / 3.0
    assert float(said["loss"]) == pytest.approx(float(total), rel=1e-4)
    flat = learner.policy.flat_weights(gradients)
    np.testing.assert_allclose(flat, outer.gradient(total, theta), rtol=1e-3, atol=1e-3)
    assert algorithm == "maml" or 0 < learner.frozen < learner.policy.size


def test_a_recurrent_model_is_trained_on_what_it_says_when_it_is_asked():
    learner = model_learner("rebal")
    weights = learner.current_weights()
    support, query = learner.collect(weights, FAMILY.sample(3), random.key(1))
    memory, said = learner.adapt(weights, tf.zeros((3, 1, learner.memory_size)), support)
    asked, along = learner.sets_losses(weights, support, query)
    assert float(tf.reduce_mean(said["loss"])) == pytest.approx(float(along), rel=1e-4)
    score = supervised.score(FAMILY, query, agent_of(learner).step, tf.repeat(memory, 4, 1), random.key(0))
    assert -float(tf.reduce_mean(score)) == pytest.approx(float(asked), rel=1e-4)
    played = evaluation.player(agent_of(learner), FAMILY, 1, 1)(FAMILY.sample(3, "test"), random.key(0))[0]
    assert played.shape == (2, 3, 1)


def test_the_planner_finds_the_best_plan_of_a_world_whose_best_is_known():
    """A point on a line is paid for being near 1: full speed, until it is there."""
    space, settings = Box((1,), -0.5, 0.5), planning.Settings(6, 2, 200, 20, 6)

    def advance(state, actions):
        moved = state + actions[..., 0]
        return moved, -tf.abs(moved - 1.0)

    start = tf.constant([[-1.0], [0.9], [3.0]])
    found = planning.plan(advance, start, random.spread(random.key(0), 3), space, settings)
    np.testing.assert_allclose(planning.actions_of(found.mean, space)[:, 0], [0.5, 0.05, -0.5], atol=0.04)
    alone = planning.plan(advance, start[1:2], random.spread(random.key(0), 3)[1:2], space, settings)
    np.testing.assert_allclose(alone.mean[0], found.mean[1], rtol=1e-5)
    flat = tf.zeros((1, 1, 3, 1))
    assert float(planning.worth_of(advance, start[:1], flat, space, settings)) == pytest.approx(-12.0)


def test_two_actions_are_planned_by_their_sign():
    space = Discrete(2, start=3)
    np.testing.assert_array_equal(planning.actions_of(tf.constant([[-0.2], [0.7]]), space), [3, 4])


@pytest.mark.parametrize(
    "world", [Pendulum(horizon=4), pytest.param(CartPole(horizon=4), marks=pytest.mark.slow)], ids=lambda one: one.name
)
def test_what_is_remembered_is_what_happened_and_replaying_it_remembers_the_same(world):
    learner = planner(world)
    weights = learner.current_weights()
    tasks = world.sample(2, "test")
    empty = tf.zeros((2, 1, learner.memory_size))
    episodes, memory = trial(world, tasks, agent_of(learner).step, empty, random.key(1), 2)
    after, said = learner.adapt(weights, empty, episodes)
    np.testing.assert_allclose(after, memory, atol=1e-5)
    batch = learner._remembered(after[:, 0])
    assert batch.mask.numpy().sum(1).tolist() == [5.0, 5.0]  # of 8 transitions, the last
    seen, observed = episodes.observations.numpy(), world.observation_space.size
    ends = np.concatenate([seen[1:], episodes.final_observations.numpy()[None]])
    change = np.concatenate([ends - seen, episodes.rewards.numpy()[..., None]], -1) / learner.modelled.change
    rows = np.concatenate([change[:, :, 0], change[:, :, 1]])[-5:]
    np.testing.assert_allclose(batch.actions, np.swapaxes(rows, 0, 1), rtol=1e-4, atol=1e-4)
    assert np.all(np.isfinite(said["loss"])) and np.all(said["kl"].numpy() >= 0)
    assert batch.observations.shape[-1] == observed + 1


def test_its_model_is_adapted_by_the_inner_steps_to_what_it_remembers():
    learner = planner(Pendulum())
    weights = learner.current_weights()
    rng, model = np.random.default_rng(0), learner.world_model
    memory = tf.constant(rng.standard_normal((1, learner.memory_size)), tf.float32)
    memory = tf.concat([memory[:, :3], [[1.0, 3.0]], memory[:, 5:]], 1)
    batch = tf.nest.map_structure(lambda field: field[0], learner._remembered(memory))
    assert batch.mask.numpy().tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    fast = model.policy.flat_weights()
    for _ in range(2):
        fast = fast - 0.1 * inner_loop.gradient(model.policy, fast, batch, "mse")[0]
    np.testing.assert_allclose(learner.adapted(weights, memory)[0], fast, atol=1e-5)
    nothing = learner.adapted(weights, tf.zeros((1, learner.memory_size)))[0]
    np.testing.assert_allclose(nothing, model.policy.flat_weights(), atol=1e-6)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    learner = planner(Pendulum())
    metadata = {"name": "small", "family_args": {}, "adapt": {"episodes": 1, "steps": 0, "tasks": 2}}
    path = export(learner, tmp_path_factory.mktemp("mpc") / "small" / "1", {**metadata, "provenance": {"seed": 0}})
    return learner, load(path), path


def test_an_exported_planner_acts_steps_and_adapts_under_tf_serving_s_own_loader(exported):
    learner, policy, path = exported
    seen = np.array([[0.6, 0.8, 1.0], [-1.0, 0.0, 0.5]], np.float32)
    answer = Session(path).run("act", {"observations": seen})
    memory = learner.initial_memory(learner.current_weights())
    right = learner.act(learner.current_weights(), memory, tf.constant(seen))
    np.testing.assert_allclose(answer["loc"], right["loc"], rtol=1e-3, atol=1e-3)
    assert np.abs(answer["actions"]).max() <= 2.0 and policy.metadata["memory"]["kind"] == "transitions"
    assert policy.act(seen[0]).shape == (1,)


def test_a_pool_gives_the_same_tasks_again():
    learner = planner(Pendulum(), pool=3)
    one, again, other = (learner.drawn(tf.constant(update))[0].mass.numpy() for update in (1, 4, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.slow
def test_it_learns():
    learner = planner(Pendulum(), inner_steps=1)
    learner.compile(keras.optimizers.Adam(1e-2), jit_compile=True)
    told = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: told.append(logs["loss"]))
    learner.fit(updates(0, 60), shuffle=False, verbose=0, callbacks=[record])
    assert np.mean(told[-10:]) < np.mean(told[:10]) - 0.3


def test_worlds_that_cannot_be_planned_in_are_refused():
    with pytest.raises(ValueError, match="mpc plans in families .* one of two; acrobot is not"):
        MPC.network_spaces(Acrobot())
    with pytest.raises(ValueError, match=r"best is 9; it must be at most candidates \(6\)"):
        planner(Pendulum(), candidates=6, best=9)
    world = Pendulum()
    with pytest.raises(ValueError, match="rebal learns from sets of examples; pendulum has none"):
        LEARNERS["rebal"](RecurrentPolicy(world.observation_space, world.action_space, units=4), world)
