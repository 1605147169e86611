"""2D navigation to an unknown goal (Finn et al. 2017, section 5.3 and the authors' ``point_env_randgoal``).

A point starts at the origin and moves by its action, clipped to ±0.1 per axis; the reward is minus the distance to the
goal, which no observation shows. An episode ends within 0.01 of the goal on both axes, or after 100 steps. The sparse
variant rewards nothing until the goal is near, in the manner of PEARL's sparse point robot (Rakelly et al. 2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.canvas import ACCENT, BODY, GOAL, HEIGHT, TRAIL, WIDTH, dot
from metazoo.tasks.family import Reference, TaskFamily, Transition
from metazoo.types import Box

STEP_LIMIT = 0.1
GOAL_RADIUS = 0.01


class NavigationTask(NamedTuple):
    """``goal`` position ``[M, 2]``, in the paper's unit of length."""

    goal: Any


class NavigationState(NamedTuple):
    """``position [M, E, 2]``."""

    position: Any


def draw(canvas: Any, task: Mapping[str, Any], trail: Sequence[Any]) -> None:
    """The plane, the goal, and the way from the start."""
    scale, middle = HEIGHT / 1.7, (WIDTH / 2, HEIGHT / 2 + 8)

    def place(point: Any) -> tuple[float, float]:
        return middle[0] + float(point[0]) * scale, middle[1] - float(point[1]) * scale

    canvas.rectangle([*place((-0.5, 0.5)), *place((0.5, -0.5))], outline=TRAIL)
    dot(canvas, place(task["goal"]), 6, GOAL)
    way = [place(position) for (position,) in trail]
    if len(way) > 1:
        canvas.line(way, fill=BODY, width=2, joint="curve")
    dot(canvas, way[-1], 5, ACCENT)


class _NavigationBase(TaskFamily):
    """Goals ~ U[−0.5, 0.5]²; out of range: on the square ring between 0.5 and 0.7."""

    Task: ClassVar[type] = NavigationTask
    hidden: ClassVar[str] = "goal position"
    units: ClassVar[Mapping[str, str]] = {"goal": "the paper's unit of length"}
    action_space = Box((2,), -STEP_LIMIT, STEP_LIMIT)
    drawing = staticmethod(draw)

    def __init__(self, horizon: int = 100, reveal_goal: bool = False):
        self.horizon = horizon
        self.reveal_goal = reveal_goal
        reach = STEP_LIMIT * (horizon + 1)  # one step more than can be made, so that rounding stays inside
        self.observation_space = Box((4,) if reveal_goal else (2,), -reach, reach)

    def sample_task(self, key: tf.Tensor, split: str) -> NavigationTask:
        goal = random.uniform(random.spread(key, 2), -0.5, 0.5)
        if split == "ood":
            # stretch along the rays: max(|x|,|y|), the square's own norm, from [0, 0.5] to [0.5, 0.7]
            norm = tf.reduce_max(tf.abs(goal), -1, keepdims=True)
            goal = goal / tf.maximum(norm, 1e-6) * (0.5 + 0.4 * norm)
        return NavigationTask(goal)

    def reset(self, task: NavigationTask, key: tf.Tensor) -> NavigationState:
        return NavigationState(tf.zeros(tf.concat([tf.shape(key), [2]], 0)))

    def observe(self, task: NavigationTask, state: NavigationState) -> tf.Tensor:
        if not self.reveal_goal:
            return state.position
        return tf.concat([state.position, tf.broadcast_to(task.goal, tf.shape(state.position))], -1)

    @staticmethod
    def _move(task: NavigationTask, state: NavigationState, actions: tf.Tensor) -> tuple[NavigationState, tf.Tensor]:
        """The state after the clipped action, and its offset from the goal ``[M, E, 2]``."""
        position = state.position + tf.clip_by_value(actions, -STEP_LIMIT, STEP_LIMIT)
        return NavigationState(position), position - task.goal


@final
class Navigation(_NavigationBase):
    """Reward: minus the distance to the goal after the step."""

    name: ClassVar[str] = "navigation"
    reveals: ClassVar[tuple[str, str] | None] = ("reveal_goal", "goal")
    reward_unit: ClassVar[str] = "−distance to the goal"
    discount: ClassVar[float | None] = 0.0  # a reward says how far that very step led
    gradient_rates: ClassVar[Mapping[str, float]] = {"fine_tuning": 0.01, "from_scratch": 0.01}
    expert_recipe: ClassVar[Mapping[str, Any]] = {
        "config": {"together": 20, "episodes": 5},
        "network": {"hidden": (32, 32), "initial_scale": 0.1},
    }

    def step(self, task: NavigationTask, state: NavigationState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        state, offset = self._move(task, state, actions)
        reached = tf.reduce_all(tf.abs(offset) < GOAL_RADIUS, -1)
        return Transition(state, -tf.norm(offset, axis=-1), reached)

    def references(self, tasks: NavigationTask) -> dict[str, Reference]:
        """Standing still, and ``optimal_returns``."""
        goals = np.asarray(tasks.goal, np.float64)
        steps = np.where((np.abs(goals) < GOAL_RADIUS).all(-1), 1, self.horizon)
        still = Reference(-steps * np.linalg.norm(goals, axis=-1), "closed form: never leaving the start")
        best = "closed form: full speed along both axes to the known goal; nothing earns more on these tasks"
        return {"standing_still": still, "optimum": Reference(optimal_returns(goals, self.horizon), best)}


@final
class NavigationSparse(_NavigationBase):
    """Reward: 1 − distance within 0.2 of the goal, else 0. Never terminated: an end would take rewards away."""

    name: ClassVar[str] = "navigation_sparse"
    page: ClassVar[str] = "navigation"
    reward_unit: ClassVar[str] = "1 − distance within 0.2 of the goal, else 0"
    REWARD_RADIUS = 0.2

    def step(self, task: NavigationTask, state: NavigationState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        state, offset = self._move(task, state, actions)
        distance = tf.norm(offset, axis=-1)
        reward = tf.where(distance < self.REWARD_RADIUS, 1.0 - distance, 0.0)
        return Transition(state, reward, tf.zeros_like(reward, tf.bool))


def optimal_returns(goals: Any, horizon: int = 100) -> np.ndarray:
    """The largest returns ``[N]`` possible on ``goals [N, 2]`` that are known.

    Axes are clipped one by one, so full speed along each of them until it is level with the goal leaves, after every
    step, the least possible distance along both, and so the least distance, and ends the episode as early as possible.
    Rewards are never positive. A straight line is slower along the shorter axis, and earns less.
    """
    goals = np.abs(np.asarray(goals, np.float64))
    left = np.maximum(goals[None] - STEP_LIMIT * np.arange(1, horizon + 1)[:, None, None], 0.0)
    reached = np.cumsum((left < GOAL_RADIUS).all(-1), axis=0) > 1  # the step that arrives still counts
    return np.where(reached, 0.0, -np.linalg.norm(left, axis=-1)).sum(0)
