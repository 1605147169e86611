"""Probes and components on constructed cases: what is there is found, what is not there is not."""

import numpy as np
import pytest

from metazoo.explain import probe
from metazoo.explain.probe import components, r_squared

RNG = np.random.default_rng(3)
NOISE = RNG.normal(size=(120, 300))
TARGET = RNG.normal(size=120)


def test_a_parameter_that_is_written_in_the_features_is_read():
    features = NOISE.copy()
    features[:, :4] += 4 * TARGET[:, None]
    features[:, 7] = 5.0  # constant
    assert r_squared(features[:, :12], TARGET) > 0.95
    assert r_squared(np.stack([2 * TARGET - 1, np.zeros(120)], 1), TARGET) == pytest.approx(1.0, abs=1e-6)


def test_features_that_ignore_a_parameter_have_r_squared_of_nothing():
    assert abs(r_squared(NOISE, TARGET)) < 0.1
    assert abs(r_squared(NOISE[:, :5], TARGET)) < 0.1
    assert r_squared(np.zeros((120, 3)), TARGET) == pytest.approx(0.0, abs=0.05), "features that never vary"


def test_half_of_the_variance_is_half_an_r_squared():
    """Target = seen + unseen with equal variances: the best there is reads half (closed form)."""
    rng = np.random.default_rng(0)
    seen, unseen = rng.normal(size=(2, 4000))
    assert r_squared(seen[:, None], seen + unseen) == pytest.approx(0.5, abs=0.03)


def test_the_leave_one_out_error_is_that_of_leaving_one_out():
    features, target = NOISE[:30, :6], TARGET[:30]
    penalty = 3.0

    def ridge(rows, values, others):
        middle, level = rows.mean(0), values.mean()
        centred = rows - middle
        weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(6), centred.T @ (values - level))
        return level + (others - middle) @ weights

    one_by_one = sum(
        (target[i] - ridge(np.delete(features, i, 0), np.delete(target, i), features[[i]])[0]) ** 2 for i in range(30)
    )
    vectors, values, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    centred = target - target.mean()
    assert probe._press(vectors, values**2, vectors.T @ centred, centred, penalty) == pytest.approx(
        one_by_one, rel=0.01
    )


def test_components_are_those_of_a_plane():
    plane = RNG.normal(size=(200, 2)) * [3.0, 1.0]
    directions, _ = np.linalg.qr(RNG.normal(size=(40, 2)))
    scores, shares = components(plane @ directions.T)
    assert shares.sum() == pytest.approx(1.0) and scores.shape == (200, 2)
    assert r_squared(scores, plane[:, 0]) > 0.99
    assert components(np.zeros((5, 3)))[0].shape == (5, 2), "nothing varies"


def test_too_few_rows_and_a_constant_target_are_refused():
    with pytest.raises(ValueError, match="there are 19 rows; a probe needs at least 20"):
        r_squared(NOISE[:19], TARGET[:19])
    with pytest.raises(ValueError, match="the target is 1 in every row"):
        r_squared(NOISE, np.ones(120))
