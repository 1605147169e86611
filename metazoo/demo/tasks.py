"""The demo's tasks, as a user would write them: plain Gymnasium ``CartPole-v1``, other physics, another reward.

Nothing here knows of policies: the target is in the reward alone. The physics and targets lie inside the ranges the
policies are meta-trained on; none of them is a task they were trained on.
"""

from typing import Any, Final, NamedTuple

import gymnasium as gym

HORIZON: Final = 200


class Task(NamedTuple):
    """Where to hold the cart (m), and the physics: masses (kg), half of the pole's length (m), force (N)."""

    target: float
    pole_mass: float
    half_length: float
    cart_mass: float
    force: float


TASKS: Final = {
    "far-left": Task(-1.25, pole_mass=0.15, half_length=0.60, cart_mass=1.1, force=9.0),
    "left": Task(-0.75, pole_mass=0.08, half_length=0.45, cart_mass=0.9, force=10.0),
    "near-left": Task(-0.30, pole_mass=0.22, half_length=0.80, cart_mass=1.3, force=12.0),
    "near-right": Task(0.40, pole_mass=0.12, half_length=0.50, cart_mass=0.8, force=8.0),
    "right": Task(0.85, pole_mass=0.25, half_length=0.70, cart_mass=1.2, force=11.0),
    "far-right": Task(1.30, pole_mass=0.10, half_length=0.55, cart_mass=1.0, force=10.0),
}


class HoldAt(gym.Wrapper):
    """Pays max(0, 1 − |x − target|) for every step on which the pole stays up."""

    def __init__(self, env: gym.Env, target: float):
        super().__init__(env)
        self.target = target

    def step(self, action):
        observation, _, terminated, truncated, info = self.env.step(action)
        reward = 0.0 if terminated else max(0.0, 1.0 - abs(float(observation[0]) - self.target))
        return observation, reward, terminated, truncated, info


def make(task: Task) -> gym.Env:
    """CartPole-v1 with the task's physics and reward."""
    env = gym.make("CartPole-v1", max_episode_steps=HORIZON)
    cart: Any = env.unwrapped
    cart.masspole, cart.length, cart.masscart, cart.force_mag = task[1:]
    cart.total_mass = cart.masspole + cart.masscart  # CartPole computes these two when it is made
    cart.polemass_length = cart.masspole * cart.length
    return HoldAt(env, task.target)
