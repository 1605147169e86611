"""Meta-World's kinds of tasks whose rewards and success are computed for many rows at once (rewards of version v2).

Each function gets what is seen ``now`` (``Now``), what was so at the ``start`` (attributes of Meta-World's environment
after its reset, ``[n, ...]`` each) and the actions ``[n, 4]``; it gives rewards and success ``[n]``, as
``evaluate_state`` of the environment does of one row. Lengths are in m.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.tasks.metaworld.shaping import both, caging, closed, distance, near, pinching, within_prism


class Now(NamedTuple):
    """What rows see after a step: points ``[n, 3]``; ``opened`` ``[n]``, from 0 (closed) to 1; ``joint`` ``[n]``."""

    hand: np.ndarray
    opened: np.ndarray
    thing: np.ndarray
    """The object, as observations show it."""
    tcp: np.ndarray
    """The middle between the fingers' ends."""
    left: np.ndarray
    right: np.ndarray
    """The two pads."""
    joint: np.ndarray
    """The position of the kind's joint, 0 of kinds without one."""
    sites: dict[str, np.ndarray]


Evaluate = Callable[[Now, Any, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Kind(NamedTuple):
    """Where a kind's object is seen, and what its steps are worth."""

    evaluate: Evaluate
    thing: tuple[str, str]
    """``body``, ``geom`` or ``site``, and its name."""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turned: tuple[str, str] | None = None
    """Whose quaternion is seen: a body's own, a geom's or a site's of its matrix; zeros without one."""
    start: tuple[str, ...] = ()
    """Attributes beside the usual ones that ``evaluate`` needs."""
    joint: str = ""
    sites: tuple[str, ...] = ()


def reach(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    away = distance(now.tcp, start._target_pos)
    return 10 * near(away, 0.05, distance(start.hand_init_pos, start._target_pos)), away <= 0.05


def push(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    away = distance(now.thing, start._target_pos)
    in_place = near(away, 0.05, distance(start.obj_init_pos, start._target_pos))
    around, held = caging(now, start, actions, radius=0.015, pads=0.05, xz=0.005)
    reward = around + held
    touched = (distance(now.thing, now.tcp) < 0.02) & (now.opened > 0)
    reward = np.where(touched, 1 + 2 * reward + 5 * in_place, reward)
    return np.where(away < 0.05, 10.0, reward), away <= 0.05


def pick_place(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    away = distance(now.thing, start._target_pos)
    in_place = near(away, 0.05, distance(start.obj_init_pos, start._target_pos))
    around, _ = pinching(now, start, 0.015, 0.005, 0.0, (now.left[:, 1], now.right[:, 1]))
    grasped = (both(around, np.where(around > 0.97, closed(actions), 0.0)) + around) / 2
    reward = both(grasped, in_place) + np.where(lifted(now, start, 0.02), 1 + 5 * in_place, 0.0)
    return np.where(away < 0.05, 10.0, reward), away <= 0.07


def lifted(now: Now, start: Any, within: float) -> np.ndarray:
    """Whether the object is between the fingers and 1 cm above where it was."""
    held = (distance(now.thing, now.tcp) < within) & (now.opened > 0)
    return held & (now.thing[:, 2] - 0.01 > start.obj_init_pos[:, 2])


def door_open(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    handle = now.thing - [0.05, 0, 0]
    ready = both(_above_funnel(now, handle), near(distance(now.hand, handle + [0.05, 0.03, -0.01]), 0.06, 0.5))
    opened = 0.2 * (now.joint < -np.pi / 90) + 0.8 * near(np.pi / 2 + np.pi / 6 + now.joint, 0.5, np.pi / 3)
    effort = (np.clip(actions[:, 3].astype(np.float64), -1, 1) + 1) / 2
    success = np.abs(now.thing[:, 0] - start._target_pos[:, 0]) <= 0.08
    return np.where(success, 10.0, 2 * both(ready, effort) + 8 * opened), success


def _above_funnel(now: Now, handle: np.ndarray) -> np.ndarray:
    """Whether the hand comes to the handle from above: 1 if it is above the funnel around it, less below."""
    radius = distance(now.hand[:, :2], handle[:, :2])
    beyond = np.maximum(radius - 0.12, np.finfo(float).tiny)
    floor, height = np.where(radius <= 0.12, 0.0, 0.04 * np.log(beyond) + 0.4), now.hand[:, 2]
    return np.where(height >= floor, 1.0, near(floor - height, 0.01, floor / 2))


def door_close(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    away = distance(now.thing, start._target_pos)
    in_place = near(away, 0.05, distance(start.obj_init_pos, start._target_pos), gaussian=True)
    margin = distance(start.hand_init_pos, now.thing) + 0.1
    hand_in_place = near(distance(now.tcp, start._target_pos), 0.25 * 0.05, margin, gaussian=True)
    return np.where(away < 0.05, 10.0, 3 * hand_in_place + 6 * in_place), away <= 0.08


def drawer_close(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    away, radius = distance(now.thing, start._target_pos), 0.05
    margin = np.abs(distance(start.obj_init_pos, start._target_pos) - radius)
    margin_of_reach = np.abs(distance(start.obj_init_pos, start.init_tcp) - 0.005)
    touching = near(distance(now.thing, now.tcp), 0.005, margin_of_reach, gaussian=True)
    reward = 10 * both(both(touching, closed(actions)), near(away, radius, margin))
    success = away <= radius + 0.015
    return np.where(success, 10.0, reward), success


def drawer_open(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    away, scale = distance(now.thing, start._target_pos), [3.0, 3.0, 1.0]
    handle_before = start._target_pos + np.stack([0 * start.maxDist, start.maxDist, 0 * start.maxDist], -1)
    around = near(distance(now.thing, now.hand, scale), 0.01, distance(handle_before, start.init_tcp, scale))
    return 5 * (around + near(away, 0.02, start.maxDist)), away <= 0.03


def button_press(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reaching, away = _press(now, start, 1, np.maximum(now.opened, 0.0), 0.05)
    pressed = near(away, 0.005, start._obj_to_target_init)
    return 2 * reaching + np.where(distance(now.thing, now.tcp) <= 0.05, 8 * pressed, 0.0), away <= 0.02


def button_press_topdown(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reaching, away = _press(now, start, 2, 1 - now.opened, 0.01)
    pressed = near(away, 0.005, start._obj_to_target_init)
    return 5 * reaching + np.where(distance(now.thing, now.tcp) <= 0.03, 5 * pressed, 0.0), away <= 0.024


def _press(now: Now, start: Any, axis: int, fingers: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """How near the fingers are to the button, held as they should be; and how far it must still go along an axis."""
    beside = near(distance(now.thing, now.tcp), within, distance(now.thing, start.init_tcp))
    return both(fingers, beside), np.abs(start._target_pos[:, axis] - now.thing[:, axis])


def peg_insert_side(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    head, scale = now.sites["pegHead"], [1.0, 2.0, 2.0]
    away = distance(head, start._target_pos, scale)
    corners = [
        within_prism(head, now.sites[f"bottom_right_corner_{box}"], now.sites[f"top_left_corner_{box}"])
        for box in ("collision_box_1", "collision_box_2")
    ]
    in_place = near(away, 0.07, distance(start.peg_head_pos_init, start._target_pos, scale))
    in_place = both(in_place, both(corners[1], corners[0]))
    around, held = caging(now, start, actions, radius=0.0075, pads=0.03, xz=0.005)
    up = lifted(now, start, 0.08)
    reward = both(np.where(up, 1.0, (held + around) / 2), in_place) + np.where(up, 1 + 5 * in_place, 0.0)
    return np.where(away <= 0.07, 10.0, reward), away <= 0.07


def window_open(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    away, radius = np.abs(now.thing[:, 0] - start._target_pos[:, 0]), 0.05
    in_place = near(away, radius, np.abs(np.abs(start.obj_init_pos[:, 0] - start._target_pos[:, 0]) - radius))
    margin = np.abs(distance(start.window_handle_pos_init, start.init_tcp) - 0.02)
    return 10 * both(near(distance(now.thing, now.tcp), 0.02, margin), in_place), away <= radius


def sweep(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _sweep(now, start, start._target_pos, xz=0.005, grip=0.01)


def sweep_into(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    target = np.concatenate([start._target_pos[:, :2], now.thing[:, 2:]], 1)
    return _sweep(now, start, target, xz=0.01, grip=0.005)


def _sweep(now: Now, start: Any, target: np.ndarray, xz: float, grip: float) -> tuple[np.ndarray, np.ndarray]:
    away = distance(now.thing, target)
    in_place = near(away, 0.05, distance(start.obj_init_pos, target))
    around, across = pinching(now, start, 0.02, xz, grip, (now.left[:, 1], now.right[:, 1]))
    grasped = (around + np.where(around > 0.95, across, 0.0)) / 2
    return np.where(away < 0.05, 10.0, 2 * grasped + 6 * both(grasped, in_place)), away <= 0.05


def basketball(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    target, scale, radius = now.sites["goal"].copy(), [1.0, 1.0, 2.0], 0.08
    target[:, 2] = 0.3
    away = distance(now.thing, target, scale)
    in_place = near(away, radius, distance(start.obj_init_pos, target, scale))
    around, held = caging(now, start, actions, radius=0.025, pads=0.06, xz=0.005)
    up = lifted(now, start, 0.035)
    reward = both(np.where(up, 1.0, (held + around) / 2), in_place) + np.where(up, 1 + 5 * in_place, 0.0)
    return np.where(away < radius, 10.0, reward), away <= radius


def shelf_place(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    thing, target, radius = now.thing, start._target_pos, 0.05
    away = distance(thing, target)
    in_place = near(away, radius, distance(start.obj_init_pos, target))
    _, held = caging(now, start, actions, radius=0.02, pads=0.05, xz=0.01)
    reward = both(held, in_place)
    below = (thing[:, 2] > 0.0) & (thing[:, 2] < 0.24) & (np.abs(thing[:, 0] - target[:, 0]) < 0.15)
    front = target[:, 1] - 3 * radius
    before = below & (front < thing[:, 1]) & (thing[:, 1] < target[:, 1])
    lost = both((thing[:, 1] - front) / (3 * radius), (0.24 - thing[:, 2]) / 0.24)
    in_place = np.where(before, np.clip(in_place - lost, 0.0, 1.0), in_place)
    in_place = np.where(below & (thing[:, 1] > target[:, 1]), 0.0, in_place)
    reward = reward + np.where(lifted(now, start, 0.025), 1 + 5 * in_place, 0.0)
    return np.where(away < radius, 10.0, reward), away <= 0.07


def lever_pull(now: Now, start: Any, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale, offset = [4.0, 1.0, 4.0], np.array([0.0, 0.055, 0.07])
    margin = distance(start.init_tcp + offset, start._lever_pos_init, scale)
    ready = near(distance(now.hand + offset, now.thing, scale), 0.02, margin)
    margin = distance(start._lever_pos_init, start._target_pos)
    in_place = near(distance(now.thing, start._target_pos), 0.04, margin)
    return 10 * both(ready, in_place), np.abs(-now.joint - np.pi / 2) <= np.pi / 24


PUCK: Final = ("body", "obj"), (0.0, 0.0, 0.0), ("geom", "objGeom")
HANDLE: Final = ("geom", "handle"), (0.0, 0.0, 0.0), ("geom", "handle")
CORNERS: Final = tuple(
    f"{corner}_corner_collision_box_{box}" for box in (1, 2) for corner in ("bottom_right", "top_left")
)

REWRITTEN: Final[dict[str, Kind]] = {
    "reach-v3": Kind(reach, *PUCK),
    "push-v3": Kind(push, *PUCK),
    "pick-place-v3": Kind(pick_place, *PUCK),
    "door-open-v3": Kind(door_open, *HANDLE, joint="doorjoint"),
    "drawer-close-v3": Kind(drawer_close, ("body", "drawer_link"), (0.0, -0.16, 0.05)),
    "button-press-topdown-v3": Kind(
        button_press_topdown, ("body", "button"), (0.0, 0.0, 0.193), ("body", "button"), ("_obj_to_target_init",)
    ),
    "peg-insert-side-v3": Kind(
        peg_insert_side,
        ("site", "pegGrasp"),
        turned=("site", "pegGrasp"),
        start=("peg_head_pos_init",),
        sites=("pegHead", *CORNERS),
    ),
    "window-open-v3": Kind(window_open, ("site", "handleOpenStart"), start=("window_handle_pos_init",)),
    "sweep-v3": Kind(sweep, ("body", "obj"), turned=("body", "obj")),
    "basketball-v3": Kind(basketball, ("body", "bsktball"), turned=("body", "bsktball"), sites=("goal",)),
    "drawer-open-v3": Kind(
        drawer_open, ("body", "drawer_link"), (0.0, -0.16, 0.0), ("body", "drawer_link"), ("maxDist",)
    ),
    "door-close-v3": Kind(door_close, *HANDLE),
    "shelf-place-v3": Kind(shelf_place, *PUCK),
    "sweep-into-v3": Kind(sweep_into, *PUCK),
    "lever-pull-v3": Kind(
        lever_pull, ("site", "leverStart"), turned=("geom", "objGeom"), start=("_lever_pos_init",), joint="LeverAxis"
    ),
    "button-press-v3": Kind(
        button_press, ("body", "button"), (0.0, -0.193, 0.0), ("body", "button"), ("_obj_to_target_init",)
    ),
}
