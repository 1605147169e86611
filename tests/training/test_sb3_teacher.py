"""Teachers from Stable-Baselines3: what the weights say, computed without torch and compared with NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.pendulum import Pendulum
from metazoo.training.sb3_teacher import FILE
from metazoo.training.teacher_sources import load_teacher


def state_dict(inputs, outputs, continuous=False, seed=0):
    """Arrays by the names that ``model.policy.state_dict()`` of PPO's MlpPolicy has, the critic's included."""
    generator = np.random.default_rng(seed)
    shapes = {
        "mlp_extractor.policy_net.0": (16, inputs), "mlp_extractor.policy_net.2": (8, 16), "action_net": (outputs, 8),
        "mlp_extractor.value_net.0": (16, inputs), "mlp_extractor.value_net.2": (8, 16), "value_net": (1, 8),
    }  # fmt: skip
    arrays = {f"{name}.weight": generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays |= {f"{name}.bias": generator.normal(size=shape[:1]).astype(np.float32) for name, shape in shapes.items()}
    return arrays | ({"log_std": np.array([-0.5], np.float32)} if continuous else {})


def saved(directory, arrays):
    directory.mkdir()
    np.savez(directory / FILE, **arrays)
    return directory


def forward(arrays, seen, activation=np.tanh):
    hidden = seen
    for name in ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2"):
        hidden = activation(hidden @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"])
    return hidden @ arrays["action_net.weight"].T + arrays["action_net.bias"]


@pytest.mark.parametrize(("extra", "activation"), [({}, np.tanh), ({"relu": np.array(1)}, lambda x: np.maximum(x, 0))])
def test_logits_are_those_of_the_network(tmp_path, extra, activation):
    family, arrays = CartPole(), state_dict(4, 2)
    teacher = load_teacher(saved(tmp_path / "ppo", arrays | extra), family)
    seen = np.random.default_rng(1).normal(size=(3, 5, 4)).astype(np.float32)
    tasks = family.sample(3, "train", seed=0)
    found = tf.function(teacher.parameters)(tasks, tf.constant(seen))  # students ask in graph
    np.testing.assert_allclose(found["logits"], forward(arrays, seen, activation), rtol=1e-4, atol=1e-4)
    assert teacher.name == "ppo" and teacher.size == 16 * 4 + 16 + 8 * 16 + 8 + 2 * 8 + 2  # without the critic


def test_continuous_actions_have_a_mean_and_a_deviation(tmp_path):
    family = Pendulum()
    arrays = state_dict(family.observation_space.size, 1, continuous=True)
    teacher = load_teacher(saved(tmp_path / "ppo", arrays), family)
    seen = np.random.default_rng(1).normal(size=(2, 4, family.observation_space.size)).astype(np.float32)
    found = teacher.parameters(family.sample(2, "train", seed=0), tf.constant(seen))
    np.testing.assert_allclose(found["loc"], forward(arrays, seen), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["scale"], np.full((2, 4, 1), np.exp(-0.5)), rtol=1e-6)


def test_other_policies_are_refused_in_one_sentence(tmp_path):
    no_head = {name: array for name, array in state_dict(4, 2).items() if not name.startswith("action_net")}
    wrong = {
        "sac": (no_head, "has no action_net.weight; it must be the state_dict"),
        "other": (state_dict(6, 3), "other sees 6 numbers and has 3 outputs; cartpole needs 4 and 2"),
    }
    for name, (arrays, message) in wrong.items():
        with pytest.raises(ValueError, match=message):
            load_teacher(saved(tmp_path / name, arrays), CartPole())
