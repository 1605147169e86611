"""How much a first inner step on 2D navigation knows: the gradient of the mean action, against where the goal is.

python docs/figures/inner_gradient.py maml_navigation

For each discount γ and GAE λ of the inner advantages: the gradient of the surrogate with respect to a constant added to
the mean action, split into its part along the way to the goal and its part across it, over 50 validation tasks of 20
episodes each. Across is noise alone; along, noise and what the gradient says about the distance.
"""

import sys

import numpy as np
import tensorflow as tf

import metazoo
from metazoo import random
from metazoo.pretrained import family_of
from metazoo.rollouts import returns
from metazoo.rollouts.graph import rollout
from metazoo.types import StepInputs

TASKS, EPISODES = 50, 20
CHOICES = ((0.99, 1.0), (0.99, 0.95), (0.99, 0.9), (0.99, 0.5), (0.95, 1.0), (0.9, 1.0), (0.5, 1.0), (0.0, 1.0))

policy = metazoo.load(sys.argv[1])
agent, family = policy.agent(), family_of(policy.metadata)
tasks = family.sample(TASKS, "validation", 3)
memory = tf.broadcast_to(agent.initial_memory(), [TASKS, 1, policy.memory.size])
keys = random.fold(random.fold(random.key(0), tf.range(TASKS))[:, None], tf.range(EPISODES)[None])


@tf.function(jit_compile=True, autograph=False)
def play():
    """Episodes, and the mean action at each of their steps."""
    episodes = rollout(family, tasks, agent.step, memory, random.key(5), EPISODES)
    zeros, modes = tf.zeros([TASKS, EPISODES]), tf.ones([TASKS, EPISODES], tf.bool)

    def mean_action(observations):
        inputs = StepInputs(observations, tf.zeros_like(observations), zeros, tf.cast(zeros, tf.bool))
        return agent.step(inputs, memory, keys, modes).actions

    return episodes, tf.map_fn(mean_action, episodes.observations)


episodes, means = play()
valid = episodes.mask.numpy()[..., None]
noise = (episodes.actions - means).numpy() * valid
scores = noise / (np.sum(noise**2, (0, 1, 2)) / valid.sum())
goals = tasks.goal.numpy()
distance = np.linalg.norm(goals, axis=1, keepdims=True)
way = goals / distance
spread = np.std(episodes.observations.numpy()[50:], axis=(0, 1, 2)).mean()
print(f"standard deviation of the position after 50 steps: {spread:.2f}; of the goals: {goals.std():.2f}")
print("| γ | λ | along | its deviation | across, deviation | correlation of along with the distance |")
print("|---|---|---|---|---|---|")
for gamma, lam in CHOICES:
    advantages = returns.normalise(returns.advantages(episodes, gamma, lam, family.horizon), episodes.mask, [0, 2])
    gradient = (advantages.numpy()[..., None] * scores).sum((0, 2)) / valid.sum((0, 2))
    along, across = (gradient * way).sum(1), gradient[:, 0] * way[:, 1] - gradient[:, 1] * way[:, 0]
    correlation = np.corrcoef(along, distance[:, 0])[0, 1]
    print(f"| {gamma} | {lam} | {along.mean():.2f} | {along.std():.2f} | {across.std():.2f} | {correlation:.2f} |")
