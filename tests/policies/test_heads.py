"""Heads, encoders and running statistics of recurrent policies, by hand and by finite differences."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo.policies import running
from metazoo.policies.heads import FromOutput, Generated, WithObservation, dense
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.types import Box, StepInputs

SPACES = Box((3,)), Box((2,), -1.0, 1.0)
LENGTH, ROWS = 5, 4
OPTIONS = {
    "plain": {},
    "observation": {"head": "observation", "hidden": (6,)},
    "hypernetwork": {"head": "hypernetwork", "hidden": (6,)},
    "encoder": {"encoder": (7, 4)},
    "all": {"head": "hypernetwork", "encoder": (4,), "normalise": True},
}


def inputs(steps: int = LENGTH) -> StepInputs:
    generator = np.random.default_rng(0)
    draw = lambda *shape: tf.constant(generator.normal(size=(steps, ROWS, *shape)))  # noqa: E731
    return StepInputs(draw(3), draw(2), draw(), tf.zeros([steps, ROWS], tf.bool))


def policy_and_weights(**options):
    policy = RecurrentPolicy(*SPACES, units=5, dtype="float64", **options)
    generator = np.random.default_rng(1)
    weights = [variable.value + 0.3 * generator.normal(size=variable.shape) for variable in policy.model.weights]
    where = policy.model.layout["statistics"]
    weights[where] = [tf.abs(value) + 0.5 for value in weights[where]]
    return policy, weights


def loss(policy, weights, truncation=0):
    told = inputs()
    states = policy.states(
        weights, told, tf.ones([LENGTH, ROWS]), tf.zeros([ROWS, policy.memory_size], tf.float64), truncation
    )
    return tf.reduce_sum(tf.sin(policy.parameters(weights, states, told)["loc"]))


@tf.function(autograph=False)
def gradient_of(value, weights):
    with tf.GradientTape() as tape:
        tape.watch(weights)
        result = value(weights)
    return tape.gradient(result, weights)


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_are_finite_differences(name):
    """Of every weight that acts but the statistics, which no gradient moves."""
    policy, weights = policy_and_weights(**OPTIONS[name])
    acting = weights[: policy.acting]
    value = tf.function(lambda weights: loss(policy, weights), autograph=False)
    gradients = gradient_of(value, acting)
    names = {index: part for part, where in policy.model.layout.items() for index in range(where.start, where.stop)}
    generator = np.random.default_rng(2)
    for index, weight in enumerate(acting):
        if names[index] in ("statistics", "log_scale"):
            assert gradients[index] is None
            continue
        direction = generator.normal(size=weight.shape)
        moved = [value([*acting[:index], weight + sign * 1e-6 * direction, *acting[index + 1 :]]) for sign in (1, -1)]
        expected = (moved[0] - moved[1]).numpy() / 2e-6
        np.testing.assert_allclose(tf.reduce_sum(gradients[index] * direction).numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OPTIONS)
def test_steps_and_whole_sequences_answer_the_same(name):
    policy, weights = policy_and_weights(**OPTIONS[name])
    told = inputs()
    states = policy.states(weights, told, tf.ones([LENGTH, ROWS]), tf.zeros([ROWS, policy.memory_size], tf.float64))
    whole = policy.parameters(weights, states, told)["loc"]
    memory = tf.zeros([ROWS, 1, policy.memory_size], tf.float64)
    for t in range(LENGTH):
        now = StepInputs(*(field[t][:, None] for field in told))
        out = policy.step(weights, now, memory, tf.zeros([ROWS, 1, 2], tf.int32), True)
        memory = out.memory
        np.testing.assert_allclose(out.parameters["loc"][:, 0], whole[t], rtol=1e-9)


def test_a_hypernetwork_begins_as_one_plain_network_for_every_memory():
    """Bias-HyperInit: what is generated is the small network's own beginning, and it is orthogonal."""
    head = Generated(5, 3, (6,), 2, seed=4)
    kernel, bias = [
        tf.keras.initializers.get(spec.initializer)(spec.shape)
        if isinstance(spec.initializer, str)
        else spec.initializer(spec.shape, "float32")
        for spec in head.specs()
    ]
    assert not np.any(kernel)
    observations, *outputs = (tf.random.stateless_normal([7, size], (0, size)) for size in (3, 5, 5))
    outputs[1] += 1.0
    answers = [head([kernel, bias], output, observations) for output in outputs]
    np.testing.assert_array_equal(*answers)
    first, first_bias, last, last_bias = np.split(bias.numpy(), np.cumsum([18, 6, 12]))
    small = [first.reshape(6, 3), first_bias, last.reshape(2, 6), last_bias]
    np.testing.assert_allclose(answers[0], dense(small, observations), rtol=1e-5, atol=1e-7)  # answers are about 0.01
    np.testing.assert_allclose(small[0].T @ small[0], 2 * np.eye(3), atol=1e-5)


def test_a_generated_network_by_hand():
    """Output (1, 2), observation (3): weight 2·1 + 1·2 + 1 = 5, bias 0·1 + 1·2 + 0.5 = 2.5; 5 · 3 + 2.5."""
    head = Generated(2, 1, (), 1, seed=0)
    weights = [tf.constant([[2.0, 0.0], [1.0, 1.0]]), tf.constant([1.0, 0.5])]
    assert head(weights, tf.constant([[1.0, 2.0]]), tf.constant([[3.0]])).numpy().tolist() == [[17.5]]


def test_the_observation_is_seen_a_second_time():
    output, observations = tf.random.normal([4, 5]), tf.random.normal([4, 3])
    for kind, same in ((FromOutput, True), (WithObservation, False)):
        head = kind(5, 3, (6,), 2, seed=0)
        weights = [tf.random.normal(spec.shape) for spec in head.specs()]
        answers = [head(weights, output, seen) for seen in (observations, observations + 1.0)]
        assert np.array_equal(*answers) == same


def test_running_statistics_are_those_of_all_steps_seen():
    generator = np.random.default_rng(0)
    values = (generator.normal(size=(60, 4, 2)) * [3.0, 0.1] + [100.0, -5.0]).astype(np.float32)
    mask = (generator.random((60, 4)) < 0.7).astype(np.float32)
    statistics = tf.constant(running.first(2))
    for part in (slice(0, 3), slice(3, 20), slice(20, 60)):
        statistics = running.updated(statistics, tf.constant(values[part]), tf.constant(mask[part]))
    kept = values[mask > 0]
    np.testing.assert_allclose(statistics[0], kept.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics[1], kept.var(0), rtol=1e-3)
    assert statistics[2].numpy().tolist() == [len(kept)] * 2
    nothing = running.updated(statistics, tf.constant(values[:2]), tf.zeros([2, 4]))
    np.testing.assert_allclose(nothing, statistics)
    np.testing.assert_allclose(running.normalised(statistics, tf.constant(kept)).numpy().std(0), 1.0, rtol=1e-3)


def test_what_is_far_from_all_that_was_seen_is_cut():
    statistics = tf.constant([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    found = running.normalised(statistics, tf.constant([[1e6, 5e-4], [-1e6, 0.0]])).numpy()
    np.testing.assert_allclose(found, [[10.0, 5.0], [-10.0, 0.0]])


def test_a_head_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="head is 'linear'; choose output, observation or hypernetwork"):
        RecurrentPolicy(*SPACES, head="linear")
