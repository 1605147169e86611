"""Keras' settings in the user's process: networks, trainings and exports do not change with them, or are refused."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import metazoo
from metazoo import keras_settings
from metazoo.algorithms.common.learner import updates
from metazoo.keras_settings import KerasSettingsError
from metazoo.policies.networks import cnn, mlp
from metazoo.policies.policy import Policy
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.training.export import export
from metazoo.types import Box, Discrete
from tests.command import environment
from tests.command import metazoo as command
from tests.spaces import Any2, host_family, tiny_learner

SETTINGS = {
    "floatx": ("float16", "float32"),
    "epsilon": (0.1, 1e-7),
    "image_data_format": ("channels_first", "channels_last"),
    "dtype_policy": ("mixed_float16", "float32"),
}


@pytest.fixture(params=SETTINGS)
def changed(request):
    """A setting that is not Keras' default, during the test."""
    value, default = SETTINGS[request.param]
    change = getattr(keras.config, f"set_{request.param}")

    def to(now):
        change(value if now else default)

    yield to
    change(default)


def weights_and_answers():
    """What networks of every kind begin with and answer."""
    vector, image, moves = Box((3,)), Box((5, 4, 3), 0, 255, "uint8"), Box((2,))
    kinds = [
        (mlp(vector, moves, (4,), initial_scale=0.3), vector, moves),
        (mlp(Box((3, 2, 2)), Discrete(3), (4,)), Box((3, 2, 2)), Discrete(3)),
        (cnn(image, moves, (2,), (4,)), image, moves),
    ]
    found = []
    for model, seen, done in kinds:
        policy, rng = Policy(model, seen, done), np.random.default_rng(0)
        observations = (rng.random((2, 5, *seen.shape)) * (255 if seen.dtype == "uint8" else 1)).astype(seen.dtype)
        observations = tf.constant(observations)
        flat = policy.flat_weights()
        two = tf.stack([flat, 2.0 * flat])
        found += [flat, *policy.apply(flat, observations).values(), *policy.apply(two, observations).values()]
    recurrent = RecurrentPolicy(vector, moves, units=3, initial_scale=0.3)
    return [np.asarray(value) for value in [*found, *recurrent.model.trainable_variables]]


@pytest.mark.parametrize("built_before", [False, True], ids=["built under it", "called under it"])
def test_networks_do_not_change(changed, built_before):
    expected = weights_and_answers()
    if built_before:
        policy = Policy(mlp(Box((3, 2)), Discrete(3), (4,), output_gain=1.0), Box((3, 2)), Discrete(3))
        seen = tf.constant(np.random.default_rng(0).random((4, 3, 2), np.float32))
        before = policy.apply(policy.flat_weights(), seen)["logits"]
        changed(True)
        np.testing.assert_array_equal(policy.apply(policy.flat_weights(), seen)["logits"], before)
        return
    changed(True)
    for one, other in zip(expected, weights_and_answers(), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    learner = tiny_learner(host_family("vector", "Discrete"))
    return export(
        learner, tmp_path_factory.mktemp("as usual") / "1", {"name": "usual", "adapt": {"episodes": 2, "steps": 1}}
    )


def test_exports_and_what_is_loaded_do_not_change(changed, exported, tmp_path):
    changed(True)
    family = host_family("vector", "Discrete")
    changed(False)
    learner = tiny_learner(family)
    changed(True)
    path = export(learner, tmp_path / "1", {"name": "changed", "adapt": {"episodes": 2, "steps": 1}})
    usual, other = metazoo.load(exported), metazoo.load(path)
    assert usual.memory.dtype == other.memory.dtype == np.float32
    np.testing.assert_array_equal(usual.memory, other.memory)
    env = Any2()
    np.testing.assert_array_equal(*(one.adapt(env, episodes=2).memory for one in (usual, other)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("floatx", "float16"),
        ("floatx", "float64"),
        ("dtype_policy", "mixed_float16"),
        ("max_epochs", 1),
        ("max_steps_per_epoch", 1),
    ],
)
def test_training_under_another_setting_is_refused(name, value):
    change, learner = getattr(keras.config, f"set_{name}"), tiny_learner(host_family("vector", "Discrete"))
    try:
        change(value)
        for way in (lambda: learner.fit(updates(0, 1), verbose=0), lambda: learner.compile("adam")):
            with pytest.raises(KerasSettingsError, match=f"Keras' {name} is '?{value}'?, .* keras.config.set_{name}"):
                way()
    finally:
        change(None if name.startswith("max") else "float32")


def test_an_optimizer_made_under_another_setting_is_refused():
    learner = tiny_learner(host_family("vector", "Discrete"))
    try:
        keras.config.set_floatx("float16")
        optimizer = keras.optimizers.Adam(1e-3)
    finally:
        keras.config.set_floatx("float32")
    with pytest.raises(KerasSettingsError, match="the optimizer's learning rate is a float16"):
        learner.compile(optimizer)


def test_another_backend_is_refused_after_keras_was_imported(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(KerasSettingsError, match="Keras' backend is 'jax', .* set KERAS_BACKEND=tensorflow"):
        keras_settings.require_tensorflow()


@pytest.mark.slow  # that importing refuses is tested below
@pytest.mark.parametrize("backend", ["torch", "nonsense"])
def test_the_command_names_the_variable(backend, tmp_path):
    run = command("train", "maml_sinusoid", "--updates", "1", "--no-card", "--out", tmp_path, KERAS_BACKEND=backend)
    assert run.returncode == 2
    assert f"Keras' backend is '{backend}'" in run.stderr and "KERAS_BACKEND=tensorflow" in run.stderr
    assert "Traceback" not in run.stderr and not list(tmp_path.iterdir())


def test_a_configuration_file_with_another_backend_is_refused_and_loading_needs_no_keras(exported, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch", "image_data_format": "channels_first"}))
    script = (
        "import sys, numpy, metazoo\n"
        f"policy = metazoo.load({str(exported)!r})\n"
        "print(policy.act(numpy.zeros(3, 'float32')))\n"
        "from metazoo.algorithms.maml import MAML\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment(KERAS_HOME=tmp_path),
        check=False,
    )
    assert run.stdout.strip() in "234" and run.stdout.strip()
    assert run.returncode == 1
    assert (
        run.stderr.strip()
        .splitlines()[-1]
        .startswith(
            "metazoo.keras_settings.KerasSettingsError: Keras' backend is 'torch', by KERAS_BACKEND or keras.json"
        )
    )
