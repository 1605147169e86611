"""Environments for the tests of host-side families, good and bad; imported by worker processes, so light."""

import os
import time

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Point(gym.Env):
    """Position on a line, moved by the action; reward minus the distance to ``goal``; ends beyond ``wall``.

    The start is drawn from the environment's seeded generator, and so is the noise of every step.
    """

    def __init__(self, wall=2.0, noise=0.0):
        self.observation_space = spaces.Box(-10.0, 10.0, (1,), np.float64)
        self.action_space = spaces.Box(-0.5, 0.5, (1,), np.float32)
        self.wall, self.noise, self.goal = wall, noise, 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.t = self.np_random.uniform(-1.0, 1.0), 0
        return np.array([self.position]), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        self.position += float(action[0]) + self.noise * self.np_random.standard_normal()
        ended = abs(self.position) > self.wall
        return np.array([self.position]), -abs(self.position - self.goal), ended, False, {}


class SetPoint(Point):
    """Its task is set by a method."""

    def set_task(self, task):
        self.goal, self.wall = task["target"], task["wall"]


class Bad(Point):
    """Does ``what`` at its third step if its goal is positive."""

    def __init__(self, what, marker=""):
        super().__init__()
        self.what, self.marker = what, marker

    def step(self, action):
        observation, reward, *rest = super().step(0.0 * action)
        if self.t == 3 and self.goal > 0:
            return self.misbehave(observation, reward, rest)
        return observation, reward, *rest

    def misbehave(self, observation, reward, rest):
        if self.what == "nan":
            return np.array([np.nan]), reward, *rest
        if self.what == "nan reward":
            return observation, float("nan"), *rest
        if self.what == "shape":
            return np.zeros(2), reward, *rest
        if self.what == "no number":
            return observation, "much", *rest
        if self.what == "raise":
            raise RuntimeError("the gripper fell off")
        if self.what == "four values":
            return observation, reward, False, {}
        if self.what == "hang":
            time.sleep(3600)
        if self.what == "die" or (self.what == "die once" and not os.path.exists(self.marker)):
            open(self.marker or os.devnull, "w").close()
            os._exit(7)
        return observation, reward, *rest


class Odd(gym.Env):
    """Any two spaces; observations are samples, the reward the sum of what it was told."""

    def __init__(self, observation_space, action_space, length=4):
        self.observation_space, self.action_space, self.length, self.offset = (
            observation_space,
            action_space,
            length,
            0.0,
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        return self.observation_space.sample(), float(np.sum(action)) + self.offset, False, self.t == self.length, {}


class UnloadableElsewhere:
    """Can be pickled, and not unpickled."""

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise RuntimeError("not here")
