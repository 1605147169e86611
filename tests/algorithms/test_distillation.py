"""Distillation: its losses by hand, what it is taught on, and that a student learns; experts trained side by side."""

from dataclasses import fields
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common.learner import updates
from metazoo.algorithms.common.sequences import as_sequence
from metazoo.algorithms.common.teachers import Experts, ExpertsConfig, Teacher, teacher_of
from metazoo.algorithms.distillation import Distillation, DistillationConfig, RecurrentDistillation, sharpened
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.rollouts.graph import trial
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.navigation import Navigation
from tests.algorithms.problems import learner_for, small_policy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "algorithms" / "distillation.md"
STUDENTS = ("distillation", "recurrent_distillation")


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def test_the_losses_on_logits_are_those_of_the_paper():
    student, teacher, tau = np.array([0.3, -0.4]), np.array([2.0, 1.0]), 0.5
    p, q = softmax(teacher / tau), softmax(student)
    expected = {
        "kl": (p * np.log(p / q)).sum(),
        "nll": -np.log(q[0]),
        "mse": ((teacher / tau - 1.5 / tau - (student + 0.05)) ** 2).sum(),
    }
    mask, rubbish = tf.constant([[1.0, 0.0]]), np.array([9.0, -9.0])
    for loss, value in expected.items():
        learner = learner_for("distillation", "categorical", loss=loss, temperature=tau)
        answers = sharpened({"logits": tf.constant([[teacher, rubbish]], tf.float32)}, tau, tf.float32)
        student_says = {"logits": tf.constant([[student, rubbish]], tf.float32)}
        assert float(learner.lesson_loss(student_says, answers, mask)) == pytest.approx(value, rel=1e-5), loss


def test_the_losses_on_gaussians_are_those_of_the_paper():
    (m, s), (n, r), tau = (
        (np.array([0.1, 0.2]), np.array([0.5, 0.4])),
        (np.array([0.3, 0.0]), np.array([0.2, 0.6])),
        4.0,
    )
    r = r * 2.0  # the square root of τ
    expected = {
        "kl": (np.log(s / r) + (r**2 + (n - m) ** 2) / (2 * s**2) - 0.5).sum(),
        "nll": (np.log(s * np.sqrt(2 * np.pi)) + (n - m) ** 2 / (2 * s**2)).sum(),
        "mse": ((m - n) ** 2 + np.log(s / r) ** 2).sum(),
    }
    for loss, value in expected.items():
        learner = learner_for("distillation", "gaussian", loss=loss, temperature=tau)
        answers = sharpened({"loc": tf.constant([[n]]), "scale": tf.constant([[r / 2.0]])}, tau, tf.float64)
        student_says = {"loc": tf.constant([[m]]), "scale": tf.constant([[s]])}
        found = float(learner.lesson_loss(student_says, answers, tf.ones([1, 1], tf.float64)))
        assert found == pytest.approx(value, rel=1e-6), loss


@pytest.mark.parametrize("algorithm", STUDENTS)
def test_who_plays_the_episodes(algorithm):
    """A teacher that always pushes to the right."""
    played = {}
    for player in ("student", "teacher"):
        learner = learner_for(algorithm, "categorical", horizon=12, tasks=3, episodes=2, collection=player)
        learner.teacher = Teacher("right", 0, lambda tasks, seen: {"logits": 0.0 * seen[..., :2] + [0.0, 60.0]})
        weights = learner.current_weights()
        episodes, answers = learner.collect(weights, learner.sample_tasks(random.key(0)), random.key(1))
        assert answers["logits"].shape[:2] == learner.asked(episodes)[1].shape
        played[player] = episodes.actions.numpy()[episodes.mask.numpy() > 0]
    assert np.all(played["teacher"] == 1) and 0 < np.mean(played["student"]) < 1


@pytest.mark.parametrize("algorithm", STUDENTS)
def test_only_tasks_that_the_teacher_knows_are_played(algorithm):
    learner = learner_for(algorithm, "gaussian", tasks=50)
    known = learner.family.sample(3, "train", 5)
    learner.teacher = learner.teacher._replace(tasks=known)
    goals = learner.sample_tasks(random.key(0)).goal.numpy()
    assert {tuple(goal) for goal in goals} == {tuple(goal) for goal in known.goal.numpy()}


def test_a_student_without_a_teacher_acts_but_does_not_learn():
    learner = learner_for("distillation", "gaussian", tasks=2)
    learner.teacher = None
    with pytest.raises(ValueError, match="distillation has no teacher; set its teacher before training"):
        learner.sample_tasks(random.key(0))


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_a_trial_s_loss_is_the_sum_over_what_the_student_answered_while_it_played(kind):
    learner = learner_for("recurrent_distillation", kind, horizon=9, tasks=3, episodes=2)
    noise = np.random.default_rng(0)
    weights = [
        value + tf.constant(0.5 * noise.standard_normal(value.shape), value.dtype)
        for value in learner.current_weights()
    ]
    tasks = learner.sample_tasks(random.key(0))
    said, asked = [], []

    def step(inputs, memory, key, deterministic):
        out = learner.step(weights, inputs, memory, key, deterministic)
        said.append(out.parameters), asked.append(inputs.observations)
        return out

    tf.config.run_functions_eagerly(True)
    memory = tf.zeros([3, 1, learner.memory_size])
    episodes, _ = trial(learner.family, tasks, step, memory, random.key(1), 2)
    tf.config.run_functions_eagerly(False)
    assert len(said) == 2 * 10, "each episode's steps and the closing one"
    answers = learner.teacher.parameters(tasks, tf.concat(asked, 1))
    distribution = learner.policy.distribution
    said = {name: tf.concat([one[name] for one in said], 1) for name in said[0]}
    divergence = distribution.of(answers).kl_divergence(distribution.of(said))
    _, mask = learner.asked(episodes)
    expected = tf.reduce_sum(divergence * mask) / tf.reduce_sum(mask)
    found = learner.trial_loss(weights, as_sequence(episodes), answers)
    assert 0 < float(tf.reduce_sum(mask)) <= 3 * 2 * 9 and float(found) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("loss", ["kl", *(pytest.param(one, marks=pytest.mark.slow) for one in ("nll", "mse"))])
def test_a_feed_forward_student_comes_to_answer_as_its_teacher(loss):
    learner = learner_for("distillation", "categorical", horizon=10, tasks=4, episodes=5, loss=loss)
    teacher = small_policy(learner.family, dtype="float32", seed=3)
    weights = 3.0 * teacher.flat_weights()
    learner.teacher = Teacher("fixed", teacher.size, lambda tasks, seen: teacher.apply(weights, seen))
    learner.compile(keras.optimizers.Adam(0.03), jit_compile=True)
    seen = tf.constant(0.3 * np.random.default_rng(0).standard_normal((500, 4)), tf.float32)

    def agreement():
        mine = learner.act(learner.current_weights(), tf.zeros([0]), seen)["logits"]
        both = tf.argmax(mine, -1) == tf.argmax(teacher.apply(weights, seen)["logits"], -1)
        return float(tf.reduce_mean(tf.cast(both, tf.float32)))

    before = agreement()
    learner.fit(updates(0, 150), verbose=0, shuffle=False)
    assert agreement() > 0.93 > before


@pytest.mark.slow
def test_a_recurrent_student_finds_out_what_its_teacher_was_told():
    """The teacher knows which arm pays more; the student has to try."""
    family = Bandit(arms=2, horizon=15)
    policy = RecurrentPolicy(family.observation_space, family.action_space, units=16)
    learner = RecurrentDistillation(policy, family, DistillationConfig(tasks=200, episodes=1))
    learner.teacher = Teacher("told", 0, lambda tasks, seen: {"logits": 20.0 * tasks.means[:, None] + 0.0 * seen})
    learner.compile(keras.optimizers.Adam(0.01), jit_compile=True)
    learner.fit(updates(0, 120), verbose=0, shuffle=False)
    weights, tasks = learner.current_weights(), family.sample(2000, "test", 0)
    memory = tf.zeros([2000, 1, learner.memory_size])
    play = tf.function(lambda: trial(family, tasks, partial(learner.step, weights), memory, random.key(2), 1)[0])
    arms = play().actions.numpy()[:, :, 0]
    right = (arms == tasks.means.numpy().argmax(1)).mean(1)
    assert abs(right[0] - 0.5) < 0.05 and right[-3:].mean() > 0.68


def experts_on_navigation(count, compiled=False, **settings):
    family = Navigation(6)
    policy = small_policy(family, dtype="float32")
    config = ExpertsConfig(**{"tasks": count, "episodes": 4, "epochs": 2, **settings})
    experts = Experts(policy, family, family.sample(count, "train", 0), config)
    experts.compile(keras.optimizers.Adam(0.01), jit_compile=compiled, run_eagerly=not compiled)
    return experts


@pytest.mark.slow
def test_an_expert_among_others_is_trained_as_if_alone():
    alone, among = experts_on_navigation(1), experts_on_navigation(3)
    first = alone.experts.numpy()
    for experts in (alone, among):
        experts.fit(updates(0, 4), verbose=0, shuffle=False)
    trained = among.experts.numpy()
    np.testing.assert_allclose(alone.experts.numpy()[0], trained[0], rtol=1e-4, atol=1e-5)
    assert np.abs(trained[0] - first[0]).max() > 0.01
    assert np.abs(trained[0] - trained[1]).max() > 1e-3, "the others learn something else"


def test_experts_stay_equal_while_they_step_together():
    experts = experts_on_navigation(3, together=2)
    experts.fit(updates(0, 2), verbose=0, shuffle=False)
    assert np.ptp(experts.experts.numpy(), 0).max() == 0
    experts.fit(updates(2, 3), verbose=0, shuffle=False)
    assert np.ptp(experts.experts.numpy(), 0).max() > 1e-3


SPANS = (0, 1), (1, 60)


@pytest.mark.slow
def test_experts_learn_their_own_tasks():
    experts = experts_on_navigation(4, compiled=True, episodes=20)
    early, late = (experts.fit(updates(*span), verbose=0, shuffle=False).history["return_0"][-1] for span in SPANS)
    assert late > 0.75 * early  # returns are negative distances


def test_a_teacher_of_experts_answers_with_the_one_of_the_task():
    family = Navigation(5)
    policy, tasks = small_policy(family, dtype="float32"), family.sample(4, "train", 0)
    weights = tf.constant(np.random.default_rng(0).standard_normal((4, policy.size)), tf.float32)
    teacher = teacher_of(policy, weights, tasks)
    order = [2, 0, 3, 2]
    seen = tf.constant(np.random.default_rng(1).standard_normal((4, 7, 2)), tf.float32)
    answers = teacher.parameters(family.Task(tf.gather(tasks.goal, order)), seen)
    for row, expert in enumerate(order):
        np.testing.assert_allclose(answers["loc"][row], policy.apply(weights[expert], seen[row])["loc"], rtol=1e-5)
    assert teacher.size == policy.size and teacher.tasks is tasks


@pytest.mark.parametrize("config", [DistillationConfig, ExpertsConfig])
def test_the_page_s_tables_of_settings_are_the_code_s(config):
    page = PAGE.read_text(encoding="utf-8")
    for item in fields(config):
        allowed = item.metadata["allowed"]
        choice = isinstance(allowed[0], str)
        span = ", ".join(f"`{value}`" for value in allowed) if choice else f"{allowed[0]:,} to {allowed[1]:,}"
        assert f"| `{item.name}` | {item.default} | {span} | {item.metadata['doc']} |" in page


def test_students_share_one_config():
    assert Distillation.config_class is RecurrentDistillation.config_class is DistillationConfig
