"""Models of dynamics as families: sets are what the world does, for pendulums by the equations written out again."""

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random
from metazoo.rollouts import supervised
from metazoo.rollouts.agent import random_agent
from metazoo.tasks.dynamics import exploring, half_cheetah, recorded
from metazoo.tasks.dynamics.families import CartPoleDynamics, PendulumDynamics
from metazoo.tasks.dynamics.half_cheetah import HalfCheetahDynamics
from metazoo.tasks.dynamics.modelled import BIT, ModelledWorld
from metazoo.tasks.families.cartpole import CartPole
from metazoo.tasks.families.pendulum import Pendulum
from metazoo.tasks.family import per_episode

TASKS = 3


@pytest.fixture(scope="module")
def pendulums():
    family = PendulumDynamics(seen=12, asked=8)
    tasks = family.sample(TASKS, "test")
    return family, tasks, family.sets(tasks, random.spread(random.key(1), TASKS))


def test_sets_hold_as_many_transitions_as_were_asked_for(pendulums):
    family, _, (support, query) = pendulums
    assert support.observations.shape == (12, TASKS, 1, 4) and query.actions.shape == (8, TASKS, 1, 3)
    assert family.set_sizes() == (12, 8) and supervised.examples(family, 2) == 20


def test_a_pendulum_changes_by_its_equations(pendulums):
    family, tasks, sets = pendulums
    gravity, mass, length = (np.asarray(field)[None] for field in tasks)
    for one in sets:
        cosine, sine, speed, torque = np.moveaxis(one.observations.numpy()[:, :, 0], -1, 0)
        angle = np.arctan2(sine, cosine)
        pull, push = 3 * gravity / (2 * length) * np.sin(angle), 3 / (mass * length**2) * torque
        moved = np.clip(speed + 0.05 * (pull + push), -8, 8)
        turned = angle + 0.05 * moved
        right = np.stack([np.cos(turned) - cosine, np.sin(turned) - sine, moved - speed], -1) / family.change
        np.testing.assert_allclose(one.actions.numpy()[:, :, 0], right, atol=2e-4)


def test_an_episode_s_transitions_follow_one_another_and_another_s_do_not(pendulums):
    family, _, (support, query) = pendulums
    shown, changes = support.observations.numpy()[:, :, 0], support.actions.numpy()[:, :, 0]
    np.testing.assert_allclose(shown[:-1, :, :3] + changes[:-1] * family.change, shown[1:, :, :3], atol=1e-5)
    assert np.abs(shown[0] - query.observations.numpy()[0, :, 0]).max() > 0.1


def test_a_cart_that_falls_begins_anew_and_actions_are_held():
    world = CartPole()
    told = exploring.explore(world, per_episode(world.sample(20)), random.spread(random.key(0), 20)[:, None], 200)
    seen, next_seen = (field.numpy()[:, :, 0] for field in (told.observations, told.following))
    fallen = np.abs(next_seen[:-1, :, 2]) > 0.2095
    assert fallen.sum() > 50 and np.all(np.abs(seen[1:][fallen]) <= 0.05)
    np.testing.assert_array_equal(seen[1:][~fallen], next_seen[:-1][~fallen])
    actions = told.actions.numpy()[:, :, 0]
    same = (actions[1:] == actions[:-1])[~fallen].mean()
    assert same == pytest.approx(exploring.HOLD + (1 - exploring.HOLD) / 2, abs=0.03)


def test_the_usual_change_is_about_one():
    for family in (PendulumDynamics(), CartPoleDynamics()):
        support, _ = family.sets(family.sample(200), random.spread(random.key(2), 200))
        sizes = np.sqrt(np.mean(support.actions.numpy() ** 2, (0, 1, 2)))
        assert np.all((sizes > 0.6) & (sizes < 1.5)), sizes


def test_actions_are_told_as_numbers():
    space = CartPole().action_space
    np.testing.assert_array_equal(exploring.encoded(space, tf.constant([0, 1])), [[-1.0], [1.0]])
    np.testing.assert_array_equal(exploring.encoded(space._replace(n=3, start=1), tf.constant([3])), [[0, 0, 1]])
    np.testing.assert_array_equal(exploring.encoded(Pendulum().action_space, tf.constant([[5.0]])), [[2.0]])


def test_the_score_is_the_mean_log_likelihood_of_what_happened(pendulums):
    """Of a standard normal, whatever is asked."""
    family, _, (_, query) = pendulums
    score = supervised.score(family, query, random_agent(family).step, tf.zeros((TASKS, 1, 0)), random.key(0))
    right = query.actions.numpy()[:, :, 0]
    np.testing.assert_allclose(score, (-0.5 * right**2 - 0.5 * np.log(2 * np.pi)).sum(-1).mean(0), rtol=1e-5)


@pytest.mark.parametrize("counts", [{"seen": 0}, {"asked": -1}])
def test_sets_of_nothing_are_refused(counts):
    (name, number), *_ = counts.items()
    with pytest.raises(ValueError, match=f"{name} is {number}; it must be at least 1"):
        PendulumDynamics(**counts)


def test_a_planner_s_world_holds_rewards_and_few_or_many_transitions():
    world = ModelledWorld(Pendulum(), seen=6, asked=2 * BIT)
    tasks = world.sample(40)
    support, query = world.sets(tasks, random.spread(random.key(3), 40))
    known = support.mask.numpy()[:, :, 0].sum(0)
    assert set(known) == set(range(7)) and query.actions.shape == (2 * BIT, 40, 1, 4)
    cosine, sine, speed, torque = np.moveaxis(query.observations.numpy()[:, :, 0], -1, 0)
    cost = np.arctan2(sine, cosine) ** 2 + 0.1 * speed**2 + 0.001 * torque**2
    np.testing.assert_allclose(query.actions.numpy()[:, :, 0, 3] * world.change[3], -cost, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="asked is 15; it must be divided by 10"):
        ModelledWorld(Pendulum(), asked=15)


def made_up_recording(seed=0):
    rng, bodies = np.random.default_rng(seed), sum(recorded.BODIES.values())
    shape = (bodies, recorded.EPISODES, recorded.STEPS)
    sizes = (17, 6, 17)
    return recorded.Recorded(
        rng.uniform(0.5, 2.0, (bodies, 3)).astype(np.float32),
        *(rng.standard_normal((*shape, size)).astype(np.float32) for size in sizes),
    )


def test_recorded_bodies_keep_to_their_split_and_sets_to_their_episode(monkeypatch):
    made = made_up_recording()
    monkeypatch.setattr(recorded, "recorded", lambda: made)
    family = HalfCheetahDynamics(seen=20, asked=10)
    first = 0
    for split, count in recorded.BODIES.items():
        tasks = family.sample(300, split)
        bodies = tasks.body.numpy().astype(int)
        assert bodies.min() >= first and bodies.max() < first + count
        np.testing.assert_array_equal(np.stack(tasks[1:], -1), made.bodies[bodies])
        first += count
    tasks = family.sample(30, "test")
    places = []
    for one in family.sets(tasks, random.spread(random.key(4), 30)):
        steps = one.mask.shape[0]
        for m, body in enumerate(tasks.body.numpy().astype(int)):
            shown = one.observations.numpy()[:, m, 0]
            (episode,) = [k for k in range(3) if np.array_equal(made.observations[body, k, :steps], shown[:, :17])]
            np.testing.assert_array_equal(made.actions[body, episode, :steps], shown[:, 17:])
            change = (made.following - made.observations)[body, episode, :steps] / half_cheetah.CHANGE
            np.testing.assert_allclose(one.actions.numpy()[:, m, 0], change, rtol=1e-5)
            places.append(episode)
    assert all(support != query for support, query in zip(places[:30], places[30:], strict=True))
    with pytest.raises(ValueError, match="seen and asked are 51 and 50; they must be at most 50"):
        HalfCheetahDynamics(seen=51)


def test_a_recording_that_was_changed_is_refused(tmp_path):
    made = made_up_recording()
    recorded.write(made, tmp_path / "kept.npz")
    assert recorded.read(tmp_path / "kept.npz").checksum() == made.checksum()
    np.savez(tmp_path / "kept.npz", checksum=made.checksum(), **made._replace(bodies=made.bodies + 1)._asdict())
    with pytest.raises(ValueError, match="was changed: its checksum does not fit"):
        recorded.read(tmp_path / "kept.npz")
    (tmp_path / "kept.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="holds no transitions"):
        recorded.read(tmp_path / "kept.npz")


@pytest.mark.mujoco
def test_recorded_transitions_are_mujoco_s():
    made = recorded.record(bodies=2)
    assert made.checksum() == recorded.record(bodies=2).checksum()
    assert made.observations.shape == (2, recorded.EPISODES, recorded.STEPS, 17)
    np.testing.assert_array_equal(made.following[:, :, :-1], made.observations[:, :, 1:])
    from metazoo.tasks.mujoco.cheetah_envs import HalfCheetahBody

    env, rng = HalfCheetahBody(), np.random.default_rng(0)
    factors = 2.0 ** rng.uniform(-1.0, 1.0, (2, 3))
    env.set_task(dict(zip(recorded.FACTORS, factors[0], strict=True)))
    env.reset(seed=int(rng.integers(2**31)))
    for action, right in zip(made.actions[0, 0, :10], made.following[0, 0, :10], strict=True):  # later it is chaos
        np.testing.assert_allclose(env.step(action.astype(np.float64))[0], right, rtol=1e-3, atol=1e-3)
