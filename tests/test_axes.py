"""Axes turned, merged and appended: values and static shapes, against numpy."""

import numpy as np
import tensorflow as tf

from metazoo import axes
from metazoo.types import Episodes


def counted(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_turn_moves_the_first_axes_only():
    field = counted(2, 3, 4, 5)
    np.testing.assert_array_equal(axes.turn(tf.constant(field), 2, 0, 1), np.moveaxis(field, 2, 0))


def test_merge_keeps_the_order_and_what_is_known_of_the_shape():
    field = counted(2, 3, 4, 5)
    merged = axes.merge(tf.constant(field), 1)
    assert merged.shape == (2, 12, 5)
    np.testing.assert_array_equal(merged, field.reshape(2, 12, 5))

    @tf.function(input_signature=[tf.TensorSpec([None, 3, 4])])
    def graph(value):
        merged = axes.merge(value, 0)
        assert merged.shape.as_list() == [None, 4]
        assert axes.merge(value, 1).shape.as_list() == [None, 12]
        return merged

    np.testing.assert_array_equal(graph(field[..., 0]), field[..., 0].reshape(6, 4))


def test_where_chooses_whole_entries_of_a_nest():
    flags = tf.constant([True, False])
    new, old = {"a": tf.ones((2, 3)), "b": tf.ones(2)}, {"a": tf.zeros((2, 3)), "b": tf.zeros(2)}
    chosen = axes.where(flags, new, old)
    np.testing.assert_array_equal(chosen["a"], [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(chosen["b"], [1, 0])


def test_time_major_and_batch_major_undo_each_other():
    fields = {name: tf.constant(counted(2, 3, 4, 5)) for name in Episodes._fields}
    fields["final_observations"] = tf.constant(counted(2, 3, 5))
    batch = Episodes(**fields)
    timed = axes.time_major(batch)
    assert timed.rewards.shape == (4, 2, 3, 5) and timed.final_observations.shape == (2, 3, 5)
    np.testing.assert_array_equal(timed.rewards[1, 0, 2], batch.rewards[0, 2, 1])
    tf.nest.map_structure(np.testing.assert_array_equal, axes.batch_major(timed), batch)
