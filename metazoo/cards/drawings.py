"""States of environments as small pictures, drawn with Pillow: families draw their own, and all of MuJoCo's look alike.

Pillow is imported where it is used.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from metazoo.tasks.canvas import BODY, HEIGHT, INK, WIDTH, dot

CAPSULE, SPHERE = 3, 2
"""MuJoCo's numbers of the shapes that its bodies are made of."""

Drawing = Callable[[Any, Any, list[Any]], None]
"""(canvas, environment, states so far) → marks on the canvas."""


def mujoco(canvas: Any, env: Any) -> None:
    """The body from the side, in the middle; posts stand on the ground every metre."""
    model, data, scale = env.unwrapped.model, env.unwrapped.data, 75.0
    left, ground = float(data.qpos[0]) - WIDTH / 2 / scale, HEIGHT * 0.8
    canvas.line([(0, ground), (WIDTH, ground)], fill=INK, width=2)
    for metre in range(math.ceil(left), math.floor(left + WIDTH / scale) + 1):
        at = (metre - left) * scale
        canvas.line([(at, ground), (at, ground + 8)], fill=INK, width=2)
        canvas.text((at + 3, ground + 2), str(metre), fill=INK)
    for kind, size, centre, frame in zip(
        model.geom_type, model.geom_size, data.geom_xpos, data.geom_xmat.reshape(-1, 3, 3), strict=True
    ):
        if kind not in (CAPSULE, SPHERE):
            continue
        along = frame[:, 2] * (size[1] if kind == CAPSULE else 0.0)
        ends = [((point[0] - left) * scale, ground - point[2] * scale) for point in (centre - along, centre + along)]
        canvas.line(ends, fill=BODY, width=max(1, round(2 * size[0] * scale)))
        for end in ends:
            dot(canvas, end, size[0] * scale, BODY)


def drawing_for(env: Any) -> Drawing | None:
    """What draws this environment's states; None where there is nothing to be seen."""
    if hasattr(env.unwrapped, "data") and hasattr(env.unwrapped, "model"):
        return lambda canvas, env, trail: mujoco(canvas, env)
    draw = getattr(getattr(env.unwrapped, "family", None), "drawing", None)
    return draw and (lambda canvas, env, trail: draw(canvas, env.unwrapped.task, trail))


def state_of(env: Any) -> list[Any]:
    """The fields of the state, numbers or arrays, as the family's own tuple has them; none of other environments."""
    batch = getattr(env.unwrapped, "_batch", None)
    return [] if batch is None else [np.asarray(field)[0] for field in batch.state]
