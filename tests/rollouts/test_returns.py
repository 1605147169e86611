"""Returns, the linear baseline and advantages against hand-worked numbers and plain numpy."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo.rollouts import returns
from metazoo.types import Episodes


def column(*values):
    """One task, one episode: ``[T, 1, 1]``."""
    return np.array(values, np.float32)[:, None, None]


def random_episodes(horizon=7, tasks=3, episodes=5, size=2, seed=0):
    """Episodes of random lengths, a third of them terminated, a third truncated early, the rest full."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=(tasks, episodes))
    lengths = np.where(kind == 2, horizon, rng.integers(1, horizon, size=(tasks, episodes)))
    steps = np.arange(horizon)[:, None, None]
    mask = (steps < lengths).astype(np.float32)
    last = steps == lengths - 1
    return Episodes(
        rng.standard_normal((horizon, tasks, episodes, size)).astype(np.float32),
        rng.standard_normal((tasks, episodes, size)).astype(np.float32),
        np.zeros((horizon, tasks, episodes), np.int32),
        rng.standard_normal((horizon, tasks, episodes)).astype(np.float32) * mask,
        last & (kind == 0),
        last & (kind != 0),
        mask,
    )


def numpy_features(observation, step):
    clipped = np.clip(observation, -10, 10)
    tau = step / 100
    return np.concatenate([clipped, clipped**2, [tau, tau**2, tau**3, 1.0]])


def numpy_baseline(episodes, targets, task, ridge):
    """Weights of the ridge regression of one task, by least squares on its valid steps."""
    rows, values = [], []
    for t, e in zip(*np.nonzero(episodes.mask[:, task]), strict=True):
        rows.append(numpy_features(episodes.observations[t, task, e].astype(np.float64), t))
        values.append(targets[t, task, e])
    size = len(rows[0])
    penalty = np.sqrt(ridge * len(rows) + 1e-6) * np.eye(size)
    return np.linalg.lstsq(np.vstack([rows, penalty]), np.concatenate([values, np.zeros(size)]), rcond=None)[0]


def test_scan_back_runs_from_the_end():
    out = returns.scan_back(tf.constant(8.0), tf.constant([0.5, 0.5, 2.0]), tf.constant([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(out, [1 + 0.5 * 11.5, 2 + 0.5 * 19, 3 + 2 * 8])


def test_discounted_returns_by_hand():
    out = returns.discounted(tf.constant(column(1, 2, 4)), tf.constant(column(1, 1, 1)), 0.5)
    np.testing.assert_allclose(out, column(1 + 1 + 1, 2 + 2, 4))
    out = returns.discounted(tf.constant(column(1, 2, 4)), tf.constant(column(1, 1, 0)), 0.5)
    np.testing.assert_allclose(out, column(2, 2, 0))


def test_episode_returns_ignore_padding():
    episodes = random_episodes()
    padded = episodes._replace(rewards=episodes.rewards + 5.0 * (1 - episodes.mask))
    np.testing.assert_allclose(returns.episode_returns(padded), episodes.rewards.sum(0), rtol=1e-6)


def test_time_features():
    features = returns.time_features(tf.constant([[3.0, -20.0]]), tf.constant([50]))
    np.testing.assert_allclose(features, [[3, -10, 9, 100, 0.5, 0.25, 0.125, 1]])


def test_baseline_equals_least_squares_of_each_task():
    episodes = random_episodes(horizon=12, episodes=8)
    targets = np.random.default_rng(3).standard_normal(episodes.mask.shape)
    values, final = returns.linear_baseline(tf.nest.map_structure(tf.constant, episodes), tf.constant(targets))
    for task in range(3):
        weights = numpy_baseline(episodes, targets, task, 1e-3)
        for e in range(8):
            length = int(episodes.mask[:, task, e].sum())
            expected = [numpy_features(episodes.observations[t, task, e], t) @ weights for t in range(12)]
            np.testing.assert_allclose(values[:, task, e], expected, rtol=1e-6, atol=1e-8)
            end = numpy_features(episodes.final_observations[task, e], length) @ weights
            np.testing.assert_allclose(final[task, e], end, rtol=1e-6, atol=1e-8)


def test_observations_of_any_rank_are_flattened_for_the_baseline():
    episodes = random_episodes(size=4)
    squares = episodes._replace(
        observations=episodes.observations.reshape(7, 3, 5, 2, 2),
        final_observations=episodes.final_observations.reshape(3, 5, 2, 2),
    )
    for one, other in zip(
        returns.linear_baseline(tf.nest.map_structure(tf.constant, episodes), tf.constant(episodes.rewards)),
        returns.linear_baseline(tf.nest.map_structure(tf.constant, squares), tf.constant(episodes.rewards)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("shape", "dtype", "size"),
    [
        ((), "float32", 1),
        ((5, 2), "float32", 10),
        ((3, 4, 2), "float32", 24),
        ((32, 32, 3), "float32", 3),
        ((40, 40), "float32", 1),
        ((600,), "float32", 1),
        ((), "uint8", 1),
        ((6,), "uint8", 6),
        ((5, 4), "uint8", 1),
        ((5, 4, 3), "uint8", 3),
    ],
    ids=str,
)
def test_a_baseline_is_fitted_to_observations_of_any_shape(shape, dtype, size):
    """Also where episodes and steps are not known when the graph is made, as in exports; of what is large, to means."""
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 256, (4, 1, 3, *shape)) if dtype == "uint8" else rng.standard_normal((4, 1, 3, *shape))
    seen, rewards = tf.cast(seen, dtype), tf.constant(rng.standard_normal((4, 1, 3)), tf.float32)
    ends = tf.zeros((4, 1, 3), tf.bool)
    episodes = Episodes(seen, seen[0], None, rewards, ends, ends, tf.ones_like(rewards))
    specs = [tf.TensorSpec([None, None, None, *shape], dtype), tf.TensorSpec([None, None, *shape], dtype)]

    @tf.function(input_signature=specs, autograph=False)
    def fitted(seen, final):
        lead = tf.shape(seen)[:3]
        some = episodes._replace(observations=seen, final_observations=final, mask=tf.ones(lead), rewards=tf.ones(lead))
        features = returns._as_vectors(seen, 3)
        assert features.shape[-1] == size
        values, _ = returns.linear_baseline(some, tf.ones(lead))
        return features, values

    features, values = fitted(seen, seen[0])
    assert features.shape == (4, 1, 3, size) and np.all(np.isfinite(values))
    assert dtype == "float32" or features.numpy().max() <= 1.0


@pytest.fixture
def constant_values(monkeypatch):
    """The baseline replaced by numbers that a hand can work with: 10 everywhere, 100 at the final observation."""
    monkeypatch.setattr(
        returns, "linear_baseline", lambda episodes, targets: (10 * tf.ones_like(targets), 100 * tf.ones([1, 1]))
    )


def by_hand(mask, terminated, truncated, lam=0.5):
    no = np.zeros((3, 1, 1), bool)
    episodes = Episodes(
        np.zeros((3, 1, 1, 1), np.float32),
        np.zeros((1, 1, 1), np.float32),
        np.zeros((3, 1, 1), np.int32),
        column(1, 2, 4) * column(*mask),
        no if terminated is None else np.arange(3)[:, None, None] == terminated,
        no if truncated is None else np.arange(3)[:, None, None] == truncated,
        column(*mask),
    )
    return returns.advantages(tf.nest.map_structure(tf.constant, episodes), gamma=0.5, lam=lam).numpy().ravel()


# γ = λ = 1/2, values 10, final value 100. δ of an inner step: r + 5 − 10.
INNER = (1 + 5 - 10, 2 + 5 - 10)


@pytest.mark.parametrize(
    ("mask", "terminated", "truncated", "last"),
    [
        ((1, 1, 1), 2, None, 4 - 10),  # terminated at the horizon: nothing follows
        ((1, 1, 1), None, 2, 4 - 10),  # truncated by the horizon, which is part of the task: nothing follows
        ((1, 1, 0), 1, None, 2 - 10),  # terminated before it: nothing follows
        ((1, 1, 0), None, 1, 2 + 50 - 10),  # truncated before it: the final observation's value follows
    ],
    ids=["terminated at the end", "horizon", "terminated early", "truncated early"],
)
def test_advantages_by_hand(constant_values, mask, terminated, truncated, last):
    deltas = [*INNER, None]
    end = int(sum(mask)) - 1
    deltas[end] = last
    expected = np.zeros(3)
    for t in reversed(range(end + 1)):
        expected[t] = deltas[t] + (0.25 * expected[t + 1] if t < end else 0.0)
    np.testing.assert_allclose(by_hand(mask, terminated, truncated), expected)


def test_advantages_equal_a_plain_loop_and_lambda_one_is_return_minus_value():
    episodes = random_episodes(horizon=9, episodes=6)
    tensors = tf.nest.map_structure(tf.constant, episodes)
    targets = returns.discounted(tensors.rewards, tensors.mask, 0.9)
    values, final = (part.numpy() for part in returns.linear_baseline(tensors, targets))
    for lam in (0.0, 0.7, 1.0):
        out = returns.advantages(tensors, 0.9, lam).numpy()
        for m, e in np.ndindex(3, 6):
            length = int(episodes.mask[:, m, e].sum())
            after = final[m, e] if episodes.truncated[:, m, e].any() and length < 9 else 0.0
            advantage, total, expected = 0.0, after, np.zeros(9)
            for t in reversed(range(length)):
                reward, value = episodes.rewards[t, m, e], values[t, m, e]
                advantage = reward + 0.9 * after - value + 0.9 * lam * advantage
                total, after = reward + 0.9 * total, value
                expected[t] = total - value if lam == 1.0 else advantage
            np.testing.assert_allclose(out[:, m, e], expected, rtol=1e-4, atol=1e-5)


def test_advantages_are_equal_under_xla():
    tensors = tf.nest.map_structure(tf.constant, random_episodes())
    compiled = tf.function(returns.advantages, jit_compile=True)
    np.testing.assert_allclose(compiled(tensors, 0.9, 0.8), returns.advantages(tensors, 0.9, 0.8), atol=1e-5)


def test_normalise_by_hand_and_over_the_valid_steps_only():
    out = returns.normalise(tf.constant([1.0, 3.0, 99.0]), tf.constant([1.0, 1.0, 0.0]), [0])
    np.testing.assert_allclose(out, [-1, 1, 0], atol=1e-5)
    rng = np.random.default_rng(0)
    values, mask = rng.standard_normal((6, 4, 5)) * 7 + 3, (rng.random((6, 4, 5)) < 0.6).astype(np.float64)
    out = returns.normalise(tf.constant(values), tf.constant(mask), [0, 2]).numpy()
    for task in range(4):
        valid = out[:, task][mask[:, task] > 0]
        np.testing.assert_allclose([valid.mean(), valid.std()], [0, 1], atol=1e-6)
    assert not np.any(out[mask == 0])


def test_normalise_of_nothing_or_of_equal_values_is_zero():
    for mask in ([0.0, 0.0], [1.0, 1.0]):
        np.testing.assert_array_equal(returns.normalise(tf.constant([2.0, 2.0]), tf.constant(mask), [0]), [0, 0])


def test_a_cut_before_the_horizon_is_bootstrapped_however_long_the_padding_is():
    rng = np.random.default_rng(5)

    def cut_episode(length, padded):
        mask = (np.arange(padded) < length).astype(np.float32)[:, None, None]
        field = rng.normal(size=(length, 1, 2)).astype(np.float32)
        observations = np.pad(field[..., None], ((0, padded - length), (0, 0), (0, 0), (0, 0)))
        rewards = np.pad(np.abs(field), ((0, padded - length), (0, 0), (0, 0)))
        mask = np.broadcast_to(mask, rewards.shape)
        truncated = np.broadcast_to(np.arange(padded)[:, None, None] == length - 1, rewards.shape)
        final = np.full((1, 2, 1), 0.5, np.float32)
        return Episodes(observations, final, mask, rewards, truncated & False, truncated, mask)

    rng_state = rng.bit_generator.state
    short = tf.nest.map_structure(tf.constant, cut_episode(4, 4))
    rng.bit_generator.state = rng_state
    long = tf.nest.map_structure(tf.constant, cut_episode(4, 9))
    inside = returns.advantages(short, 0.9, 0.8, horizon=9)
    np.testing.assert_allclose(returns.advantages(long, 0.9, 0.8, horizon=9)[:4], inside, atol=1e-5)
    at_the_end = returns.advantages(short, 0.9, 0.8, horizon=4)
    assert np.abs(inside[-1] - at_the_end[-1]).min() > 1e-3


def test_advantages_of_a_trial_by_hand():
    # two episodes of 2 and 1 steps (then padding): the second begins where the first ends, whatever ended it
    rewards = tf.constant([[1.0], [2.0], [0.0], [4.0], [0.0], [0.0]])
    values = tf.constant([[10.0], [20.0], [77.0], [40.0], [88.0], [99.0]])
    mask = tf.constant([[1.0], [1.0], [0.0], [1.0], [0.0], [0.0]])
    gamma, lam = 0.5, 0.8
    last = 4.0 - 40.0
    middle = 2.0 + gamma * 40.0 - 20.0 + gamma * lam * last
    first = 1.0 + gamma * 20.0 - 10.0 + gamma * lam * middle
    found = returns.trial_advantages(rewards, values, mask, gamma, lam, tf.zeros(1))
    np.testing.assert_allclose(found[:, 0], [first, middle, 0.0, last, 0.0, 0.0], rtol=1e-6)
    # with 6 to come after the trial's last step
    found = returns.trial_advantages(rewards, values, mask, gamma, lam, tf.constant([6.0]))
    assert found[3, 0].numpy() == pytest.approx(last + gamma * 6.0)
    assert found[1, 0].numpy() == pytest.approx(middle + gamma * lam * gamma * 6.0)


def test_of_images_the_baseline_sees_the_mean_of_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 6, 4, 2), np.uint8)
    rewards, mask = (
        np.random.default_rng(1).standard_normal((5, 2, 3)).astype(np.float32),
        np.ones((5, 2, 3), np.float32),
    )
    flags = np.zeros((5, 2, 3), bool)
    pictures = Episodes(*map(tf.constant, (images, images[0], rewards, rewards, flags, flags, mask)))
    means = images.mean((-3, -2), dtype=np.float32) / 255
    vectors = pictures._replace(observations=tf.constant(means), final_observations=tf.constant(means[0]))
    for ours, expected in zip(
        *(returns.linear_baseline(e, tf.constant(rewards)) for e in (pictures, vectors)), strict=True
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_ridge_recovers_functions_whose_weights_change_in_time_from_the_valid_entries():
    rng = np.random.default_rng(4)
    features = rng.standard_normal((6, 50, 3)) * [1.0, 100.0, 0.01]
    time = np.linspace(1.0, 0.0, 6)[:, None] ** np.arange(2)
    mask = (rng.random((6, 50)) < 0.8).astype(np.float64)
    weights = np.array([[2.0, -0.03, 500.0], [-7.0, 0.01, 0.0]])
    targets = np.einsum("tbi,tk,ki->tb", features, time, weights)
    spoiled = np.where(mask > 0, targets, 1e6)
    found = returns.ridge_in_time(*map(tf.constant, (features, time, spoiled, mask)), penalty=1e-9)
    np.testing.assert_allclose(found * mask, targets * mask, atol=1e-5)


def test_ridge_in_time_is_a_regression_on_all_products():
    rng = np.random.default_rng(5)
    features, time, targets = rng.standard_normal((4, 9, 2)), rng.standard_normal((4, 2)), rng.standard_normal((4, 9))
    products = np.einsum("tbi,tk->tbik", features, time).reshape(36, 4)
    scale = np.sqrt((products**2).mean(0)) + 1e-6
    scaled = products / scale
    weights = np.linalg.solve(scaled.T @ scaled / 36 + 0.1 * np.eye(4), scaled.T @ targets.ravel() / 36) / scale
    found = returns.ridge_in_time(*map(tf.constant, (features, time, targets, np.ones((4, 9)))), penalty=0.1)
    np.testing.assert_allclose(found, (products @ weights).reshape(4, 9), atol=1e-9)
