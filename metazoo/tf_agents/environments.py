"""Task families and Gymnasium environments as TF-Agents environments.

``FamilyEnvironment`` steps many tasks at once in the graph, so that TF-Agents' graph drivers run at full speed;
``GymnasiumEnvironment`` wraps anything that Gymnasium makes, on the host. In both, ``discount`` is 0 after termination
and 1 after truncation, and the step after a ``LAST`` one begins the next episode.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import tensorflow as tf
from tf_agents.environments import py_environment, tf_environment
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from metazoo import axes, random
from metazoo.artefact.answers import AnswerError, read_observation, read_reset, read_step, require_finite
from metazoo.artefact.spaces import clip_to_box, env_name, require_env, to_env_action
from metazoo.tasks.family import TaskFamily, per_episode
from metazoo.tasks.views.gym_view import to_gym_space
from metazoo.tf_agents import specs


def evaluation_keys(tasks: int, seed: int = 0, steps: int = 0, online: bool = False) -> tf.Tensor:
    """The keys ``[tasks]`` of the episodes that ``metazoo evaluate --seed`` plays after so many inner steps.

    With them, with ``family.sample(tasks, split, seed)`` and with as many ``episodes``, a ``FamilyEnvironment`` has the
    same start states and noise. ``online``: of a policy that remembers its steps, which plays one trial a task.
    """
    keys = random.fold(random.fold(random.key(seed), 1), tf.range(tasks))
    return keys if online else random.fold(keys, steps)


@final
class FamilyEnvironment(tf_environment.TFEnvironment):
    """A row for each of ``tasks [M, ...]`` of a family, stepped in the graph: ``batch_size`` is M.

    Episode ``n`` of row ``m`` is the one that ``metazoo.rollouts.graph`` plays as episode ``n`` of a task
    with ``keys[m]``.

    Args:
        family: a family of the graph.
        tasks: of that family, such as ``family.sample(16)``.
        seed: of start states and noise; without effect where ``keys`` are given.
        keys: ``[M]`` uint32, one for each row.
        episodes: how many a row plays after ``reset`` before it rests, which is to stand still and to earn nothing.
            A driver that waits for ``M · episodes`` episodes so gets as many of every task; without a limit, the tasks
            whose episodes are short would count more often.

    Raises:
        ValueError: the family is not one of the graph, ``episodes`` is below 1, or there is not one key for each task.
    """

    def __init__(
        self,
        family: TaskFamily,
        tasks: Any,
        seed: int = 0,
        keys: tf.Tensor | None = None,
        episodes: int | None = None,
    ):
        if not isinstance(family, TaskFamily):
            name = getattr(family, "name", family)
            raise ValueError(f"{name} does not run in the graph; make a GymnasiumEnvironment of its environments.")
        if episodes is not None and episodes < 1:
            raise ValueError(f"episodes is {episodes}; it must be at least 1, or None: no limit.")
        count = len(tf.nest.flatten(tasks)[0])
        keys = random.fold(random.key(seed), tf.range(count)) if keys is None else tf.convert_to_tensor(keys)
        if keys.shape != (count,):
            raise ValueError(f"keys have shape {keys.shape.as_list()}; {count} tasks need {[count]}.")
        seen = tensor_spec.from_spec(specs.observation_spec(to_gym_space(family.observation_space)))
        done = tensor_spec.from_spec(specs.action_spec(to_gym_space(family.action_space)))
        super().__init__(ts.time_step_spec(seen), done, count)
        self.family, self._episodes, self._keys = family, episodes, keys
        self._tasks = tf.nest.map_structure(tf.convert_to_tensor, tasks)
        nothing = tf.zeros(count, tf.int32)
        like = self._begin(nothing)
        self._state = tf.nest.map_structure(_variable, like)
        self._step_type = _variable(nothing + ts.StepType.LAST)  # so that the very first step begins an episode
        self._reward, self._discount = _variable(tf.zeros(count)), _variable(tf.ones(count))
        self._steps = _variable(nothing)
        self._episode, self._played = _variable(nothing - 1), _variable(nothing - 1)  # in all; since the last reset

    def _begin(self, episode: tf.Tensor) -> Any:
        """The start states ``[M, 1, ...]`` of episodes ``[M]``."""
        keys = random.fold(random.fold(self._keys, episode), 0)
        return self.family.reset(per_episode(self._tasks), keys[:, None])

    def _reset(self) -> ts.TimeStep:
        self._played.assign(-tf.ones_like(self._played))
        every = tf.ones(self.batch_size, tf.bool)
        return self._restart(every, self._state, tf.zeros(self.batch_size), self._steps)

    def _step(self, action: tf.Tensor) -> ts.TimeStep:
        over = tf.equal(self._step_type, ts.StepType.LAST)
        rests = tf.zeros_like(over) if self._episodes is None else ~over & (self._played >= self._episodes)
        keys = random.fold(random.fold(self._keys, self._episode), self._steps + 1)
        given = tf.cast(action, self.action_spec().dtype)[:, None]
        state = tf.nest.map_structure(tf.convert_to_tensor, self._state)
        after = self.family.step(per_episode(self._tasks), state, given, random.fold(keys, 1)[:, None])
        steps = tf.where(rests, self._steps, self._steps + 1)
        terminated = after.terminated[:, 0] & ~rests
        last = (terminated | (steps >= self.family.horizon)) & ~rests
        self._step_type.assign(tf.where(last, ts.StepType.LAST, tf.fill(tf.shape(steps), ts.StepType.MID)))
        self._discount.assign(tf.where(terminated & ~over, 0.0, tf.ones_like(self._discount)))
        state = axes.where(~rests, after.state, state)
        return self._restart(over, state, tf.where(rests, 0.0, after.rewards[:, 0]), steps)

    def _restart(self, over: tf.Tensor, state: Any, rewards: tf.Tensor, steps: tf.Tensor) -> ts.TimeStep:
        """Writes what came of a step, and in the rows where ``over [M]`` the beginning of the next episode."""
        self._episode.assign_add(tf.cast(over, tf.int32))
        self._played.assign_add(tf.cast(over, tf.int32))
        fresh = self._begin(self._episode)
        for variable, new, old in zip(*map(tf.nest.flatten, (self._state, fresh, state)), strict=True):
            variable.assign(axes.where(over, new, old))
        self._steps.assign(tf.where(over, 0, steps))
        self._reward.assign(tf.where(over, 0.0, rewards))
        self._discount.assign(tf.where(over, 1.0, self._discount))
        self._step_type.assign(tf.where(over, ts.StepType.FIRST, self._step_type))
        return self._stand()

    def _stand(self) -> ts.TimeStep:
        """The time step that the variables hold."""
        state = tf.nest.map_structure(tf.identity, self._state)
        observation = self.family.observe(per_episode(self._tasks), state)[:, 0]
        return ts.TimeStep(*map(tf.identity, (self._step_type, self._reward, self._discount, observation)))

    def _current_time_step(self) -> ts.TimeStep:
        return tf.cond(tf.reduce_all(self._episode < 0), self._reset, self._stand)


@final
class GymnasiumEnvironment(py_environment.PyEnvironment):
    """A ``gymnasium.Env``, or a ``gymnasium.vector.VectorEnv`` as a batched environment. Wrap it in ``TFPyEnvironment``
    for TF-Agents' graph drivers.

    Args:
        env: such as ``gym.make("metazoo/CartPole-v0", split="test")`` or ``gym.make_vec("CartPole-v1", 16)``.
        seed: given to the first ``reset``.

    Raises:
        ValueError: what is no environment; a vector environment that restarts its episodes within the step that ends
            them, or whose observations are not arrays; an action space that policies cannot have.
    """

    def __init__(self, env: Any, seed: int | None = None):
        self._vector = hasattr(env, "num_envs")
        if not self._vector:
            require_env(env)
        super().__init__(handle_auto_reset=not self._vector)
        self.env, self._seed = env, seed
        self._observation_space = env.single_observation_space if self._vector else env.observation_space
        self._action_space = env.single_action_space if self._vector else env.action_space
        self._specs = specs.observation_spec(self._observation_space), specs.action_spec(self._action_space)
        if self._vector:
            self._check_vector()

    def _check_vector(self) -> None:
        mode = self.env.metadata.get("autoreset_mode")
        if getattr(mode, "name", mode) != "NEXT_STEP":
            raise ValueError(f"the autoreset mode of {self.env} is {mode}; TF-Agents needs AutoresetMode.NEXT_STEP.")
        if not hasattr(self._observation_space, "low"):
            raise ValueError(
                f"the observations of {self.env} are {self._observation_space}; wrap it in gymnasium.wrappers.vector."
                "FlattenObservation, which makes a Box of them."
            )

    @property
    def batched(self) -> bool:
        return self._vector

    @property
    def batch_size(self) -> int | None:
        return self.env.num_envs if self._vector else None

    def observation_spec(self) -> Any:
        return self._specs[0]

    def action_spec(self) -> Any:
        return self._specs[1]

    def _reset(self) -> ts.TimeStep:
        with self._named("at a reset"):
            observation = read_reset(self.env.reset(seed=self._seed))
        self._seed = None
        return ts.restart(self._observed(observation), self.batch_size)

    def _step(self, action: np.ndarray) -> ts.TimeStep:
        if not self._vector:
            with self._named("in a step"):
                return self._alone(*read_step(self.env.step(to_env_action(self._action_space, action))))
        over = self._current_time_step.is_last()
        if hasattr(self._action_space, "low"):
            action = clip_to_box(self._action_space, action)
        observation, reward, terminated, truncated, _ = self.env.step(
            np.array(action, self.env.action_space.dtype).reshape(self.env.action_space.shape)
        )
        kind = np.where(over, ts.StepType.FIRST, np.where(terminated | truncated, ts.StepType.LAST, ts.StepType.MID))
        reward = np.where(over, 0.0, reward)  # what some environments pay for the reset itself is no reward
        discount = np.where(terminated & ~over, 0.0, 1.0)
        seen = self._observed(observation)
        require_finite(np.asarray(reward), f"the reward of {self.env}")
        return ts.TimeStep(kind.astype(np.int32), np.float32(reward), np.float32(discount), seen)

    def _alone(self, observation: Any, reward: Any, terminated: bool, truncated: bool) -> ts.TimeStep:
        seen, reward = self._observed(observation), np.float32(reward)
        if terminated:
            return ts.termination(seen, reward)
        return ts.truncation(seen, reward, np.float32(1.0)) if truncated else ts.transition(seen, reward)

    @contextmanager
    def _named(self, where: str) -> Iterator[None]:
        try:
            yield
        except AnswerError as error:
            raise error.by(env_name(self.env), where) from error

    def _observed(self, observation: Any) -> np.ndarray:
        if not self._vector:
            return read_observation(self._observation_space, observation)
        seen = np.array(observation, self._specs[0].dtype)  # a copy: vector environments reuse theirs
        require_finite(seen, f"the observation of {self.env}")
        return seen

    def render(self, mode: str = "rgb_array") -> Any:
        """What the environment draws in the mode it was made with."""
        return self.env.render()

    def close(self) -> None:
        self.env.close()


def _variable(value: tf.Tensor) -> tf.Variable:
    return tf.Variable(value, trainable=False)
