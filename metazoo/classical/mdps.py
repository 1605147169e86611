"""Classical algorithms for random tabular MDPs, on many instances at once.

Each plans once an episode, from the posterior over MDPs: it scores every action in every state at every step of the
coming episode, and the action with the largest score is taken. As in RL² (Duan et al. 2016, arXiv 1611.02779, section
3.2). ``Replanned`` ones plan anew at every step, with what the steps before showed.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.classical import draws
from metazoo.classical.planning import optimistic_value_iteration, value_iteration
from metazoo.tasks.families.tabular_mdp import TabularMDP, TabularMDPState, TabularMDPTask
from metazoo.tasks.family import per_episode


class Prior(NamedTuple):
    """Transition rows ~ Dirichlet(``dirichlet``, …), mean rewards ~ N(``mean``, 1 / ``precision``), noise N(0, 1)."""

    mean: float
    precision: float
    dirichlet: float


TRUE_PRIOR = Prior(1.0, 1.0, 1.0)
"""The distribution that training and test tasks come from."""
ZERO_PRIOR = Prior(0.0, 1.0, 1.0)
"""Rewards ~ N(0, 1), the default of github.com/iosband/TabulaRL; with it RL²'s columns of PSRL, OPSRL and BEB agree."""
FLAT_PRIOR = Prior(0.0, 1e-4, 1e-4)
"""Next to no prior: empirical means, as TabulaRL gives its ε-greedy. For algorithms that do not sample."""


class Posterior(NamedTuple):
    """What an algorithm knows when it plans."""

    moves: np.ndarray
    """Times that a transition was seen, ``[N, states, actions, states]`` float32."""
    rewards: np.ndarray
    """Sum of the rewards, ``[N, states, actions]`` float32."""
    steps: int
    """Steps played so far."""
    horizon: int
    """Steps to plan for: those left of the episode."""
    key: tf.Tensor
    """Keys ``[N]`` for the algorithm's own draws."""
    prior: Prior = TRUE_PRIOR

    @property
    def visits(self) -> np.ndarray:
        """``[N, states, actions]``."""
        return self.moves.sum(-1)

    @property
    def dirichlet(self) -> np.ndarray:
        """Parameters of the posterior of the transition rows, ``[N, states, actions, states]``."""
        return self.moves + np.float32(self.prior.dirichlet)

    @property
    def mean_transitions(self) -> np.ndarray:
        """Of the posterior."""
        return self.dirichlet / self.dirichlet.sum(-1, keepdims=True)

    @property
    def precision(self) -> np.ndarray:
        """One over the variance of the posterior of the mean rewards, ``[N, states, actions]``."""
        return self.visits + np.float32(self.prior.precision)

    @property
    def mean_rewards(self) -> np.ndarray:
        """Of the posterior."""
        return (self.rewards + np.float32(self.prior.mean * self.prior.precision)) / self.precision

    def keys(self, purpose: int, *shape: int) -> tf.Tensor:
        """Keys ``[N, *shape]``."""
        return random.spread(random.fold(self.key, purpose), *shape)


Algorithm = Callable[[Posterior], np.ndarray]
"""Scores ``[horizon, N, states, actions]``."""


def uniformly_random(known: Posterior) -> np.ndarray:
    """Every action with equal probability."""
    draw = random.uniform(known.keys(0, known.horizon, *known.rewards.shape[1:])).numpy()
    return draw.swapaxes(0, 1)


def greedy(known: Posterior) -> np.ndarray:
    """Optimal in the mean of the posterior."""
    return value_iteration(known.mean_transitions, known.mean_rewards, known.horizon)


def psrl(known: Posterior) -> np.ndarray:
    """Posterior sampling (Strens 2000; Osband, Russo and Van Roy 2013): optimal in an MDP drawn from the posterior."""
    return _optimal_in_draw(known, 0)


@dataclass(frozen=True)
class OPSRL:
    """Optimistic posterior sampling: the largest value of each action in several MDPs drawn from the posterior.

    This is ``OptimisticPSRL`` of the code by Osband and Van Roy (github.com/iosband/TabulaRL).
    """

    samples: int

    def __call__(self, known: Posterior) -> np.ndarray:
        scores = _optimal_in_draw(known, 0)
        for sample in range(1, self.samples):
            np.maximum(scores, _optimal_in_draw(known, sample), out=scores)
        return scores


@dataclass(frozen=True)
class UCRL2:
    """Optimal in the most favourable MDP within confidence bounds (Jaksch, Ortner and Auer 2010).

    The bounds are the paper's, for δ = 0.05, times ``scale``, around empirical means; without data these are rewards
    of 0 and uniform transitions. It plans for the finite horizon, once an episode.
    """

    scale: float

    def __call__(self, known: Posterior) -> np.ndarray:
        states, actions = known.rewards.shape[1:]
        visits = known.visits
        seen = np.maximum(visits, 1.0)
        time = known.steps + 1
        reward_bound = np.sqrt(3.5 * np.log(2.0 * states * actions * time / 0.05) / seen)
        move_bound = np.sqrt(14.0 * states * np.log(2.0 * actions * time / 0.05) / seen)
        empirical = np.where(visits[..., None] > 0.0, known.moves / seen[..., None], np.float32(1.0 / states))
        rewards = known.rewards / seen + np.float32(self.scale) * reward_bound
        return optimistic_value_iteration(empirical, rewards, np.float32(self.scale) * move_bound, known.horizon)


@dataclass(frozen=True)
class BEB:
    """Optimal in the mean of the posterior with the bonus β / (1 + n) on rewards (Kolter and Ng 2009).

    n is the sum of the Dirichlet parameters of a state and action: its visits, and the prior's pseudo-observations.
    Without ``pseudo`` n is the visits alone, so that the bonus falls faster.
    """

    beta: float
    pseudo: bool = True

    def __call__(self, known: Posterior) -> np.ndarray:
        seen = known.dirichlet.sum(-1) if self.pseudo else known.visits
        bonus = np.float32(self.beta) / (1.0 + seen)
        return value_iteration(known.mean_transitions, known.mean_rewards + bonus, known.horizon)


@dataclass(frozen=True)
class EpsilonGreedy:
    """Any action with probability ``epsilon``, otherwise as ``greedy``."""

    epsilon: float

    def __call__(self, known: Posterior) -> np.ndarray:
        explore = random.bernoulli(known.keys(1, known.horizon, known.rewards.shape[1]), self.epsilon).numpy()
        return np.where(explore.swapaxes(0, 1)[..., None], uniformly_random(known), greedy(known))


@dataclass(frozen=True)
class Replanned:
    """An algorithm that plans at every step, for the steps that are left of the episode, instead of once an episode."""

    planner: Algorithm

    def __call__(self, known: Posterior) -> np.ndarray:
        return self.planner(known)


def _optimal_in_draw(known: Posterior, sample: int) -> np.ndarray:
    shape = known.rewards.shape[1:]
    transitions = draws.dirichlet(known.keys(2 * sample, *shape), known.dirichlet)
    noise = random.normal(known.keys(2 * sample + 1, *shape)).numpy()
    return value_iteration(transitions, known.mean_rewards + noise / np.sqrt(known.precision), known.horizon)


def play_mdp(
    algorithm: Algorithm,
    tasks: TabularMDPTask,
    episodes: int,
    seed: int = 0,
    horizon: int = 10,
    prior: Prior = TRUE_PRIOR,
) -> np.ndarray:
    """Play ``episodes`` episodes of ``horizon`` steps in each MDP.

    The j-th outcome of an action in a state is the same whenever it is met and whoever meets it, so algorithms are
    compared on common random numbers; and what happens to instance i depends on its MDP, on i and on ``seed`` only.

    Returns:
        The return of each episode ``[N, episodes]``, float32.

    Raises:
        ValueError: no episodes or no steps.
    """
    for what, value in (("episodes", episodes), ("horizon", horizon)):
        if value < 1:
            raise ValueError(f"{what} is {value}; it must be at least 1.")
    count, states, actions = tasks.rewards.shape
    step = _stepper(states, actions)
    on_device = TabularMDPTask(*(tf.convert_to_tensor(field) for field in tasks))
    rows = np.arange(count)
    world = random.spread(random.spread(random.fold(random.key(seed), 0), count), states, actions).numpy()
    own = random.spread(random.fold(random.key(seed), 1), count)
    ties = random.spread(random.fold(random.key(seed), 2), count)
    moves = np.zeros((count, states, actions, states), np.float32)
    visits = np.zeros((count, states, actions), np.int32)
    rewards = np.zeros((count, states, actions), np.float32)
    returns = np.zeros((count, episodes), np.float32)
    for episode in range(episodes):
        key, tie = random.fold(own, episode), random.fold(ties, episode)
        state, scores = np.zeros(count, np.int32), deque[np.ndarray]()
        for h in range(horizon):
            if h == 0 or isinstance(algorithm, Replanned):
                drawn = random.fold(key, h) if h else key
                scores = deque(algorithm(Posterior(moves, rewards, episode * horizon + h, horizon - h, drawn, prior)))
            action = _largest(scores.popleft()[rows, state], random.fold(tie, h))
            at = rows, state, action
            reward, following = (part.numpy() for part in step(on_device, state, action, world[at], visits[at]))
            moves[*at, following] += 1.0
            visits[at] += 1
            rewards[at] += reward
            returns[:, episode] += reward
            state = following
    return returns


def _largest(scores: np.ndarray, key: tf.Tensor) -> np.ndarray:
    """The action with the largest score, ``[N]`` int32; among equal ones (to rounding) any, drawn from ``key [N]``.

    Within an episode the scores stay, so taking the first of equal ones would repeat it in a state met again.
    """
    equal = scores >= scores.max(1, keepdims=True) - 1e-4
    order = random.uniform(random.spread(key, scores.shape[1])).numpy()
    return np.where(equal, order, -1.0).argmax(1).astype(np.int32)


@cache
def _stepper(states: int, actions: int) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """The family's own step, compiled: tasks, states, actions, keys of these pairs, their visits → rewards, states."""
    family = TabularMDP(states, actions)

    @tf.function(jit_compile=True, autograph=False)
    def step(tasks, state, action, key, visits):
        task, key = per_episode(tasks), random.fold(key, visits)[:, None]
        after = family.step(task, TabularMDPState(state[:, None]), action[:, None], key)
        return after.rewards[:, 0], after.state.number[:, 0]

    return step
