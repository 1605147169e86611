"""Episodes as the browser gets them: numbers of four digits, a few episodes of each round, all returns."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.pretrained import Pretrained
from metazoo.tasks.host_family import AnyFamily
from metazoo.types import Box, Episodes

SHOWN: Final = 3
"""Episodes of a round whose every step is sent."""
DIGITS: Final = 4
GRID: Final = 101
"""Points of a regression's curve."""
ACROSS: Final = np.linspace(-0.6, 0.6, 9)
PLANES: Final = ("navigation", "navigation_sparse")

Picture = Callable[[np.ndarray], list[Any]]
"""Observations ``[T + 1, ...]`` of one episode → what is drawn at each step."""


def rounded(values: Any) -> Any:
    """Plain lists, the numbers to four digits, null where they are not finite."""
    array = np.asarray(values)
    if array.dtype.kind in "iub":
        return array.tolist()
    flat = [float(f"{number:.{DIGITS}g}") if np.isfinite(number) else None for number in array.ravel().tolist()]
    return _shaped(flat, array.shape)


def _shaped(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    size = len(flat) // shape[0] if shape[0] else 0
    return [_shaped(flat[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]


def plain(observations: np.ndarray) -> list[Any]:
    """The observations themselves: they are the state of every family in the graph that is drawn."""
    return rounded(observations.reshape(len(observations), -1))


class Shown(NamedTuple):
    """How episodes of one family are told: its picture; whether minus the squared error stands for the return."""

    picture: Picture
    supervised: bool
    horizon: int

    def round(self, played: Episodes) -> dict[str, Any]:
        """All returns, and the first few episodes."""
        fields = rows_of(played)
        few = range(min(SHOWN, fields.mask.shape[1]))
        return {"returns": rounded(self._returns(fields)), "episodes": [self._episode(fields, i) for i in few]}

    def tests(self, before: Episodes, after: Episodes) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both with the same episode shown: that whose gain is nearest to the mean gain."""
        both = rows_of(before), rows_of(after)
        returns = [self._returns(fields) for fields in both]
        gains = returns[1] - returns[0]
        typical = int(np.abs(gains - gains.mean()).argmin())
        told = [
            {"returns": rounded(one), "mean": rounded(one.mean()), "episode": self._episode(fields, typical)}
            for one, fields in zip(returns, both, strict=True)
        ]
        return told[0], told[1]

    def _returns(self, fields: Episodes) -> np.ndarray:
        total = (fields.rewards * fields.mask).sum(0)
        return -total / self.horizon if self.supervised else total

    def _episode(self, fields: Episodes, number: int) -> dict[str, Any]:
        length = int(fields.mask[:, number].sum())
        seen = [fields.observations[:length, number], fields.final_observations[None, number]]
        return {
            "states": self.picture(np.concatenate(seen)),
            "actions": rounded(fields.actions[:length, number]),
            "rewards": rounded(fields.rewards[:length, number]),
        }


def rows_of(played: Episodes) -> Episodes:
    """Time-major numpy fields ``[T, M, E, ...] → [T, M · E, ...]``; final observations have no T."""
    arrays = {name: np.asarray(field) for name, field in played._asdict().items()}
    lead = {name: int(name != "final_observations") for name in arrays}
    return Episodes(
        **{
            name: array.reshape(*array.shape[: lead[name]], -1, *array.shape[lead[name] + 2 :])
            for name, array in arrays.items()
        }
    )


def curves(policy: Pretrained, family: AnyFamily, memories: list[Any]) -> dict[str, Any]:
    """What a regression predicts with each memory, over its whole input space: ``inputs [101]``, ``outputs`` a curve
    each."""
    space = family.observation_space
    assert isinstance(space, Box)
    inputs = np.linspace(np.min(space.low), np.max(space.high), GRID, dtype=np.float32)[:, None]
    outputs = [rounded(_mode(policy, inputs, memory)[:, 0]) for memory in memories]
    return {"inputs": rounded(inputs[:, 0]), "outputs": outputs}


def field(policy: Pretrained, memories: list[Any]) -> dict[str, Any]:
    """Where a policy of the plane would go from each of 81 places, with the first memory and with the last: ``places
    [81, 2]``, ``before`` and ``after [81, 2]``."""
    places = np.stack(np.meshgrid(ACROSS, ACROSS), -1).reshape(-1, 2).astype(np.float32)
    before, after = (rounded(_mode(policy, places, memory)) for memory in (memories[0], memories[-1]))
    return {"places": rounded(places), "before": before, "after": after}


def is_of_the_plane(family: AnyFamily) -> bool:
    """Whether a place is all that a policy of the family sees, and a way what it answers."""
    seen, done = family.observation_space, family.action_space
    return family.name in PLANES and isinstance(done, Box) and seen.shape == done.shape == (2,)


def _mode(policy: Pretrained, observations: np.ndarray, memory: Any) -> np.ndarray:
    """The likeliest actions of one memory for many observations; no policy that remembers."""
    count, one = len(observations), np.asarray(memory).ravel()
    width = policy.metadata["action_space"]["shape"][0]
    return policy.step(
        observations=observations,
        previous_actions=np.zeros((count, width), np.float32),
        previous_rewards=np.zeros(count, np.float32),
        previous_done=np.zeros(count, bool),
        memory=np.broadcast_to(one, (count, one.size)),
        seed=np.zeros(count, np.int32),
        deterministic=np.ones(count, bool),
    )["actions"]
