"""Random draws: the same bits however they are compiled, and statistically what they claim to be.

All seeds are fixed, so the statistical bounds (about five standard errors) either hold for ever or fail for ever.
"""

import math

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random


def keys(seed, *shape):
    return random.spread(random.key(seed), *shape)


def logits(key):
    return tf.stack([random.normal(random.fold(key, i)) for i in range(5)], -1)


DRAWS = {
    "key": lambda key: key,
    "fold": lambda key: random.fold(key, 3),
    "spread": lambda key: random.spread(key, 3),
    "spread_2d": lambda key: random.spread(key, 2, 3),
    "uniform": random.uniform,
    "uniform_scaled": lambda key: random.uniform(key, -0.05, 0.05),
    "uniform_of_spread": lambda key: random.uniform(random.spread(key, 4), 0.3, 1.0),
    "uniform_then_shifted": lambda key: 4.0 + (random.uniform(key, 0.0, 6.0) - 2.0),
    "uniform_tensor_bounds": lambda key: random.uniform(key, -random.uniform(random.fold(key, 1)), 2.0),
    "integers": lambda key: random.integers(key, 7),
    "bernoulli": lambda key: random.bernoulli(key, 0.3),
    "normal": random.normal,
    "normal_shifted": lambda key: 1.0 + random.normal(key),
    "categorical": lambda key: random.categorical(random.fold(key, 9), logits(key)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_eager_graph_and_xla_draw_the_same_bits(name):
    def draw(seed):
        rows = random.fold(random.fold(random.key(seed), tf.range(40))[:, None], tf.range(50)[None])
        return DRAWS[name](rows)

    seed = tf.constant(3)
    eager = draw(seed).numpy()
    for jit in (False, True):
        compiled = tf.function(draw, jit_compile=jit, autograph=False)(seed).numpy()
        assert compiled.dtype == eager.dtype
        np.testing.assert_array_equal(compiled, eager)


def test_vectorized_map_draws_the_same_bits_as_a_batched_call():
    rows = keys(5, 30)

    def draw(key):
        parts = random.spread(random.fold(key, 2), 4)
        return random.uniform(parts, -1.0, 1.0), random.normal(parts), random.integers(parts, 9)

    for batched, mapped in zip(draw(rows), tf.vectorized_map(draw, rows), strict=True):
        np.testing.assert_array_equal(mapped, batched)


def test_seeds_may_be_numbers_or_tensors_of_any_shape():
    for seed in (7, -1, 2**32 - 1):
        expected = random.key(seed).numpy()
        word = np.uint32(seed & 0xFFFFFFFF)
        for form in (tf.constant(word), tf.constant(word.astype(np.int32)), np.int64(seed)):
            np.testing.assert_array_equal(random.key(form), expected)
    batch = random.key(tf.range(6)).numpy()
    assert batch.shape == (6,) and batch.dtype == np.uint32
    np.testing.assert_array_equal(batch, [random.key(i).numpy() for i in range(6)])


def test_shapes():
    rows = keys(0, 3, 4)
    assert rows.shape == (3, 4)
    assert random.spread(rows, 5).shape == (3, 4, 5)
    assert random.spread(rows, 5, 2).shape == (3, 4, 5, 2)
    assert random.fold(rows[:, :1], tf.range(4)).shape == (3, 4)
    assert random.uniform(rows).shape == random.normal(rows).shape == (3, 4)
    assert random.categorical(rows, tf.zeros((3, 4, 6))).shape == (3, 4)
    np.testing.assert_array_equal(random.fold(rows, tf.range(4))[1, 2], random.fold(rows[1, 2], 2))


def test_fold_tells_its_arguments_apart():
    """With one mix for seeds and data, (train, seed 1) and (validation, seed 0) would be the same tasks."""
    numbers = tf.range(64)
    table = random.fold(random.key(numbers)[:, None], numbers[None]).numpy()
    assert len(np.unique(table)) == table.size
    nested = random.fold(random.fold(random.key(1), numbers)[:, None], numbers[None]).numpy()
    assert len(np.unique(np.concatenate([table.ravel(), nested.ravel()]))) == 2 * table.size


def test_no_two_rows_or_steps_share_a_key():
    children = random.fold(random.key(1), tf.range(2**20)).numpy()
    assert len(np.unique(children)) == children.size  # folding one key is a bijection of the data
    for seed in range(8):
        rows = random.fold(random.fold(random.key(seed), tf.range(40))[:, None], tf.range(20)[None]).numpy()
        assert len(np.unique(rows)) == rows.size
    steps = random.fold(keys(2, 20)[:, None], tf.range(1, 201)[None]).numpy()
    assert len(np.unique(steps)) == steps.size


def chi_square(counts, expected):
    """Standardised: about N(0, 1) if the counts are draws from the expected frequencies."""
    degrees = len(counts) - 1
    return (np.sum((counts - expected) ** 2 / expected) - degrees) / math.sqrt(2 * degrees)


@pytest.mark.parametrize("shift", [0, 4, 12, 24])
def test_every_byte_of_the_keys_is_uniform(shift):
    for draws in (keys(11, 2**19), random.fold(keys(12, 2**19), 1), random.key(tf.range(2**19))):
        counts = np.bincount((draws.numpy() >> shift) & 255, minlength=256)
        assert abs(chi_square(counts, 2**11)) < 5


def test_uniform_is_uniform_within_its_bounds():
    draws = random.uniform(keys(3, 2**19)).numpy()
    assert draws.dtype == np.float32 and draws.min() >= 0 and draws.max() < 1
    counts = np.bincount((draws * 1000).astype(int), minlength=1000)
    assert abs(chi_square(counts, 2**19 / 1000)) < 5
    scaled = random.uniform(keys(3, 2**19), -2.0, 3.0).numpy()
    np.testing.assert_allclose(scaled, 5 * draws - 2, atol=1e-6)
    assert scaled.min() >= -2 and scaled.max() <= 3


def test_normal_has_the_moments_and_the_distribution_function_of_the_normal_law():
    count = 2**18
    draws = random.normal(keys(4, count)).numpy().astype(np.float64)
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        standard_error = math.sqrt(math.prod(range(1, 2 * power, 2)) / count)  # E x²ᵖ bounds the variance of xᵖ
        assert abs(np.mean(draws**power) - moment) < 5 * standard_error
    ordered = np.sort(draws)
    law = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in ordered])
    distance = max(np.max(np.arange(1, count + 1) / count - law), np.max(law - np.arange(count) / count))
    assert distance * math.sqrt(count) < 1.95  # Kolmogorov-Smirnov at 0.1 %


def test_bernoulli_and_integers_have_their_frequencies():
    for probability in (0.0, 0.3, 1.0):
        share = np.mean(random.bernoulli(keys(6, 2**18), probability).numpy())
        assert abs(share - probability) <= 5 * math.sqrt(probability * (1 - probability) / 2**18)
    draws = random.integers(keys(7, 2**18), 10).numpy()
    assert draws.dtype == np.int32
    assert abs(chi_square(np.bincount(draws, minlength=10), 2**18 / 10)) < 5


def test_categorical_follows_the_logits_and_skips_impossible_classes():
    weights = np.array([0.5, 0.0, 0.2, 0.3])
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights).astype(np.float32)
    draws = random.categorical(keys(8, 2**18), tf.broadcast_to(log_weights, (2**18, 4))).numpy()
    counts = np.bincount(draws, minlength=4)
    assert draws.dtype == np.int32 and counts[1] == 0
    assert abs(chi_square(counts[weights > 0], weights[weights > 0] * 2**18)) < 5


def test_rows_steps_seeds_and_folds_are_uncorrelated():
    rows, steps = 100, 4000
    bound = 5.5 / math.sqrt(steps)
    streams = {
        "rows": random.fold(keys(9, rows)[:, None], tf.range(steps)[None]),
        "seeds": random.fold(random.key(tf.range(rows))[:, None], tf.range(steps)[None]),
        "folds": random.fold(keys(9, steps)[None], tf.range(rows)[:, None]),
    }
    for draw in (random.uniform, random.normal):
        for name, stream in streams.items():
            correlations = np.corrcoef(draw(stream).numpy()) - np.eye(rows)
            assert np.abs(correlations).max() < bound, name
    chain = random.uniform(streams["rows"]).numpy()
    for lag in (1, 2, 3, 10, 50):
        assert abs(np.corrcoef(chain[:, :-lag].ravel(), chain[:, lag:].ravel())[0, 1]) < 5 / math.sqrt(rows * steps)
