"""Training a preset: it resumes to the same bits, keeps the best weights, and refuses what is wrong."""

import csv
import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo.algorithms.common import side_by_side
from metazoo.artefact import store
from metazoo.presets.metaworld import METAWORLD_PRESETS
from metazoo.presets.mujoco import MUJOCO_PRESETS
from metazoo.presets.registry import PRESETS
from metazoo.training import callbacks, train
from metazoo.training.callbacks import keep_epochs
from metazoo.training.train import build, override
from tests.training import tiny_training
from tests.training.tiny_training import TINY

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def small():
    """Small epochs and few validation tasks for the whole file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "EPOCH", 4)
        patch.setattr(callbacks, "VALIDATION_TASKS", 3)
        yield


class Heard(keras.callbacks.Callback):
    """A user's callback: how many updates it heard of, and the metrics of every epoch."""

    def __init__(self):
        super().__init__()
        self.updates, self.epochs = 0, []

    def on_train_batch_end(self, batch, logs=None):
        self.updates += 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(dict(logs))


class Offers:
    """The validation scores of a training, and the weights that had them; what a user's callback heard."""

    def __init__(self, patch):
        self.heard = Heard()
        self.scores, self.weights = [], []
        offer = callbacks.Checkpoints.offer

        def recording(checkpoints, score):
            self.scores.append(score)
            self.weights.append([value.numpy() for value in checkpoints.learner.current_weights()])
            offer(checkpoints, score)

        patch.setattr(callbacks.Checkpoints, "offer", recording)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, small):
    """(run directory, exported version, what validation saw) of a run from start to end."""
    out = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        offers = Offers(patch)
        exported = train.train(TINY, out, callbacks=[offers.heard])
    return out / "tiny", exported, offers


PLAIN = dataclasses.replace(TINY, algorithm="domain_randomised", config={"tasks": 2, "episodes": 2}, steps=0)
"""What compiles in half the time, where the learner does not matter."""


def log_rows(run):
    with (run / "metrics.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    return [{key: value for key, value in row.items() if key != "env_steps_per_s"} for row in rows]


def assert_same_training(run, uninterrupted):
    ours, expected = (store.read_checkpoint(one / "savedmodels" / "tiny" / "1") for one in (run, uninterrupted))
    ours.pop("_CHECKPOINTABLE_OBJECT_GRAPH"), expected.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
    assert ours.keys() == expected.keys() and len(expected) == 2
    assert all(np.array_equal(ours[name], expected[name]) for name in expected)
    assert log_rows(run) == log_rows(uninterrupted)
    last = [
        tf.train.load_checkpoint(tf.train.latest_checkpoint(str(one / "checkpoints"))) for one in (run, uninterrupted)
    ]
    for name, shape in last[1].get_variable_to_shape_map().items():
        if name.startswith("state/"):  # weights and optimizer after the last update
            assert np.array_equal(*(reader.get_tensor(name) for reader in last)), (name, shape)


def test_a_run_leaves_its_settings_logs_checkpoints_and_export(uninterrupted):
    run, exported, _ = uninterrupted
    assert exported == run / "savedmodels" / "tiny" / "1" and store.verify(exported)
    settings = json.loads((run / "run.json").read_text())
    assert (settings["seed"], settings["updates"], settings["preset"]["name"]) == (0, 10, "tiny")
    assert settings["versions"]["tensorflow"] == tf.__version__
    rows = log_rows(run)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert {"loss", "return_0", "return_1", "val_return_0", "val_return_1"} <= rows[0].keys()
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())
    assert [*(run / "tensorboard").rglob("events.out.tfevents.*")]
    assert {path.name for path in (run / "checkpoints").glob("*.index")} == {"ckpt-8.index", "ckpt-10.index"}


def test_a_callback_of_the_user_hears_every_update_and_epoch_with_the_metrics(uninterrupted):
    heard = uninterrupted[2].heard
    assert heard.updates == 10 and len(heard.epochs) == 3
    assert "loss" in heard.epochs[0] and all(set(one) == set(heard.epochs[0]) for one in heard.epochs)


def test_the_export_says_how_it_was_made(uninterrupted):
    metadata = store.read_metadata(uninterrupted[1])
    assert (metadata["name"], metadata["family_args"]) == ("tiny", {"horizon": 5})
    assert metadata["adapt"] == {"episodes": 2, "steps": 1, "tasks": 2000}
    provenance = metadata["provenance"]
    assert (provenance["seed"], provenance["updates"]) == (0, 10)
    assert provenance["best_update"] == (4, 8, 10)[int(np.argmax(uninterrupted[2].scores))]
    assert provenance["env_steps"] == 10 * 2 * 2 * 2 * 5  # updates × tasks × episodes × rounds × horizon
    assert provenance["seconds"] > 0
    command = provenance["command"].split()
    assert command[:7] == ["metazoo", "train", "tiny", "--seed", "0", "--updates", "10"]
    settings = dict(item.split("=") for item in command[8::2])
    assert override(TINY, settings) == TINY, "the command repeats the training"


def test_the_weights_with_the_best_validation_return_are_exported(uninterrupted):
    run, exported, offers = uninterrupted
    logged = [float(row["val_return_1"]) for row in log_rows(run)]
    np.testing.assert_allclose(offers.scores, logged, rtol=1e-5)
    best = int(np.argmax(offers.scores))
    assert best < 2, "the last is the best: the test proves nothing"
    memory = store.read_memory(exported)

    def flat(weights):
        return np.concatenate([part.ravel() for part in weights[:-1]])

    assert np.array_equal(memory[:-1], flat(offers.weights[best])) and memory[-1] == 0
    assert not np.array_equal(memory[:-1], flat(offers.weights[-1]))
    rates = store.read_checkpoint(exported)["parameters/0/.ATTRIBUTES/VARIABLE_VALUE"]
    assert np.array_equal(rates, offers.weights[best][-1])


def test_an_update_is_an_update_however_many_outer_steps_it_makes(tmp_path, capsys):
    """Validation, checkpoints and the decay of the learning rate go by updates, of three optimizer steps each."""
    preset = dataclasses.replace(PLAIN, config={**PLAIN.config, "epochs": 3}, updates=8)
    train.train(preset, tmp_path)
    assert [row["epoch"] for row in log_rows(tmp_path / "tiny")] == ["0", "1"]
    assert {path.name for path in (tmp_path / "tiny" / "checkpoints").glob("*.index")} == {
        "ckpt-4.index",
        "ckpt-8.index",
    }
    assert "update 8/8" in capsys.readouterr().err
    saved = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(tmp_path / "tiny" / "checkpoints")))
    state = [saved.get_tensor(name) for name in saved.get_variable_to_shape_map() if name.startswith("state/")]
    assert any(value.shape == () and value == 24 for value in state), "the optimizer's own count"


def killed(out, point, saved):
    """Trains in a process that kills itself; the newest checkpoint is then the one after so many updates."""
    command = [sys.executable, "-m", "tests.training.tiny_training", str(out), point]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    run = out / "tiny"
    assert tf.train.latest_checkpoint(str(run / "checkpoints")).endswith(f"ckpt-{saved}")
    assert not (run / "savedmodels" / "tiny" / "1").exists()
    return run


def test_killed_and_interrupted_it_ends_with_the_same_bits(uninterrupted, tmp_path, monkeypatch, capsys):
    """Killed by ``kill -9``, gone on with, stopped by Ctrl-C, which says how to go on, and gone on with again."""
    run = killed(tmp_path, "after the logs, before the checkpoint", 4)

    def interrupt(callback, *_):
        if tiny_training.updates_made(callback) == 6:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        original = callbacks.Interrupt.on_train_batch_end
        patch.setattr(
            callbacks.Interrupt, "on_train_batch_end", lambda me, *args, **logs: (interrupt(me), original(me, *args))[1]
        )
        assert train.train(TINY, tmp_path, resume=True) == run
    assert "Interrupted after 6 of 10 updates; --resume goes on from there." in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is handler
    assert tf.train.latest_checkpoint(str(run / "checkpoints")).endswith("ckpt-6")
    assert not (run / "savedmodels").exists()
    train.train(TINY, tmp_path, resume=True)
    assert_same_training(run, uninterrupted[0])


@pytest.mark.slow
def test_killed_three_times_it_ends_with_the_same_bits(uninterrupted, tmp_path):
    killed(tmp_path, "right after the first checkpoint", 4)
    killed(tmp_path, "after the logs, before the checkpoint", 4)
    run = killed(tmp_path, "before the export is in its place", 10)
    train.train(TINY, tmp_path, resume=True)
    assert [path.name for path in (run / "savedmodels" / "tiny").iterdir()] == ["1"]
    assert_same_training(run, uninterrupted[0])


@pytest.mark.slow
def test_resumed_on_fewer_threads_it_ends_with_the_same_bits(tmp_path, monkeypatch):
    remembering = dataclasses.replace(
        TINY, name="remembering", algorithm="rl2", config={"tasks": 4, "episodes": 2}, network={"units": 3}, steps=0
    )
    monkeypatch.setattr(callbacks, "VALIDATION_TRIALS", 3)
    monkeypatch.setattr(side_by_side, "threads", lambda: 2)
    save, parts = callbacks.Checkpoints.on_epoch_end, tmp_path / "parts"

    def leave_a_copy(*args):
        """After the first epoch, as a kill would leave the directory."""
        save(*args)
        if not parts.exists():
            shutil.copytree(tmp_path / "whole", parts)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoints, "on_epoch_end", leave_a_copy)
        whole = train.train(remembering, tmp_path / "whole")
    assert {path.name for path in (parts / "remembering" / "checkpoints").glob("*.index")} == {"ckpt-4.index"}
    monkeypatch.setattr(side_by_side, "threads", lambda: 1)
    resumed = train.train(remembering, parts, resume=True)
    one, two = store.read_checkpoint(whole), store.read_checkpoint(resumed)
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name])
    assert json.loads((parts / "remembering" / "run.json").read_text())["threads"] == 2


def test_a_training_that_diverges_stops_and_keeps_what_was_good(tmp_path, monkeypatch):
    def spoil(validation, epoch, logs=None):
        if epoch == 1:
            kernel = validation.model.meta_variables[0]
            kernel.assign(np.full(kernel.shape, np.nan))

    monkeypatch.setattr(callbacks.Validation, "on_epoch_begin", spoil)
    with pytest.raises(
        RuntimeError, match="^Training diverged: between updates 4 and 8 .*learning_rate.*of update 4.$"
    ):
        train.train(PLAIN, tmp_path)
    run = tmp_path / "tiny"
    assert [row["epoch"] for row in log_rows(run)] == ["0"]
    assert {path.name for path in (run / "checkpoints").glob("*.index")} == {"ckpt-4.index"}
    assert not (run / "savedmodels").exists()


def test_a_second_ctrl_c_stops_at_once():
    interrupt = callbacks.Interrupt()
    with interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_run_is_not_overwritten(uninterrupted, tmp_path):
    run, exported, _ = uninterrupted
    with pytest.raises(FileExistsError, match="never|exists already"):
        train.train(TINY, run.parent)
    with pytest.raises(FileExistsError, match="holds a training already; go on with --resume or choose another --out"):
        train.train(TINY, run.parent, export_to=tmp_path)
    assert store.verify(exported)


def test_resuming_what_is_finished_changes_nothing(uninterrupted):
    run, exported, _ = uninterrupted
    before = log_rows(run)
    assert train.train(TINY, run.parent, resume=True) == exported
    assert log_rows(run) == before and store.verify(exported)


def test_a_mistyped_directory_is_not_resumed_afresh(tmp_path):
    with pytest.raises(ValueError, match="mistyped/tiny holds no training to resume; check --out, or leave --resume"):
        train.train(TINY, tmp_path / "mistyped", resume=True)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"seed": 1}, "seed"), ({"updates": 11}, "updates"), ({"overrides": {"tasks": "3"}}, "preset")],
    ids=["seed", "updates", "settings"],
)
def test_resuming_with_other_settings_is_refused(uninterrupted, tmp_path, changes, named):
    with pytest.raises(ValueError, match=f"was trained with another {named}; resume with the same settings"):
        train.train(TINY, uninterrupted[0].parent, resume=True, export_to=tmp_path, **changes)


def test_a_training_without_updates_is_refused(tmp_path):
    with pytest.raises(ValueError, match="updates is 0; it must be at least 1"):
        train.train(TINY, tmp_path, updates=0)
    assert not [*tmp_path.iterdir()]


def test_settings_override_the_preset():
    changed = override(TINY, {"inner_rate": "0.25", "tasks": "7", "step_sizes": "scalar", "learning_rate": "0.01"})
    config = {**TINY.config, "inner_rate": 0.25, "tasks": 7, "step_sizes": "scalar"}
    assert changed == dataclasses.replace(TINY, config=config, learning_rate=0.01)
    assert override(TINY, {}) == TINY


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("inner_rat", "1", r"maml has no setting 'inner_rat'; did you mean inner_rate"),
        ("speed", "1", r"maml has no setting 'speed'; it has learning_rate, tasks, episodes, inner_steps"),
        ("tasks", "0", r"tasks is 0; it must be a whole number in \[1, 10000\]"),
        ("tasks", "2.5", r"tasks is '2.5'; it must be int from 1 to 10,000, such as 2"),
        ("gamma", "1.5", r"gamma is 1.5; it must lie in \[0.0, 1.0\]"),
        ("gamma", "nan", r"gamma is nan; it must lie in \[0.0, 1.0\]"),
        ("inner_rate", "fast", r"inner_rate is 'fast'; it must be float from 0.0 to 100.0, such as 0.1"),
        ("step_sizes", "all", r"step_sizes is 'all'; choose fixed, scalar or parameter"),
        ("learning_rate", "2", r"learning_rate is 2.0; it must lie in \(0, 1\]"),
        ("learning_rate", "nan", r"learning_rate is nan; it must lie in \(0, 1\]"),
    ],
)
def test_bad_settings_are_refused_with_what_would_be_right(key, value, message):
    with pytest.raises(ValueError, match=message):
        override(TINY, {key: value})


def test_the_seed_decides_the_initial_weights():
    one, same, other = (build(TINY, seed).policy.flat_weights().numpy() for seed in (None, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


NEED = {preset.name: pytest.mark.mujoco for preset in MUJOCO_PRESETS}
NEED |= {preset.name: pytest.mark.metaworld for preset in METAWORLD_PRESETS}


@pytest.mark.parametrize(
    "preset",
    [pytest.param(one, marks=NEED.get(name, ())) for name, one in PRESETS.items()],
    ids=PRESETS,
)
def test_every_preset_builds_and_its_baselines_exist(preset):
    learner = build(preset)
    assert learner.env_steps_per_update > 0 and preset.updates > 0 and preset.steps >= 0
    assert set(preset.baselines) <= set(PRESETS)
    assert PRESETS[preset.name] is preset and len(learner.current_weights()) >= len(
        learner.policy.model.trainable_variables
    )


def test_keep_epochs_cuts_the_log(tmp_path):
    path = tmp_path / "metrics.csv"
    keep_epochs(path, 3)
    assert not path.exists()
    path.write_text("epoch,loss\n0,0.5\n1,0.25\n2,0.125\n")
    keep_epochs(path, 2)
    assert path.read_text().split() == ["epoch,loss", "0,0.5", "1,0.25"]
    keep_epochs(path, 0)
    assert path.read_text() == ""
    assert [one.name for one in tmp_path.iterdir()] == ["metrics.csv"]
