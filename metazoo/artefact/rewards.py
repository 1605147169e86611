"""Whether rewards are of the unit that a policy was trained with.

A policy that is told its rewards, or learns from them, knows them on one scale. On another it goes on playing, badly,
and nothing fails. So a policy's metadata says what training saw (``rewards``: ``unit``; ``low`` and ``high`` of a step;
``largest``, between which two the largest absolute reward of a task's play lies), and this compares: rewards far
outside the range, or rewards of which even the largest is far too small. Zero says nothing of a scale.
"""

import sys
import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

MARGIN: Final = 0.25
"""So far beyond the range of training a reward may lie, as a part of that range (with zero in it)."""
OTHER_SIGN: Final = 0.02
"""And so far into a sign that training never saw."""
TOO_SMALL: Final = 0.2
"""The largest reward is far too small below this part of the smallest that training saw as the largest of a task."""
OURS: Final = ("metazoo", "serving")


class RewardWarning(UserWarning):
    """Rewards lie far outside what training saw."""


def doubts(rewards: Any, mask: Any, metadata: Mapping[str, Any]) -> str | None:
    """What is wrong with recorded rewards ``[..., K, T]`` of ``K`` episodes, in a sentence; None if nothing is, or the
    policy does not know its own.

    Rewards that are too small are looked for in as many episodes as a task's were in training: fewer may show little.
    """
    known, played = metadata.get("rewards"), np.asarray(mask, bool)
    recorded = np.asarray(rewards, np.float64)[played]
    if known is None or not recorded.size:
        return None
    low, high = float(recorded.min()), float(recorded.max())
    largest, enough = max(abs(low), abs(high)), played.any(-1).sum() >= metadata["adapt"]["episodes"]
    outside = low < -_limit(-known["low"], -known["high"]) or high > _limit(known["high"], known["low"])
    if not outside and not (enough and 0 < largest < TOO_SMALL * known["largest"][0]):
        return None
    unit = f" ({known['unit']})" if known["unit"] else ""
    least = "" if outside else f", and {known['largest'][0]:.3g} or more at best or worst in every task"
    return (
        f"the rewards recorded for {metadata.get('name', 'this policy')} are {low:.3g} to {high:.3g} a step; in"
        f" training they were {known['low']:.3g} to {known['high']:.3g}{unit}{least}: bring them to that unit and"
        " range, for example by gymnasium.wrappers.TransformReward"
    )


def _limit(high: float, low: float) -> float:
    """The highest reward that is not doubted, where training saw ``low`` to ``high``."""
    width = max(high, 0.0) - min(low, 0.0)
    return high + MARGIN * width if high > 0 else min(high + MARGIN * width, OTHER_SIGN * width)


def warn(rewards: Any, mask: Any, metadata: Mapping[str, Any]) -> None:
    """A ``RewardWarning`` with ``doubts``, if there are some."""
    say(doubts(rewards, mask, metadata))


def say_all(answer: Mapping[str, Any]) -> None:
    """The same with what a server's answer has under ``warnings``."""
    for text in answer.get("warnings", ()):
        say(text)


def say(text: str | None) -> None:
    """A ``RewardWarning``, shown at the line outside this project that asked for the work."""
    if text is not None:
        warnings.warn(text, RewardWarning, stacklevel=_callers_level())


def _callers_level() -> int:
    """As seen from ``say``: where the first frame lies that is not ours; the last one if all are."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in OURS:
        frame, level = frame.f_back, level + 1
    return level
