"""A trial as a sequence, worked by hand."""

import numpy as np
import tensorflow as tf

from metazoo.algorithms.common.sequences import as_sequence
from metazoo.types import Episodes


def hand_made():
    """One task, three episodes of at most 3 steps: lengths 2, 3 and 0 (padding)."""
    mask = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0]], np.float32)[:, None]
    numbers = np.arange(9, dtype=np.float32).reshape(3, 1, 3)
    never = np.zeros_like(mask, bool)
    fields = Episodes(
        observations=numbers[..., None] + 100,
        final_observations=np.array([[[200.0], [201.0], [202.0]]], np.float32),
        actions=numbers.astype(np.int32) + 10,
        rewards=numbers + 0.5,
        terminated=never,
        truncated=never,
        mask=mask,
    )
    return Episodes(*map(tf.constant, fields))


def test_episodes_stand_in_order_each_with_its_closing_step():
    sequence = as_sequence(hand_made())
    column = lambda field: field.numpy()[:, 0].tolist()  # noqa: E731
    assert column(sequence.told) == [1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert column(sequence.played) == [1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    done = column(sequence.inputs.previous_done)
    assert done == [False] * 3 + [True] + [False] * 3 + [True] + [False] * 4
    seen = sequence.inputs.observations.numpy()[:, 0, 0]
    assert seen[:2].tolist() == [100, 103] and seen[3] == 200
    assert seen[4:8].tolist() == [101, 104, 107, 201]


def test_previous_actions_and_rewards_begin_anew_and_the_closing_step_has_the_last():
    sequence = as_sequence(hand_made())
    actions, rewards = (field.numpy()[:, 0] for field in sequence.inputs[1:3])
    assert actions[:2].tolist() == [0, 10] and actions[3] == 13
    assert actions[4:8].tolist() == [0, 11, 14, 17]
    assert rewards[:2].tolist() == [0, 0.5] and rewards[3] == 3.5
    assert rewards[4:8].tolist() == [0, 1.5, 4.5, 7.5]
    assert sequence.actions.numpy()[4:7, 0].tolist() == [11, 14, 17]
    assert sequence.rewards.numpy()[4:8, 0].tolist() == [1.5, 4.5, 7.5, 0]


def test_the_closing_step_has_an_action_that_the_space_has():
    """It is of no account, but where actions start at 5, zero is out of range: TensorFlow refuses its logarithm."""
    episodes = hand_made()
    shifted = episodes._replace(actions=episodes.actions + 5)
    assert np.all(as_sequence(shifted).actions.numpy() >= 5)
