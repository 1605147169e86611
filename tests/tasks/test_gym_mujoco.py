"""MuJoCo families: the contract, and their steps against Gymnasium's own environments."""

import contextlib
import os
import signal

import gymnasium as gym
import numpy as np
import pytest

from metazoo.artefact.spaces import CollectionError
from metazoo.tasks.mujoco.families import (
    AntDir,
    AntGoal,
    HalfCheetahDir,
    HalfCheetahVel,
    HopperParams,
    MujocoFamily,
    Walker2dParams,
)
from metazoo.tasks.registry import FAMILIES, ON_THE_HOST
from metazoo.tasks.testing import host as testing
from metazoo.tasks.views import make as gym_make

pytestmark = pytest.mark.mujoco

ORIGINALS = {
    HalfCheetahDir: ("HalfCheetah-v5", {"ctrl_cost_weight": 0.05}),
    HalfCheetahVel: ("HalfCheetah-v5", {"ctrl_cost_weight": 0.05}),
    AntDir: ("Ant-v5", {"include_cfrc_ext_in_observation": False}),
    AntGoal: (
        "Ant-v5",
        {
            "include_cfrc_ext_in_observation": False,
            "exclude_current_positions_from_observation": False,
            "terminate_when_unhealthy": False,
            "ctrl_cost_weight": 0.1,
        },
    ),
    HopperParams: ("Hopper-v5", {}),
    Walker2dParams: ("Walker2d-v5", {}),
}


BODIES = [cls for cls in ON_THE_HOST if issubclass(cls, MujocoFamily)]


@pytest.fixture(scope="module")
def family():
    """Each family once, in this process."""
    made = {}
    return lambda cls: made.setdefault(cls, cls(workers=0, rows=4))


@pytest.mark.parametrize("check", testing.CHECKS)
@pytest.mark.parametrize("cls", BODIES, ids=lambda cls: cls.name)
def test_family_keeps_the_contract(cls, check, family):
    testing.CHECKS[check](family(cls))


def test_they_are_registered_by_name():
    assert all(FAMILIES[cls.name] is cls for cls in ON_THE_HOST)
    assert [cls.name for cls in BODIES] == [
        "half_cheetah_dir", "half_cheetah_vel", "half_cheetah_vel3", "half_cheetah_mass", "half_cheetah_body",
        "ant_dir", "ant_goal", "hopper_params", "walker2d_params",
    ]  # fmt: skip


def play(family, task, steps=40, seed=3):
    """Observations, rewards and ends of one episode with random actions, until it ends."""
    actions = np.random.default_rng(seed).uniform(-1, 1, (steps, *family.action_space.shape)).astype(np.float32)
    record = [family.reset(task, np.array([seed], np.uint32))[0].copy()]
    for action in actions:
        after = family.step(action[None], np.ones(1, bool))
        record.append((after.observations[0].copy(), float(after.rewards[0]), bool(after.terminated[0])))
        if after.terminated[0]:
            break
    return record, actions


def task_of(family, **values):
    like = family.sample(1)
    return like._replace(
        **{name: np.full(getattr(like, name).shape, value, np.float32) for name, value in values.items()}
    )


NEUTRAL = {
    HalfCheetahDir: {"direction": 1.0},
    HalfCheetahVel: {"velocity": 1.5},
    AntDir: {"direction": 1.0},
    AntGoal: {"goal": 1.5},
    HopperParams: {"mass": 1.0, "inertia": 1.0, "damping": 1.0, "friction": 1.0},
    Walker2dParams: {"mass": 1.0, "inertia": 1.0, "damping": 1.0, "friction": 1.0},
}


def expected_reward(cls, env, reward, info):
    """Gymnasium's, or where rewards are the family's own what its ``info`` and the torso's position make of them."""
    if cls is HalfCheetahVel:
        return -abs(info["x_velocity"] - 1.5) + info["reward_ctrl"]
    if cls is AntGoal:
        away = np.abs(env.unwrapped.data.body("torso").xpos[:2] - 1.5).sum()
        return -away + info["reward_ctrl"] + info["reward_contact"]
    return reward


@pytest.mark.parametrize("cls", ORIGINALS, ids=lambda cls: cls.name)
def test_with_a_neutral_task_they_are_gymnasiums_environments(cls, family):
    """Over 1,000 transitions and more."""
    env_id, settings = ORIGINALS[cls]
    env, transitions, seed = gym.make(env_id, **settings), 0, 0
    while transitions < 1000:
        ours, actions = play(family(cls), task_of(family(cls), **NEUTRAL[cls]), 200, seed)
        seen, _ = env.reset(seed=seed)
        np.testing.assert_allclose(ours[0], seen, atol=1e-6)
        for (observation, reward, terminated), action in zip(ours[1:], actions, strict=False):
            seen, theirs, ended, _, info = env.step(action)
            np.testing.assert_allclose(observation, seen, rtol=1e-5, atol=1e-5)
            assert reward == pytest.approx(expected_reward(cls, env, theirs, info), rel=1e-5, abs=1e-5)
            assert terminated == ended
        transitions, seed = transitions + len(ours) - 1, seed + 1


@pytest.mark.parametrize("cls", BODIES, ids=lambda cls: cls.name)
def test_bodies_that_share_a_simulation_move_as_if_each_had_its_own(cls, family):
    """Observations to the last bit; rewards too, where Gymnasium does not make them in single precision."""
    shared, count = family(cls), 3
    tasks, seeds = shared.sample(count), np.arange(count, dtype=np.uint32)
    own = [shared.environment({name: field[i] for name, field in tasks._asdict().items()}) for i in range(count)]
    firsts = [env.reset(seed=i)[0] for i, env in enumerate(own)]
    np.testing.assert_array_equal(shared.reset(tasks, seeds), np.float32(firsts))
    playing = np.array([True, True, False])
    for action in np.random.default_rng(0).normal(size=(100, count, *shared.action_space.shape)).astype(np.float32):
        after = shared.step(action, playing.copy())
        for i in np.flatnonzero(playing):
            seen, reward, terminated, *_ = own[i].step(np.clip(action[i], -1, 1))
            np.testing.assert_array_equal(after.observations[i], np.float32(seen))
            assert after.rewards[i] == pytest.approx(reward, rel=1e-6, abs=1e-6)
            assert cls not in (HalfCheetahDir, HalfCheetahVel) or after.rewards[i] == np.float32(reward)
            assert after.terminated[i] == terminated
        np.testing.assert_array_equal(after.observations[2], np.float32(firsts[2]))
        assert after.rewards[2] == 0.0 and not after.terminated[2]
        playing &= ~after.terminated
        if not playing.any():
            break


def velocities(family, tasks, killed_at=None):
    """Rewards of five steps of so many half-cheetahs; before one of them, a worker is killed."""
    like, rewards = family.sample(tasks), []
    family.reset(like, np.arange(tasks, dtype=np.uint32))
    for t, action in enumerate(np.random.default_rng(0).normal(size=(5, tasks, 6)).astype(np.float32)):
        if t == killed_at:
            os.kill(family.processes[0], signal.SIGKILL)
        rewards.append(family.step(action, np.ones(tasks, bool)).rewards.copy())
    return np.array(rewards)


def test_half_cheetahs_of_several_processes_move_as_those_of_one(family, caplog):
    alone = {tasks: velocities(family(HalfCheetahVel), tasks) for tasks in (1, 4)}
    with contextlib.closing(HalfCheetahVel(workers=2, rows=4)) as shared:
        np.testing.assert_array_equal(velocities(shared, 4), alone[4])
        np.testing.assert_array_equal(velocities(shared, 4, killed_at=3), alone[4])
        assert "HalfCheetahVel (at step 3 of 2 episodes" in caplog.text
    with contextlib.closing(HalfCheetahVel(workers=3, rows=4)) as many:  # more processes than episodes
        np.testing.assert_array_equal(velocities(many, 1), alone[1])


def test_what_mujoco_cannot_do_is_named(family, monkeypatch):
    import mujoco

    def fail(*args, **kwargs):
        raise mujoco.FatalError("the stack is full")

    cheetah = family(HalfCheetahVel)
    cheetah.reset(task_of(cheetah, velocity=1.5), np.zeros(1, np.uint32))
    monkeypatch.setattr(mujoco, "mj_step", fail)
    message = r"HalfCheetahVel with velocity=1.5 failed at step 0 on action \[.*\]: FatalError: the stack is full"
    with pytest.raises(CollectionError, match=message):
        cheetah.step(np.zeros((1, 6), np.float32), np.ones(1, bool))


def test_a_half_cheetahs_reward_that_is_not_finite_is_named(family):
    cheetah = family(HalfCheetahVel)
    cheetah.reset(task_of(cheetah, velocity=1.5), np.zeros(1, np.uint32))
    message = r"HalfCheetahVel with velocity=1.5 gave the reward nan at step 0: it must be finite"
    with pytest.raises(CollectionError, match=message):
        cheetah.step(np.full((1, 6), np.nan, np.float32), np.ones(1, bool))


@pytest.mark.parametrize(("available", "expected"), [(1, 1), (2, 2), (64, 2)])
def test_a_process_with_one_core_steps_alone(monkeypatch, available, expected):
    monkeypatch.setattr("metazoo.tasks.mujoco.families.cores", lambda: available)
    assert HalfCheetahDir(rows=1).workers == expected


@pytest.mark.parametrize("cls", [HalfCheetahDir, AntDir], ids=lambda cls: cls.name)
def test_directions_turn_the_reward_for_speed_around_and_nothing_else(cls, family):
    (there, _), (back, _) = (play(family(cls), task_of(family(cls), direction=sign), 10) for sign in (1.0, -1.0))
    rewards = np.array([[step[1] for step in play] for play in (there[1:], back[1:])])
    np.testing.assert_array_equal(there[5][0], back[5][0])
    speed = (rewards[0] - rewards[1]) / 2
    assert np.abs(speed).max() > 0.1 and np.all(rewards.mean(0) != speed)


def test_the_ant_is_paid_for_being_near_its_goal(family):
    near, far = (play(family(AntGoal), task_of(family(AntGoal), goal=goal), 5)[0] for goal in (0.0, 2.0))
    for one, other in zip(near[1:], far[1:], strict=True):
        position = one[0][:2]
        costs = -one[1] - np.abs(position).sum()
        assert 0.0 < costs < 1.0  # control and contact
        assert other[1] == pytest.approx(-np.abs(position - 2.0).sum() - costs, abs=1e-4)


def test_goals_and_multipliers_cover_their_ranges(family):
    goals = {split: np.linalg.norm(family(AntGoal).sample(500, split).goal, axis=1) for split in ("train", "ood")}
    assert goals["train"].max() <= 3.0 and 0.2 < np.mean(goals["train"] < 1.5) < 0.3  # a quarter of the disk
    assert goals["ood"].min() >= 3.0 and goals["ood"].max() <= 4.0
    for name, base in (("mass", 1.5), ("inertia", 1.5), ("damping", 1.3), ("friction", 1.5)):
        for split, low, high in (("train", 0.0, 3.0), ("ood", 3.0, 4.0)):
            exponents = np.log(getattr(family(HopperParams).sample(200, split), name)) / np.log(base)
            assert low - 1e-4 <= np.abs(exponents).min() and 0.98 * high < np.abs(exponents).max() <= high + 1e-4
            assert exponents.min() < 0 < exponents.max()


def test_a_body_changes_the_model_and_what_mujoco_derives_and_changes_back(family):
    hopper = family(HopperParams)
    task = task_of(hopper, mass=2.0, inertia=1.5, damping=0.5, friction=3.0)
    original = gym.make("Hopper-v5").unwrapped.model
    play(hopper, task, 2)
    model = hopper._players._rows._models[0]
    for field, factor in (("body_mass", 2), ("body_inertia", 1.5), ("dof_damping", 0.5), ("geom_friction", 3)):
        np.testing.assert_allclose(getattr(model, field), factor * getattr(original, field), rtol=1e-6)
    np.testing.assert_allclose(model.body_subtreemass, 2 * original.body_subtreemass, rtol=1e-6)
    play(hopper, task_of(hopper, **NEUTRAL[HopperParams]), 2)
    np.testing.assert_allclose(model.body_subtreemass, original.body_subtreemass, rtol=1e-12)


def test_a_task_from_the_command_line():
    env = gym_make.make_task({"family": "half_cheetah_dir", "horizon": 5}, {"direction": "-1"})
    env.reset(seed=0)
    assert env.unwrapped.direction == -1.0
    assert [env.step(np.zeros(6, np.float32))[3] for _ in range(5)] == [False] * 4 + [True]
    with pytest.raises(ValueError, match="half_cheetah_dir has no task parameter 'speed'; choose direction."):
        gym_make.make_task({"family": "half_cheetah_dir", "horizon": 5}, {"speed": "2"})
