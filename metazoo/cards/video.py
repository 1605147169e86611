"""``metazoo evaluate --video``: one test task played before and after adapting, side by side, as a short GIF."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metazoo.artefact import store
from metazoo.artefact.answers import describe
from metazoo.artefact.spaces import env_name
from metazoo.cards.drawings import Drawing, drawing_for, state_of
from metazoo.pretrained import family_of, load
from metazoo.tasks.canvas import HEIGHT, INK, WIDTH
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.host_family import AnyFamily
from metazoo.tasks.registry import FAMILIES
from metazoo.tasks.views.gym_view import FamilyEnv
from metazoo.words import count

RENDERED = "rgb_array"
Picture = Callable[[Any, list[Any]], Any]
"""(environment, states so far) → an image of Pillow's."""
FRAMES = 80
"""At most so many; of longer episodes every second, third … step is shown."""
MILLISECONDS = 60
PAUSE = 1500
"""How long the last frame stays."""
COLOURS = 32
EPISODE_SEED = 20_000
"""Added to ``seed`` for the filmed episodes, which are others than those adapted with."""


def film(
    name: str | Path,
    file: Path,
    *,
    split: str = "test",
    episodes: int | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Path:
    """Writes a GIF of the policy on one task (that of ``family.sample(1, split, seed)``), unadapted and adapted.

    ``episodes`` and ``steps`` as in ``Pretrained.adapt``. Both panels show an episode with the same start.

    Raises:
        ValueError: a name that does not end in .gif, an unknown split, a family whose states cannot be drawn.
    """
    if Path(file).suffix.lower() != ".gif":
        raise ValueError(f"the video's file is {Path(file).name!r}; its name must end in .gif.")
    policy = load(name)
    env, picture = _drawn(policy.metadata, split, seed)
    adapted = policy.adapt(env, episodes=episodes, steps=steps, seed=seed)
    made = adapted.metadata["adapted"]
    played = count(made["last_episodes"], "episode")
    played = played if made["steps"] == 1 else f"{made['steps']} x {played}"
    panels = []
    for title, one in (("before adapting", policy), (f"after {played}", adapted)):
        filmed = Filmed(env, picture)
        (gained,) = one.evaluate(filmed, episodes=1, seed=EPISODE_SEED + seed)
        panels.append((f"{title}: return {gained:.1f}", filmed.frames))
    env.close()
    _write(Path(file), panels)
    return Path(file)


def check(version: Path, split: str, seed: int) -> None:
    """Raises ValueError where ``film`` would, before anything is played."""
    env, picture = _drawn(store.read_metadata(version) or {}, split, seed)
    try:
        Filmed(env, picture).reset(seed=seed)
    finally:
        env.close()


def as_mp4(film: Path) -> Path | None:
    """The same film as MP4 beside it, where ffmpeg is installed; None where it is not."""
    program, made = shutil.which("ffmpeg"), film.with_suffix(".mp4")
    if program is None:
        return None
    even = "scale=trunc(iw/2)*2:trunc(ih/2)*2"  # what H.264 needs
    options = ["-vf", even, "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    done = subprocess.run([program, "-y", "-loglevel", "error", "-i", str(film), *options, str(made)], check=False)
    return made if done.returncode == 0 else None


def _drawn(metadata: Mapping[str, Any], split: str, seed: int) -> tuple[Any, Picture]:
    """One task of the policy's family as a ``gymnasium.Env``, and what makes its picture."""
    family = family_of(metadata)
    env = _environment(family, split, seed, metadata["horizon"], None)
    draw = None if env is None else drawing_for(env)
    if draw is not None:
        return env, lambda env, trail: _painted(draw, env, trail)
    if env is not None and RENDERED in (env.metadata.get("render_modes") or ()):
        env.close()
        return _environment(family, split, seed, metadata["horizon"], RENDERED), lambda env, trail: _rendered(env)
    known = ", ".join(name for name, one in FAMILIES.items() if one.drawing)
    raise ValueError(
        f"{metadata['name']} is of the family {family.name}, whose environment has no render mode rgb_array; films are"
        f" of such environments, {known}, MuJoCo."
    )


def _environment(family: AnyFamily, split: str, seed: int, horizon: int, render_mode: str | None) -> Any:
    """None where a task has no environment of its own."""
    if isinstance(family, GymFamily):
        task = family.sample(1, split, seed)._asdict()
        return family.environment({key: value[0] for key, value in task.items()}, horizon, render_mode)
    if not isinstance(family, TaskFamily):
        return None
    return FamilyEnv(family, split=split, seed=seed, max_episode_steps=horizon)


def _painted(draw: Drawing, env: Any, trail: list[Any]) -> Any:
    from PIL import Image, ImageDraw

    frame = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw(ImageDraw.Draw(frame), env, trail)
    return frame


def _rendered(env: Any) -> Any:
    """What the environment shows of itself, as large as it fits. Raises ValueError where that is no picture."""
    from PIL import Image, ImageOps

    try:
        pixels = np.asarray(env.render())
    except Exception as error:  # the user's code
        raise ValueError(f"{env_name(env)} cannot be rendered: {describe(error)}") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(
            f"{env_name(env)} renders {pixels.dtype} of shape {list(pixels.shape)}; rgb_array is uint8"
            " [height, width, 3]."
        )
    return ImageOps.pad(Image.fromarray(pixels), (WIDTH, HEIGHT), color="white")


class Filmed:
    """An environment that is drawn after its reset and after every step."""

    def __init__(self, env: Any, picture: Picture):
        self._env, self._picture = env, picture
        self._trail: list[Any] = []
        self.frames: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def reset(self, **options: Any) -> Any:
        result = self._env.reset(**options)
        self._trail, self.frames = [], []
        self._take()
        return result

    def step(self, action: Any) -> Any:
        result = self._env.step(action)
        self._take()
        return result

    def _take(self) -> None:
        self._trail.append(state_of(self._env))
        self.frames.append(self._picture(self._env, self._trail))


def _write(file: Path, panels: list[tuple[str, list[Any]]]) -> None:
    """Both panels under their titles; the one that ends first stands still."""
    from PIL import Image, ImageDraw, ImageFont

    font, length = ImageFont.load_default(13), max(len(frames) for _, frames in panels)
    stride, gap, top = -(-length // FRAMES), 8, 22
    pictures = []
    for step in [*range(0, length - 1, stride), length - 1]:
        picture = Image.new("RGB", (2 * WIDTH + gap, top + HEIGHT), "white")
        canvas = ImageDraw.Draw(picture)
        for i, (title, frames) in enumerate(panels):
            left = i * (WIDTH + gap)
            canvas.text((left + 6, 4), title, fill=INK, font=font)
            picture.paste(frames[min(step, len(frames) - 1)], (left, top))
            canvas.text((left + 6, top + 2), f"step {min(step, len(frames) - 1)}", fill="#777777", font=font)
        canvas.line([(WIDTH + gap // 2, 0), (WIDTH + gap // 2, top + HEIGHT)], fill="#CCCCCC")
        pictures.append(picture.quantize(COLOURS))
    durations = [MILLISECONDS] * (len(pictures) - 1) + [PAUSE]
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=True)
