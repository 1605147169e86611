"""Who knows a cart's physics and its target: the regulator against the physics, and what looking ahead is worth."""

import numpy as np
import tensorflow as tf

from metazoo.tasks.families import cartpole_planning
from metazoo.tasks.families.cartpole import CartPoleGoal, CartPoleState, physics_step
from metazoo.tasks.family import per_episode

FAMILY = CartPoleGoal()
TASKS = FAMILY.sample(24, "test", 5)


def test_the_linear_model_is_the_physics_near_the_upright_cart():
    transition, effect = cartpole_planning._linear(TASKS)
    start = np.array([1e-3, -2e-3, 1e-3, 2e-3], np.float32)
    state = CartPoleState(*(tf.fill([24, 1], value) for value in start))
    for action, push in ((0, -1.0), (1, 1.0)):
        after = physics_step(per_episode(TASKS), state, tf.fill([24, 1], action))
        expected = transition @ start + effect[..., 0] * push
        np.testing.assert_allclose(np.stack(after, -1)[:, 0], expected, atol=2e-6)


def test_the_regulator_holds_every_cart_upright():
    """The closed loop of each cart's linear model dies away."""
    transition, effect = cartpole_planning._linear(TASKS)
    closed = transition - effect @ cartpole_planning.regulator(TASKS)[:, None].astype(np.float64)
    assert np.abs(np.linalg.eigvals(closed)).max() < 1.0


def test_looking_ahead_finds_targets_that_no_policy_of_the_zoo_does():
    """Measured on 2,000 tasks each: see docs/comparison.md."""
    inside, outside = (
        cartpole_planning.planned_returns(FAMILY, FAMILY.sample(60, split, 0)).mean() for split in ("test", "ood")
    )
    assert inside > 158.0 and outside > 90.0


def test_results_do_not_depend_on_what_is_played_side_by_side(monkeypatch):
    family = CartPoleGoal(horizon=20)
    together = cartpole_planning.planned_returns(family, TASKS)
    monkeypatch.setattr(cartpole_planning, "CHUNK", 9)
    np.testing.assert_allclose(cartpole_planning.planned_returns(family, TASKS), together, rtol=1e-6)


def test_the_references_are_of_these_tasks():
    family = CartPoleGoal(horizon=20)
    known = family.references(TASKS)
    assert set(known) == {"best_fixed_position", "model_rollout"}
    assert all(one.returns.shape == (24,) for one in known.values())
    assert "not the optimum" in known["model_rollout"].what
