"""The pieces that Meta-World's rewards (version v2) are made of, for many rows at once: ``[n]`` in, ``[n]`` out.

They do what ``metaworld.utils.reward_utils`` and the environments' ``_gripper_caging_reward`` do of one row.
"""

from typing import Any, Final

import numpy as np

AT_MARGIN: Final = 0.1
"""The value of ``near`` where ``x`` is ``margin`` beyond its bounds."""
LONG_TAIL: Final = np.sqrt(1 / AT_MARGIN - 1)
GAUSSIAN: Final = np.sqrt(-2 * np.log(AT_MARGIN))


def distance(first: Any, second: Any, scale: Any = 1.0) -> np.ndarray:
    """Between points ``[n, k]``, each axis times its ``scale``."""
    return np.linalg.norm((first - second) * scale, axis=-1)


def near(x: Any, upper: Any, margin: Any, lower: Any = 0.0, gaussian: bool = False) -> np.ndarray:
    """1 for ``x`` in ``[lower, upper]``, less the further it is beyond, 0.1 at a distance of ``margin``.

    With a margin of 0 it is 0 everywhere outside. The tail is ``1 / (1 + d²)``, or a Gaussian.
    """
    inside, x, margin = (lower <= x) & (x <= upper), np.asarray(x), np.asarray(margin)
    beyond = np.where(x < lower, lower - x, x - upper) / np.where(margin == 0, 1.0, margin)
    tail = np.exp(-0.5 * (beyond * GAUSSIAN) ** 2) if gaussian else 1 / ((beyond * LONG_TAIL) ** 2 + 1)
    return np.where(inside, 1.0, np.where(margin == 0, 0.0, tail))


def both(first: Any, second: Any) -> np.ndarray:
    """Hamacher's product of two numbers in [0, 1]: small if one of them is, and 0 for two zeros."""
    product = np.asarray(first * second)
    under = first + second - product
    return np.where(under > 0, product / np.where(under > 0, under, 1.0), 0.0)


def within_prism(point: np.ndarray, zero: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Of points ``[n, 3]`` in the box between two corners: the product of how far each axis is from ``zero`` to
    ``one``. Outside it is 1."""
    low, high = np.minimum(zero, one), np.maximum(zero, one)
    inside = ((low <= point) & (point <= high)).all(-1)
    return np.where(inside, ((point - zero) / np.where(one == zero, 1.0, one - zero)).prod(-1), 1.0)


def closed(actions: np.ndarray, effort: float = 1.0) -> np.ndarray:
    """How hard the gripper is told to close, from 0 to 1."""
    return np.clip(actions[:, 3].astype(np.float64), 0.0, effort) / effort


def caging(now: Any, start: Any, actions: np.ndarray, radius: float, pads: float, xz: float) -> tuple[Any, Any]:
    """How well the gripper is around an object of ``radius`` (m), before it is told to close, and then."""
    object_y, sides = now.thing[:, 1], []
    for pad in (now.left, now.right):
        margin = np.abs(np.abs(pad[:, 1] - start.obj_init_pos[:, 1]) - pads)
        sides.append(near(np.abs(pad[:, 1] - object_y), pads, margin, radius))
    across = both(sides[0], sides[1])
    around = both(across, _along(now, start, xz))
    gripping = np.where(around > 0.97, closed(actions), 0.0)
    return around, both(around, gripping)


def _along(now: Any, start: Any, xz: float) -> np.ndarray:
    """How near the gripper's centre is to the object in x and z."""
    plane = [0, 2]
    margin = distance(start.obj_init_pos[:, plane], start.init_tcp[:, plane]) - xz
    return near(distance(now.tcp[:, plane], now.thing[:, plane]), xz, margin)


def pinching(now: Any, start: Any, radius: float, xz: float, grip: float, first_pads: Any) -> tuple[Any, Any]:
    """The caging of single environments: ``(around the object, across it within radius and radius + grip)``.

    ``first_pads``: the left and the right pad's y ``[n]`` that margins refer to.
    """
    object_y, pads = now.thing[:, 1], 0.05
    away = now.left[:, 1] - object_y, object_y - now.right[:, 1]
    margins = [np.abs(np.abs(object_y - first) - pads) for first in first_pads]
    left, right = (near(far, pads, margin, radius) for far, margin in zip(away, margins, strict=True))
    held = [near(far, radius + grip, margin, radius) for far, margin in zip(away, margins, strict=True)]
    return both(both(left, right), _along(now, start, xz)), both(held[1], held[0])
