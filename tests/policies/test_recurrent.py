"""What a recurrent policy's weights are at first."""

import numpy as np

from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.types import Box, Discrete

STATES, ACTIONS, UNITS = 10, 5, 32


def inputs_of(cell: str, observations: int = STATES) -> np.ndarray:
    policy = RecurrentPolicy(Box((observations,)), Discrete(ACTIONS), cell=cell, units=UNITS, seed=3)
    return policy.model.trainable_variables[0].numpy()


def keys(kernel: np.ndarray) -> np.ndarray:
    logits = kernel[:, UNITS : 2 * UNITS]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_the_keys_of_an_associative_cell_tell_observations_apart_from_the_start():
    """Cosines between keys of ten one-hot states are below 0.05; with another gate's random weights above 0.9."""
    kernel = inputs_of("associative")
    unit = keys(kernel)[:STATES] / np.linalg.norm(keys(kernel)[:STATES], axis=1, keepdims=True)
    assert np.all(unit @ unit.T - np.eye(STATES) < 0.05)
    assert keys(kernel)[:STATES].max(1).min() > 0.8
    random = np.exp(kernel[:STATES, :UNITS])
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    assert (random @ random.T).min() > 0.9


def test_more_entries_than_keys_share_them_in_turn():
    kernel = keys(inputs_of("associative", UNITS + 3))
    np.testing.assert_array_equal(kernel[:3], kernel[UNITS : UNITS + 3])
    assert np.array_equal(kernel[: UNITS + 3].argmax(1), np.arange(UNITS + 3) % UNITS)


def test_what_is_not_observed_hardly_moves_the_key_at_first_and_other_gates_are_random():
    kernel = inputs_of("associative")
    assert keys(kernel)[STATES:].max() < 0.1
    gates = np.delete(kernel, np.arange(UNITS, 2 * UNITS), axis=1)
    np.testing.assert_allclose(gates.std(), 1 / np.sqrt(len(kernel)), rtol=0.1)  # LeCun's


def test_other_cells_begin_with_lecuns_weights():
    for cell in ("gru", "lstm"):
        kernel = inputs_of(cell)
        np.testing.assert_allclose(kernel.std(), 1 / np.sqrt(len(kernel)), rtol=0.1)
