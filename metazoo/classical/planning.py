"""Finite-horizon planning in many tabular MDPs at once.

``transitions [N, states, actions, states]`` and ``rewards [N, states, actions]``; the result is the value of each
action at each step, ``[horizon, N, states, actions]``, if play is optimal from then on.
"""

import numpy as np


def value_iteration(transitions: np.ndarray, rewards: np.ndarray, horizon: int) -> np.ndarray:
    """Backward induction: Q_h(s, a) = r(s, a) + Σ p(s' | s, a) max Q_{h+1}(s', ·)."""
    return _backward(rewards, horizon, lambda values: _expect(transitions, values))


def optimistic_value_iteration(
    transitions: np.ndarray, rewards: np.ndarray, radius: np.ndarray, horizon: int
) -> np.ndarray:
    """Backward induction with the most favourable transitions within ``radius [N, states, actions]`` in the L1 norm.

    This is the inner maximisation of UCRL2's extended value iteration (Jaksch et al. 2010, figure 2): half the radius
    goes to the best next state, and is taken from the worst ones.
    """

    def expect(values: np.ndarray) -> np.ndarray:
        order = np.argsort(values, 1)  # the worst state first
        sorted_values = np.take_along_axis(values, order, 1)
        p = np.take_along_axis(transitions, order[:, None, None, :], 3)
        added = np.minimum(radius / 2.0, 1.0 - p[..., -1])
        before = np.cumsum(p, -1) - p
        p = p - np.clip(added[..., None] - before, 0.0, p)
        p[..., -1] += added
        return _expect(p, sorted_values)

    return _backward(rewards, horizon, expect)


def _expect(transitions: np.ndarray, values: np.ndarray) -> np.ndarray:
    count, states, actions, _ = transitions.shape
    following = transitions.reshape(count, states * actions, states) @ values[:, :, None]
    return following.reshape(count, states, actions)


def _backward(rewards: np.ndarray, horizon: int, expect) -> np.ndarray:
    """``expect``: values ``[N, states]`` of the next step → what they are worth to each action now."""
    q = np.empty((horizon, *rewards.shape), rewards.dtype)
    q[-1] = rewards
    for h in reversed(range(horizon - 1)):
        q[h] = rewards + expect(q[h + 1].max(-1))
    return q
