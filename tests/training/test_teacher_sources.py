"""Teachers from the zoo and from experts on disk, and training a student on them."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import metazoo
from metazoo import random
from metazoo.artefact import store
from metazoo.policies.networks import network_for
from metazoo.policies.policy import Policy
from metazoo.presets.preset import Preset
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.cartpole import CartPole, CartPoleGoal, CartPoleState
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.family import per_episode
from metazoo.training import callbacks, train
from metazoo.training.experts import SETTINGS_FILE, WEIGHTS_FILE, Recipe, train_experts
from metazoo.training.teacher_sources import load_teacher, teacher_for
from tests.without_xla import without_xla

QUICK = Recipe({"episodes": 2, "epochs": 1}, {"hidden": (3,), "initial_scale": 0.1}, updates=2)
STUDENT = Preset(
    name="student",
    description="2D navigation in a few steps",
    family="navigation",
    family_args={"horizon": 5},
    algorithm="recurrent_distillation",
    config={"tasks": 4, "episodes": 2},
    network={"units": 3, "initial_scale": 0.1},
    updates=5,
    episodes=2,
    steps=0,
    learning_rate=0.1,
    teacher="experts:3",
)


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """A directory of three experts on navigation, made as a preset asks for them."""
    directory = tmp_path_factory.mktemp("experts") / "three"
    shown = Navigation(5, reveal_goal=True)  # what the experts are not
    with pytest.MonkeyPatch.context() as patch:
        without_xla(patch)
        patch.setattr(Navigation, "expert_recipe", QUICK._asdict())
        teacher = teacher_for("experts:3", shown, {"horizon": 5, "reveal_goal": True}, directory, 0)
    assert teacher.name == "3 experts"
    return directory


def states(count):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (4, 3, count))
    return CartPoleState(*tf.constant(noise, tf.float32))


def test_experts_are_loaded_as_they_were_written(experts):
    saved = np.load(experts / WEIGHTS_FILE, allow_pickle=False)
    family = Navigation(5)
    spaces = family.observation_space, family.action_space
    policy = Policy(network_for(*spaces, **QUICK.network, seed=0), *spaces)
    tasks = family.sample(3, "train", 0)
    np.testing.assert_array_equal(saved["task/goal"], tasks.goal)
    teacher = load_teacher(experts, family)
    assert (teacher.name, teacher.size) == ("3 experts", policy.size)
    seen = random.uniform(random.spread(random.key(0), 3, 6, 2))
    answers = teacher.parameters(tasks, seen)
    for row in range(3):
        expected = policy.apply(tf.constant(saved["weights"][row]), seen[row])
        np.testing.assert_allclose(answers["loc"][row], expected["loc"], rtol=1e-5)
    made = json.loads((experts / SETTINGS_FILE).read_text())
    assert made["family"] == "navigation" and made["return"] < 0 and made["config"]["tasks"] == 3
    assert np.ptp(saved["weights"], 0).max() > 0


def test_experts_are_not_overwritten_and_half_a_directory_is_refused(experts, tmp_path):
    with pytest.raises(FileExistsError, match="experts are not overwritten, so choose another"):
        train_experts("navigation", {}, 3, experts)
    other = tmp_path / "other"
    other.mkdir()
    (other / SETTINGS_FILE).write_text((experts / SETTINGS_FILE).read_text())
    np.savez(
        other / WEIGHTS_FILE, **{"weights": np.zeros((3, 5), np.float32), "task/goal": np.zeros((3, 2), np.float32)}
    )
    with pytest.raises(ValueError, match=r"the weights in .*other are \[3, 5\]; its network and tasks need \[3, 19\]"):
        load_teacher(other, Navigation(5))


def test_experts_see_what_they_are_used_to_if_the_student_is_shown_the_task(experts):
    plain, shown = Navigation(5), Navigation(5, reveal_goal=True)
    tasks = plain.sample(3, "train", 0)
    position = random.uniform(random.spread(random.key(0), 3, 6, 2))
    whole = tf.concat([position, tf.repeat(tasks.goal[:, None], 6, 1)], -1)
    one = load_teacher(experts, plain).parameters(tasks, position)
    other = load_teacher(experts, shown).parameters(tasks, whole)
    np.testing.assert_array_equal(one["loc"], other["loc"])


def test_a_policy_of_the_zoo_that_sees_the_task_is_shown_it():
    hidden, shown = CartPoleGoal(), CartPoleGoal(reveal_target=True)
    teacher, tasks, state = load_teacher("oracle_cartpole_goal", hidden), hidden.sample(3, "test", 0), states(5)
    answers = tf.function(teacher.parameters, jit_compile=True)(tasks, hidden.observe(per_episode(tasks), state))
    oracle = metazoo.load("oracle_cartpole_goal")
    seen = tf.reshape(shown.observe(per_episode(tasks), state), [15, 5])
    np.testing.assert_array_equal(oracle.act(seen.numpy()), tf.argmax(tf.reshape(answers["logits"], [15, 2]), -1))
    assert teacher.tasks is None and teacher.size == 5 * 64 + 64 + 64 * 64 + 64 + 2 * 64 + 2
    directly = load_teacher("oracle_cartpole_goal", shown).parameters(tasks, shown.observe(per_episode(tasks), state))
    np.testing.assert_allclose(directly["logits"], answers["logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "family", "message"),
    [
        ("rl2_navigation", Navigation(), "rl2_navigation remembers its steps; .* so choose a feed-forward policy"),
        ("dr_cartpole", Navigation(), "dr_cartpole was trained on cartpole with actions .*; the student learns on nav"),
        ("dr_cartpole", Bandit(), "dr_cartpole was trained on cartpole .*; the student learns on bandit"),
        ("nobody", CartPole(), "there is no policy 'nobody'; give a directory or a name that metazoo list shows"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(name, family, message):
    with pytest.raises(ValueError, match=message):
        load_teacher(name, family)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no teacher; --set teacher=NAME, teacher=DIRECTORY or teacher=experts:N says whom"),
        ("experts", "teacher is 'experts'; experts are written with their number, such as experts:40"),
        ("experts:0", "teacher is 'experts:0'; experts are written with their number"),
    ],
)
def test_texts_that_name_no_teacher_are_refused(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        teacher_for(text, Navigation(), {}, tmp_path / "teachers", 0)
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_a_student_is_trained_with_the_experts_of_its_run(experts, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "EPOCH", 4)
    monkeypatch.setattr(callbacks, "VALIDATION_TRIALS", 3)
    shutil.copytree(experts, tmp_path / "student" / "teachers")
    exported = train.train(STUDENT, tmp_path)
    metadata = store.read_metadata(exported)
    teacher = metadata["teacher"]
    assert (teacher["name"], teacher["parameters"], teacher["env_steps"]) == ("3 experts", 19, 60)
    assert teacher["seconds"] > 0
    command = metadata["provenance"]["command"].split()
    assert train.override(STUDENT, dict(item.split("=", 1) for item in command[8::2])) == STUDENT
    policy = metazoo.load(exported)
    assert policy.metadata["memory"] == {"kind": "recurrent", "size": 3, "online": True}


def test_the_teacher_is_a_setting_of_students_alone():
    assert train.override(STUDENT, {"teacher": "somebody"}).teacher == "somebody"
    with pytest.raises(ValueError, match="recurrent_distillation has no setting 'speed'; it has .*, teacher"):
        train.override(STUDENT, {"speed": "1"})
    with pytest.raises(ValueError, match="domain_randomised has no setting 'teacher'"):
        train.override(dataclasses.replace(STUDENT, algorithm="domain_randomised", teacher=""), {"teacher": "somebody"})
