"""States of environments as small pictures, drawn with Pillow: needs no screen, no OpenGL and no pygame.

Pillow is imported where it is used. Every drawing gets the environment and the middle of its panel; lengths are in the
family's own units, scaled to pixels.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

WIDTH, HEIGHT = 320, 240
"""Of one panel, in pixels."""
INK, BODY, ACCENT, GOAL, TRAIL = "#222222", "#5B7C99", "#D55E00", "#009E73", "#9DB7CC"
CAPSULE, SPHERE = 3, 2
"""MuJoCo's numbers of the shapes that its bodies are made of."""

Draw = Callable[[Any, Any, list[Any]], None]
"""(canvas, environment, states before) → marks on the canvas."""


def cartpole(canvas: Any, env: Any, trail: list[Any]) -> None:
    """The cart on its track, its pole, and a hidden target if there is one."""
    (position, _, angle, _), task, scale = state_of(env), env.unwrapped.task, WIDTH / 5.2
    ground, cart = HEIGHT * 0.75, WIDTH / 2 + position * scale
    canvas.line([(0, ground), (WIDTH, ground)], fill=TRAIL, width=2)
    if "target" in task:
        at = WIDTH / 2 + task["target"] * scale
        canvas.line([(at, ground), (at, ground + 24)], fill=GOAL, width=4)
    canvas.rounded_rectangle([cart - 22, ground - 12, cart + 22, ground + 4], 4, fill=BODY)
    length = 2 * task["half_length"] * scale
    tip = cart + length * math.sin(angle), ground - 10 - length * math.cos(angle)
    canvas.line([(cart, ground - 10), tip], fill=ACCENT, width=6)


def navigation(canvas: Any, env: Any, trail: list[Any]) -> None:
    """The plane, the goal, and the way from the start."""
    scale, middle = HEIGHT / 1.7, (WIDTH / 2, HEIGHT / 2 + 8)

    def place(point: Any) -> tuple[float, float]:
        return middle[0] + float(point[0]) * scale, middle[1] - float(point[1]) * scale

    canvas.rectangle([*place((-0.5, 0.5)), *place((0.5, -0.5))], outline=TRAIL)
    _dot(canvas, place(env.unwrapped.task["goal"]), 6, GOAL)
    way = [place(position) for (position,) in trail]
    if len(way) > 1:
        canvas.line(way, fill=BODY, width=2, joint="curve")
    _dot(canvas, place(state_of(env)[0]), 5, ACCENT)


def pendulum(canvas: Any, env: Any, trail: list[Any]) -> None:
    """The pendulum; upwards is where it should be."""
    angle, length = state_of(env)[0], env.unwrapped.task["length"] * HEIGHT * 0.28
    pivot = WIDTH / 2, HEIGHT / 2 + 8
    tip = pivot[0] - length * math.sin(angle), pivot[1] - length * math.cos(angle)
    canvas.line([pivot, tip], fill=ACCENT, width=10)
    _dot(canvas, pivot, 4, INK)


def mujoco(canvas: Any, env: Any, trail: list[Any]) -> None:
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
            _dot(canvas, end, size[0] * scale, BODY)


def drawing_for(env: Any) -> Draw | None:
    """What draws this environment's states; None where there is nothing to be seen."""
    if hasattr(env.unwrapped, "data") and hasattr(env.unwrapped, "model"):
        return mujoco
    family = getattr(env.unwrapped, "family", None)
    return BY_FAMILY.get(family.name) if family is not None else None


BY_FAMILY: dict[str, Draw] = {
    "cartpole": cartpole,
    "cartpole_goal": cartpole,
    "navigation": navigation,
    "navigation_sparse": navigation,
    "pendulum": pendulum,
}


def state_of(env: Any) -> list[Any]:
    """The fields of the state, numbers or arrays, as the family's own tuple has them; none of other environments."""
    batch = getattr(env.unwrapped, "_batch", None)
    return [] if batch is None else [np.asarray(field)[0] for field in batch.state]


def _dot(canvas: Any, at: tuple[float, float], radius: float, colour: str) -> None:
    canvas.ellipse([at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius], fill=colour)
