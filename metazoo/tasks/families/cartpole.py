"""CartPole with unknown physics, and CartPole with a hidden target position.

Equations, integrator (explicit Euler) and thresholds are those of Gymnasium's ``CartPole-v1`` (after Barto, Sutton and
Anderson 1983); the physics are the task.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.canvas import ACCENT, BODY, GOAL, HEIGHT, TRAIL, WIDTH
from metazoo.tasks.family import Range, Reference, TaskFamily, Transition
from metazoo.types import Box, Discrete

TIME_STEP = 0.02
POSITION_LIMIT = 2.4
ANGLE_LIMIT = 12 * 2 * math.pi / 360
_FLOAT_MAX = 3.4028234663852886e38
"""Stands for an unbounded velocity: Gymnasium's ``check_env`` warns of infinite bounds."""
REACTIVE = """**Is adapting needed here at all?** Half of the motors are reversed, but the cart's first motion reveals
which way its motor pushes, and the next observation shows that motion. So a single reactive policy can solve most of
this family without adapting, and the domain-randomised policy of the same size may do well: compare its row above
before crediting meta-learning. In `cartpole_goal` and `navigation` no observation shows the goal, and adapting cannot
be avoided."""


class CartPoleTask(NamedTuple):
    """Physics of one cart: pole mass (kg), half of the pole's length (m), force (N, negative: the motor is reversed),
    gravity (m/s²), cart mass (kg). Each ``[M]``."""

    pole_mass: Any
    half_length: Any
    force: Any
    gravity: Any
    cart_mass: Any


class CartPoleGoalTask(NamedTuple):
    """``CartPoleTask`` with positive force, and the hidden ``target`` position (m)."""

    pole_mass: Any
    half_length: Any
    force: Any
    gravity: Any
    cart_mass: Any
    target: Any


class CartPoleState(NamedTuple):
    """Position (m), velocity (m/s), pole angle from the vertical (rad), angular velocity (rad/s). Each ``[M, E]``."""

    position: Any
    velocity: Any
    angle: Any
    angular_velocity: Any


RANGES = {
    "pole_mass": Range((0.05, 0.3), ((0.3, 0.6),)),
    "half_length": Range((0.3, 1.0), ((1.0, 1.5),)),
    "force": Range((6.0, 14.0), ((4.0, 6.0), (14.0, 18.0))),
    "gravity": Range((8.0, 11.0), ((6.0, 8.0), (11.0, 14.0))),
    "cart_mass": Range((0.7, 1.5), ((1.5, 2.5),)),
}


def physics_step(task: Any, state: CartPoleState, actions: tf.Tensor) -> CartPoleState:
    """Gymnasium's CartPole-v1 step; action 1 pushes with ``+force``, action 0 with ``-force``."""
    force = tf.where(actions == 1, task.force, -task.force)
    cosine, sine = tf.cos(state.angle), tf.sin(state.angle)
    total_mass = task.pole_mass + task.cart_mass
    mass_length = task.pole_mass * task.half_length
    temp = (force + mass_length * tf.square(state.angular_velocity) * sine) / total_mass
    angular_acceleration = (task.gravity * sine - cosine * temp) / (
        task.half_length * (4.0 / 3.0 - task.pole_mass * tf.square(cosine) / total_mass)
    )
    acceleration = temp - mass_length * angular_acceleration * cosine / total_mass
    return CartPoleState(
        state.position + TIME_STEP * state.velocity,
        state.velocity + TIME_STEP * acceleration,
        state.angle + TIME_STEP * state.angular_velocity,
        state.angular_velocity + TIME_STEP * angular_acceleration,
    )


def has_fallen(state: CartPoleState) -> tf.Tensor:
    """Whether the cart left the track or the pole leans more than 12 degrees."""
    return (tf.abs(state.position) > POSITION_LIMIT) | (tf.abs(state.angle) > ANGLE_LIMIT)


def draw(canvas: Any, task: Mapping[str, Any], trail: Sequence[Any]) -> None:
    """The cart on its track, its pole, and a hidden target if there is one."""
    (position, _, angle, _), scale = trail[-1], WIDTH / 5.2
    ground, cart = HEIGHT * 0.75, WIDTH / 2 + position * scale
    canvas.line([(0, ground), (WIDTH, ground)], fill=TRAIL, width=2)
    if "target" in task:
        at = WIDTH / 2 + task["target"] * scale
        canvas.line([(at, ground), (at, ground + 24)], fill=GOAL, width=4)
    canvas.rounded_rectangle([cart - 22, ground - 12, cart + 22, ground + 4], 4, fill=BODY)
    length = 2 * task["half_length"] * scale
    tip = cart + length * math.sin(angle), ground - 10 - length * math.cos(angle)
    canvas.line([(cart, ground - 10), tip], fill=ACCENT, width=6)


class _CartPoleBase(TaskFamily):
    """Spaces, start states and observations that both families share."""

    observation_space = Box(
        (4,),
        (-2 * POSITION_LIMIT, -_FLOAT_MAX, -2 * ANGLE_LIMIT, -_FLOAT_MAX),
        (2 * POSITION_LIMIT, _FLOAT_MAX, 2 * ANGLE_LIMIT, _FLOAT_MAX),
    )
    action_space = Discrete(2)
    horizon = 200
    original: str = "CartPole-v1"
    drawn: ClassVar[Mapping[str, str] | None] = {"length": "half_length"}
    drawing = staticmethod(draw)
    ranges: ClassVar[Mapping[str, Range]] = RANGES
    nominal: ClassVar[Mapping[str, float]] = {
        "pole_mass": 0.1,
        "half_length": 0.5,
        "force": 10.0,
        "gravity": 9.8,
        "cart_mass": 1.0,
    }
    units: ClassVar[Mapping[str, str]] = {
        "pole_mass": "kg",
        "half_length": "m",
        "force": "N",
        "gravity": "m/s²",
        "cart_mass": "kg",
        "target": "m",
    }

    def reset(self, task: Any, key: tf.Tensor) -> CartPoleState:
        """Each coordinate ~ U[−0.05, 0.05], as in Gymnasium."""
        return CartPoleState(*tf.unstack(random.uniform(random.spread(key, 4), -0.05, 0.05), axis=-1))

    def observe(self, task: Any, state: CartPoleState) -> tf.Tensor:
        return tf.stack(state, axis=-1)


@final
class CartPole(_CartPoleBase):
    """Balance a pole whose physics, and the sign of whose motor, are unknown: reward 1 per step while it is up."""

    name: ClassVar[str] = "cartpole"
    hidden: ClassVar[str] = "masses, length, gravity, motor strength and sign"
    caveat: ClassVar[str] = REACTIVE
    long_horizon: ClassVar[int | None] = 500
    gradient_rates: ClassVar[Mapping[str, float]] = {"fine_tuning": 0.03, "from_scratch": 1.0}
    reward_unit: ClassVar[str] = "1 a step upright"
    Task: ClassVar[type] = CartPoleTask

    def __init__(self, horizon: int = 200):
        self.horizon = horizon

    def sample_task(self, key: tf.Tensor, split: str) -> CartPoleTask:
        keys = tf.unstack(random.spread(key, len(RANGES) + 1), axis=-1)
        task = CartPoleTask(**{name: RANGES[name].sample(k, split) for name, k in zip(RANGES, keys, strict=False)})
        return task._replace(force=tf.where(random.bernoulli(keys[-1], 0.5), -task.force, task.force))

    def step(self, task: CartPoleTask, state: CartPoleState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        state = physics_step(task, state, actions)
        return Transition(state, tf.ones_like(state.position), has_fallen(state))

    def references(self, tasks: CartPoleTask) -> dict[str, Reference]:
        """``cartpole_planning``'s regulator: the horizon, which no return exceeds, wherever it has been tried."""
        from metazoo.tasks.families.cartpole_planning import balanced_returns  # it plays this family

        what = "a linear regulator that knows the physics and the motor; no return exceeds the horizon"
        return {"regulator": Reference(balanced_returns(self, tasks), what)}


@final
class CartPoleGoal(_CartPoleBase):
    """Balance the pole close to a target that no observation shows: reward max(0, 1−|x−x*|), x after the step.

    The step at which the pole falls earns nothing. ``reveal_target`` appends x* to the observation.
    """

    name: ClassVar[str] = "cartpole_goal"
    hidden: ClassVar[str] = "target position, and the physics"
    reveals: ClassVar[tuple[str, str] | None] = ("reveal_target", "target")
    reward_unit: ClassVar[str] = "1 − distance to the target in m, at least 0"
    Task: ClassVar[type] = CartPoleGoalTask
    ranges: ClassVar[Mapping[str, Range]] = RANGES | {"target": Range((-1.5, 1.5), ((-1.9, -1.5), (1.5, 1.9)))}
    gradient_rates: ClassVar[Mapping[str, float]] = {"fine_tuning": 0.3, "from_scratch": 3.0}
    # Alone, an expert whose target is more than a metre away would never meet a reward.
    expert_recipe: ClassVar[Mapping[str, Any]] = {"config": {"together": 200, "entropy": 0.02}, "updates": 600}

    def __init__(self, horizon: int = 200, reveal_target: bool = False):
        self.horizon = horizon
        self.reveal_target = reveal_target
        if reveal_target:
            low, high = _CartPoleBase.observation_space[1:3]
            self.observation_space = Box((5,), (*low, -POSITION_LIMIT), (*high, POSITION_LIMIT))

    def sample_task(self, key: tf.Tensor, split: str) -> CartPoleGoalTask:
        keys = tf.unstack(random.spread(key, len(self.ranges)), axis=-1)
        drawn = zip(self.ranges.items(), keys, strict=True)
        return CartPoleGoalTask(**{name: r.sample(k, split) for (name, r), k in drawn})

    def observe(self, task: CartPoleGoalTask, state: CartPoleState) -> tf.Tensor:
        if not self.reveal_target:
            return super().observe(task, state)
        return tf.stack([*state, tf.broadcast_to(task.target, tf.shape(state.position))], axis=-1)

    def step(self, task: CartPoleGoalTask, state: CartPoleState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        state = physics_step(task, state, actions)
        fallen = has_fallen(state)
        near = tf.maximum(0.0, 1.0 - tf.abs(state.position - task.target))
        return Transition(state, tf.where(fallen, 0.0, near), fallen)

    def references(self, tasks: CartPoleGoalTask) -> dict[str, Reference]:
        """The best fixed position, and ``cartpole_planning``, which knows the task: no upper bound, but out of range
        far above what any policy finds."""
        from metazoo.tasks.families.cartpole_planning import planned_returns  # it plays this family

        position, _ = best_fixed_position(tasks.target, self.horizon)
        fixed = self.horizon * np.maximum(0.0, 1.0 - np.abs(position - np.asarray(tasks.target, np.float64)))
        bound = "closed form: the best constant position, the bound for a policy that does not adapt"
        model = "a controller that knows physics and target and looks ahead in the model: good, not the optimum"
        return {
            "best_fixed_position": Reference(fixed, bound),
            "model_rollout": Reference(planned_returns(self, tasks), model),
        }


def best_fixed_position(targets, horizon: int = 200) -> tuple[float, float]:
    """The non-adaptive bound on given targets ``[N]`` (m): (position, mean return) of the best constant position.

    A cart that stood at x from the first step on would earn ``horizon · mean(max(0, 1−|x−x*|))``. The mean is
    piecewise linear in x and only concave where x is one of the targets, so its maximum lies on one of them.
    """
    targets = np.asarray(targets, np.float64).reshape(-1)
    returns = np.maximum(0.0, 1.0 - np.abs(targets[:, None] - targets[None])).mean(1) * horizon
    best = int(np.argmax(returns))
    return float(targets[best]), float(returns[best])
