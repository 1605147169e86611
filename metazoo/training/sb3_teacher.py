"""Policies of Stable-Baselines3 as teachers: the weights of PPO's or A2C's ``MlpPolicy``, read without torch.

Written where Stable-Baselines3 is installed, in one line:
``np.savez("DIR/stable_baselines3.npz", **{name: value.numpy() for name, value in model.policy.state_dict().items()})``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from metazoo.algorithms.common.teachers import Teacher
from metazoo.artefact.episodes import arrays_of
from metazoo.policies.distributions import Parameters
from metazoo.tasks.host_family import AnyFamily
from metazoo.types import Box, Discrete

FILE: Final = "stable_baselines3.npz"
Layers = list[tuple[np.ndarray, np.ndarray]]
HIDDEN: Final = re.compile(r"mlp_extractor\.policy_net\.(\d+)\.weight")


def load_teacher(directory: Path, family: AnyFamily) -> tuple[Teacher, AnyFamily]:
    """The policy as a teacher on ``family``. Its hidden layers are followed by tanh, as ``MlpPolicy``'s are by default,
    or by ReLU if the file also has an array ``relu``.

    Raises:
        ValueError: it is no such policy, or it has other spaces than the family.
    """
    arrays = arrays_of(Path(directory) / FILE)
    layers = _layers(arrays)
    _check(Path(directory).name, layers, arrays, family)
    activation = tf.nn.relu if "relu" in arrays else tf.tanh
    size = sum(array.size for layer in layers for array in layer)

    def parameters(tasks: Any, observations: tf.Tensor) -> Parameters:
        lead = tf.shape(observations)[:2]
        hidden = tf.reshape(tf.cast(observations, tf.float32), [-1, family.observation_space.size])
        for weight, bias in layers[:-1]:
            hidden = activation(tf.matmul(hidden, weight, transpose_b=True) + bias)
        weight, bias = layers[-1]
        out = tf.matmul(hidden, weight, transpose_b=True) + bias
        out = tf.reshape(out, [lead[0], lead[1], out.shape[-1]])
        if not isinstance(family.action_space, Box):
            return {"logits": out}
        return {"loc": out, "scale": tf.broadcast_to(tf.exp(arrays["log_std"]), tf.shape(out))}

    return Teacher(Path(directory).name, size, parameters), family


def _layers(arrays: Mapping[str, np.ndarray]) -> Layers:
    """Weights ``[out, in]`` and biases of the policy's layers, that of the actions last."""
    numbers = sorted(int(match[1]) for name in arrays if (match := HIDDEN.fullmatch(name)))
    names = [*(f"mlp_extractor.policy_net.{number}" for number in numbers), "action_net"]
    missing = [f"{name}.{part}" for name in names for part in ("weight", "bias") if f"{name}.{part}" not in arrays]
    if missing:
        raise ValueError(f"{FILE} has no {missing[0]}; it must be the state_dict of PPO's or A2C's MlpPolicy.")
    return [(arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in names]


def _check(name: str, layers: Layers, arrays: Mapping[str, Any], family: AnyFamily) -> None:
    space = family.action_space
    wanted = space.size if isinstance(space, Box) else space.n if isinstance(space, Discrete) else sum(space.nvec)
    found = layers[0][0].shape[1], layers[-1][0].shape[0]
    if found != (family.observation_space.size, wanted):
        raise ValueError(
            f"{name} sees {found[0]} numbers and has {found[1]} outputs; {family.name} needs"
            f" {family.observation_space.size} and {wanted}."
        )
    if isinstance(space, Box) and "log_std" not in arrays:
        raise ValueError(f"{FILE} of {name} has no log_std; continuous actions need PPO or A2C without gSDE.")
