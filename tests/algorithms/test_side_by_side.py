"""Parts of an update on several threads: how many threads there are, and what is made of the parts."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo.algorithms.common import side_by_side


@pytest.mark.parametrize(
    ("settings", "variables", "expected"),
    [
        ((0, 0), ("3", "5"), 3),
        ((4, 0), ("3", "5"), 4),
        ((0, 1), ("3", "5"), 1),
        ((0, 0), ("", "many"), 7),
    ],
)
def test_threads_are_those_tensorflow_was_given(monkeypatch, settings, variables, expected):
    for name, setting, variable in zip(("intra", "inter"), settings, variables, strict=True):
        monkeypatch.setattr(tf.config.threading, f"get_{name}_op_parallelism_threads", lambda count=setting: count)
        monkeypatch.setenv(f"TF_NUM_{name.upper()}OP_THREADS", variable)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(7)))
    assert side_by_side.threads() == expected


def test_parts_are_equal():
    assert [side_by_side.divisor(12, most) for most in (1, 4, 5, 12, 100)] == [1, 4, 4, 12, 12]
    assert side_by_side.divisor(7, 3) == 1
    batch = {"a": tf.reshape(tf.range(12), [3, 4]), "b": tf.range(8)[None]}
    first, second = side_by_side.split(batch, 2, axis=1)
    np.testing.assert_array_equal(first["a"], [[0, 1], [4, 5], [8, 9]])
    np.testing.assert_array_equal(second["b"], [[4, 5, 6, 7]])


def test_the_mean_of_parts_weighs_them():
    parts, weights = [tf.constant([1.0, 2.0]), tf.constant([3.0, 5.0])], [tf.constant(0.25), tf.constant(0.75)]
    both = side_by_side.mean_of_parts(lambda part: {"sum": tf.reduce_sum(part), "same": part}, parts, weights)
    assert both["sum"].numpy() == pytest.approx(0.25 * 3 + 0.75 * 8)
    np.testing.assert_allclose(both["same"], [2.5, 4.25])
