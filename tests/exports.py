"""Small learners of every kind with random weights, their exports, and TF Serving's own way of running those."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.registry import LEARNERS
from metazoo.artefact import signatures
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.training.export import export
from metazoo.types import Discrete, Episodes
from tests.algorithms.problems import FAMILIES, made_up_episodes, small_policy

HORIZON = 6
METADATA = {
    "name": "small",
    "family_args": {"horizon": HORIZON},
    "adapt": {"episodes": 3, "steps": 2},
    "provenance": {"seed": 0},
    "evaluation": {},
}


def small_learner(algorithm: str, kind: str, horizon: int = HORIZON, **settings) -> Learner:
    """A learner far from its initial state, with an optimizer that holds state. ``kind`` is the distribution's."""
    family = FAMILIES[kind](horizon)
    learner_class = LEARNERS[algorithm]
    if learner_class.memory_kind == "recurrent":
        policy = RecurrentPolicy(family.observation_space, family.action_space, units=5)
    else:
        policy = small_policy(family, dtype="float32")
    learner = learner_class(policy, family, learner_class.config_class(**settings))
    noise = np.random.default_rng(1)
    learner.compile(keras.optimizers.Adam())
    learner.optimizer.build(learner.trainable_variables)
    for variable in [*learner.trainable_variables, *learner.optimizer.variables]:
        if variable.dtype == "float32":
            variable.assign(variable + 0.3 * noise.standard_normal(variable.shape))
    return learner


def export_small(directory: Path, algorithm: str, kind: str, **settings) -> tuple[Learner, Path]:
    """A small learner and its version directory ``directory/small/1``."""
    learner = small_learner(algorithm, kind, **settings)
    metadata = {**METADATA, "family_args": {"horizon": learner.family.horizon}}
    return learner, export(learner, directory / "small" / "1", metadata)


class Session:
    """A version directory loaded as TF Serving's C++ does it; no object of ours is rebuilt."""

    def __init__(self, directory: Path):
        with tf.Graph().as_default():
            self._session = tf.compat.v1.Session()
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(directory))
        self.signatures = loaded.signature_def

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        definition = self.signatures[signature]
        assert set(inputs) == set(definition.inputs)
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        return self._session.run({name: info.name for name, info in definition.outputs.items()}, feeds)


def example_inputs(learner: Learner, signature: str, rows: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs, all rows different, episodes of unequal lengths."""
    family, rng = learner.family, np.random.default_rng(seed)
    episodes = batch_first(made_up_episodes(family, rows, 3, seed))
    discrete = isinstance(family.action_space, Discrete)
    shape = (rows, *family.action_space.shape)
    actions = rng.integers(family.action_space.n, size=shape) if discrete else rng.standard_normal(shape)
    values = {
        "rows": np.arange(rows, dtype=np.int32),
        "observations": rng.standard_normal((rows, *family.observation_space.shape)).astype(np.float32),
        "previous_actions": actions.astype(np.int32 if discrete else np.float32),
        "previous_rewards": rng.standard_normal(rows).astype(np.float32),
        "previous_done": np.zeros(rows, bool),
        "memory": example_memory(learner, rows, seed),
        "seed": rng.integers(-(2**31), 2**31, rows).astype(np.int32),
        "deterministic": np.arange(rows) % 2 == 1,
    }
    if signature == signatures.ADAPT:
        values |= episodes._asdict()
    return {argument.name: np.array(values[argument.name]) for argument in signatures.INPUTS[signature]}


def example_memory(learner: Learner, rows: int, seed: int = 0) -> np.ndarray:
    """Memories ``[rows, S]`` around the initial one; those of fast weights have made 0, 1, 2, … inner steps."""
    initial = learner.initial_memory(learner.current_weights()).numpy()
    memory = initial + 0.1 * np.random.default_rng(seed).standard_normal((rows, initial.size))
    if learner.memory_kind == "fast_weights":
        memory[:, -1] = np.arange(rows) % 3
    return memory.astype(np.float32)


def batch_first(episodes: Episodes) -> Episodes:
    """Time-major ``[T, M, E, ...]`` → numpy ``[M, E, T, ...]``."""
    arrays = {name: np.asarray(value) for name, value in episodes._asdict().items()}
    moved = {
        name: value if name == "final_observations" else np.moveaxis(value, 0, 2) for name, value in arrays.items()
    }
    return Episodes(**moved)
