"""Environments that are drawn while they are played, and their frames cut to what happens in them."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.artefact.answers import describe
from metazoo.artefact.spaces import env_name
from metazoo.cards.drawings import Drawing, drawing_for, state_of
from metazoo.pretrained import family_of
from metazoo.tasks.canvas import HEIGHT, WIDTH
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.host_family import AnyFamily
from metazoo.tasks.registry import FAMILIES
from metazoo.tasks.views.gym_view import FamilyEnv

RENDERED: Final = "rgb_array"
FINE: Final = 2
"""Pixels drawn for each of a canvas: what is small there is sharp in a film that it fills."""
SIDES: Final = 0.04
"""Left free around what is drawn, in widths of it."""
FLAT: Final = 0.3
"""Least height of a stage, in widths."""

Picture = Callable[[Any, list[Any]], Any]
"""(environment, states so far) → an image of Pillow's."""


class Frame(NamedTuple):
    """A moment of an episode: how many steps had been made, and its picture."""

    step: int
    picture: Any


class Filmed:
    """An environment whose episodes are drawn: all of them, or those whose numbers are ``wanted``, at every ``stride``
    steps and at their end."""

    def __init__(self, env: Any, picture: Picture, stride: int = 1, wanted: Collection[int] | None = None):
        self._env, self._picture, self._stride, self._wanted = env, picture, stride, wanted
        self._trail: list[Any] = []
        self._number, self._made = -1, 0
        self.episodes: dict[int, list[Frame]] = {}
        self.returns: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def reset(self, **options: Any) -> Any:
        result = self._env.reset(**options)
        self._trail, self._made = [], 0
        self._number += 1
        self.returns.append(0.0)
        self._take(True)
        return result

    def step(self, action: Any) -> Any:
        result = self._env.step(action)
        self._made += 1
        self.returns[-1] += float(result[1])
        self._take(self._made % self._stride == 0 or bool(result[2] or result[3]))
        return result

    def _take(self, shown: bool) -> None:
        if self._wanted is not None and self._number not in self._wanted:
            return
        self._trail.append(state_of(self._env))
        if shown:
            frames = self.episodes.setdefault(self._number, [])
            frames.append(Frame(self._made, self._picture(self._env, self._trail)))


def stage(metadata: Mapping[str, Any], task: Any, split: str = "test", seed: int = 0) -> tuple[Any, Picture]:
    """One task of the policy's family as a ``gymnasium.Env``, and what makes its picture.

    ``task`` is a batch of one, as the family samples it; without it the task is ``family.sample(1, split, seed)``.

    Raises:
        ValueError: an unknown split, or a family whose states cannot be drawn.
    """
    family = family_of(metadata)
    task = family.sample(1, split, seed) if task is None else task
    env = _environment(family, task, metadata["horizon"], None)
    draw = None if env is None else drawing_for(env)
    if draw is not None:
        return env, lambda env, trail: _painted(draw, env, trail)
    if env is not None and RENDERED in (env.metadata.get("render_modes") or ()):
        env.close()
        return _environment(family, task, metadata["horizon"], RENDERED), lambda env, trail: _rendered(env)
    known = ", ".join(name for name, one in FAMILIES.items() if one.drawing)
    raise ValueError(
        f"{metadata['name']} is of the family {family.name}, whose environment has no render mode rgb_array; films are"
        f" of such environments, {known}, MuJoCo."
    )


def _environment(family: AnyFamily, task: Any, horizon: int, render_mode: str | None) -> Any:
    """None where a task has no environment of its own."""
    if isinstance(family, GymFamily):
        return family.environment({key: value[0] for key, value in task._asdict().items()}, horizon, render_mode)
    if not isinstance(family, TaskFamily):
        return None
    return FamilyEnv(family, task=task, max_episode_steps=horizon)


def _painted(draw: Drawing, env: Any, trail: list[Any]) -> Any:
    from PIL import Image, ImageDraw

    frame = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), "white")
    draw(Enlarged(ImageDraw.Draw(frame), FINE), env, trail)
    return frame


class Enlarged:
    """A canvas of Pillow's on which everything is drawn so many times as large: lengths are those of a small one."""

    def __init__(self, canvas: Any, times: int):
        self._canvas, self._times = canvas, times

    def __getattr__(self, name: str) -> Callable[..., Any]:
        marks = getattr(self._canvas, name)

        def larger(at: Any, *rest: Any, width: int = 1, **options: Any) -> Any:
            size = {} if name == "text" else {"width": width * self._times}
            rest = tuple(one * self._times if name == "rounded_rectangle" else one for one in rest)
            if name == "text":
                options.setdefault("font_size", 11 * self._times)
            return marks((np.asarray(at, float) * self._times).ravel().tolist(), *rest, **size, **options)

        return larger


def _rendered(env: Any) -> Any:
    """What the environment shows of itself. Raises ValueError where that is no picture."""
    from PIL import Image

    try:
        pixels = np.asarray(env.render())
    except Exception as error:  # the user's code
        raise ValueError(f"{env_name(env)} cannot be rendered: {describe(error)}") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(
            f"{env_name(env)} renders {pixels.dtype} of shape {list(pixels.shape)}; rgb_array is uint8"
            " [height, width, 3]."
        )
    return Image.fromarray(pixels)


def filled(pictures: list[Any], width: int, height: int) -> list[Any]:
    """The pictures, all cut to where any of them has marks, as large as ``width`` and at most ``height`` allow.

    They are as high as what is shown needs, and of one size.
    """
    from PIL import Image, ImageOps

    box = _marked(pictures)
    across, down = box[2] - box[0], box[3] - box[1]
    scale = min(width / across, height / down)
    size = width, max(1, round(down * scale))
    cut = [picture.crop(box) for picture in pictures]
    return [ImageOps.pad(picture, size, Image.Resampling.LANCZOS, color="white") for picture in cut]


def _marked(pictures: list[Any]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is not white in any picture, with some room around it."""
    dark = np.min([np.asarray(picture).min(-1) for picture in pictures], 0) < 255
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    height, width = dark.shape
    if not len(rows):
        return 0, 0, width, height
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    room = round(SIDES * (right - left))
    lacking = max(0, round(FLAT * (right - left)) - (bottom - top) - 2 * room)
    return (
        max(0, left - room),
        max(0, top - room - lacking // 2),
        min(width, right + room),
        min(height, bottom + room + lacking - lacking // 2),
    )
