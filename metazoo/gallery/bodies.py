"""Bodies of MuJoCo as lines from the side: each step's capsules, computed from what the policy saw."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from metazoo.tasks.host_family import AnyFamily

CAPSULE, SPHERE = 3, 2
"""MuJoCo's numbers of the shapes that its bodies are made of."""
EVERY: Final = 2
"""Of so many steps one is drawn."""


def painter(family: AnyFamily, task: Any) -> Callable[[np.ndarray], list[Any]] | None:
    """Observations ``[T + 1, D]`` of one episode → for every second one its lines ``[x, z, x, z, radius]`` (m).

    None for families without such a body, and for bodies that do not move in the plane from the side.
    """
    make = getattr(family, "environment", None)
    if make is None:
        return None
    env = make({name: np.asarray(field)[0] for name, field in task._asdict().items()})
    body = env.unwrapped
    if not (hasattr(body, "model") and hasattr(body, "data") and body.model.nq == body.model.nv):
        env.close()
        return None

    def paint(observations: np.ndarray) -> list[Any]:
        places = np.cumsum(observations[:, body.model.nq - 1] * body.dt)  # how far it came is not observed
        pairs = list(zip(places, observations, strict=True))[::EVERY]
        return [_lines(body, place, seen) for place, seen in pairs]

    return paint


def _lines(body: Any, place: float, seen: np.ndarray) -> list[list[float]]:
    import mujoco

    model, data = body.model, body.data
    data.qpos[:] = [place, *seen[: model.nq - 1]]
    mujoco.mj_kinematics(model, data)
    lines = []
    for kind, size, centre, frame in zip(
        model.geom_type, model.geom_size, data.geom_xpos, data.geom_xmat.reshape(-1, 3, 3), strict=True
    ):
        if kind in (CAPSULE, SPHERE):
            along = frame[:, 2] * (size[1] if kind == CAPSULE else 0.0)
            ends = *(centre - along)[[0, 2]], *(centre + along)[[0, 2]], size[0]
            lines.append([round(float(number), 3) for number in ends])
    return lines
