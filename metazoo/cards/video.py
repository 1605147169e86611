"""``metazoo evaluate --video``: a task before and after adapting, side by side, as a short GIF.

First the policy plays as it was, and beside it some of the episodes that it learns from. Then both play: as it was, and
adapted, from the same start.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.artefact import store
from metazoo.cards.filmed import Filmed, Frame, filled, stage
from metazoo.evaluation import play_tasks
from metazoo.pretrained import Pretrained, family_of, load
from metazoo.tasks.canvas import GOAL, INK
from metazoo.tasks.host_family import HostFamily
from metazoo.words import count

FRAMES: Final = 80
"""Of an episode, at most; of longer ones every second, third … step is shown."""
LEARNING, LEARNING_FRAMES = 6, 8
"""Episodes that it learns from that are shown at most, and frames of each."""
MILLISECONDS, LEARNING_MILLISECONDS = 60, 100
PAUSE: Final = 1500
"""How long the last frame stays."""
COLOURS: Final = 48
WIDTH, HEIGHT = 400, 300
"""Of a panel, at most, in pixels."""
TITLE, CAPTION, GAP = 26, 24, 8
LETTERS: Final = 15
EPISODE_SEED: Final = 20_000
"""Added to ``seed`` for the filmed episodes, which are others than those adapted with."""
TASKS, TASKS_ON_HOST = 49, 3
"""Among so many the one with the median gain is filmed, where no report says it."""


class Moment(NamedTuple):
    """What a frame of the film shows: a title and a frame for each panel, and how long it stays."""

    titles: tuple[str, str]
    frames: tuple[Frame, Frame]
    milliseconds: int


def film(
    name: str | Path,
    file: Path,
    *,
    split: str = "test",
    episodes: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    report: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a GIF of the policy on the task with the median gain: unadapted, learning, and adapted.

    ``episodes`` and ``steps`` as in ``Pretrained.adapt``. ``report``, that of ``metazoo.evaluation.evaluate`` on the
    same split and seed, says which task that is; without it some are played. Both panels show an episode with the same
    start.

    Raises:
        ValueError: a name that does not end in .gif, an unknown split, a family whose states cannot be drawn.
    """
    if Path(file).suffix.lower() != ".gif":
        raise ValueError(f"the video's file is {Path(file).name!r}; its name must end in .gif.")
    policy = load(name)
    check(Path(policy.directory), split, seed)
    task = median_task(policy, split, seed, episodes, steps, report)
    env, picture = stage(policy.metadata, task)
    horizon, trained = policy.metadata["horizon"], policy.metadata["adapt"]
    planned = (episodes or trained["episodes"]) * (max(1, trained["steps"]) if steps is None else steps)
    lessons = Filmed(env, picture, max(1, horizon // (LEARNING_FRAMES - 1)), _some(planned))
    adapted = policy.adapt(lessons, episodes=episodes, steps=steps, seed=seed)
    stride = -(-horizon // FRAMES)
    played = [Filmed(env, picture, stride) for _ in range(2)]
    for one, filmed in zip((policy, adapted), played, strict=True):
        one.evaluate(filmed, episodes=1, seed=EPISODE_SEED + seed)
    env.close()
    learns = bool(policy.metadata["memory"]["size"])
    _write(Path(file), [*_learning(played[0], lessons, learns), *_both(played, len(lessons.returns))], _caption(policy))
    return Path(file)


def median_task(
    policy: Pretrained,
    split: str = "test",
    seed: int = 0,
    episodes: int | None = None,
    steps: int | None = None,
    report: Mapping[str, Any] | None = None,
) -> Any:
    """The task with the median gain, as a batch of one: among those of ``report``, or among ``TASKS``."""
    family, trained = family_of(policy.metadata), policy.metadata["adapt"]
    if report is not None:
        tasks = family.sample(report["tasks"], split, seed)
        first, last = (np.asarray(report["curve"][i]["per_task"]) for i in (0, -1))
        better = 1 if report["higher_is_better"] else -1
    else:
        tasks = family.sample(TASKS_ON_HOST if isinstance(family, HostFamily) else TASKS, split, seed)
        rounds = trained["episodes"] if episodes is None else episodes, trained["steps"] if steps is None else steps
        returns = play_tasks(policy.agent(), family, tasks, *rounds, seed)[0].mean(2)
        first, last, better = returns[0], returns[-1], 1
    gains = last if first is last or np.array_equal(first, last) else last - first
    chosen = int(np.argsort(better * gains)[len(gains) // 2])
    return type(tasks)(*(field[chosen : chosen + 1] for field in tasks))


def check(version: Path, split: str, seed: int) -> None:
    """Raises ValueError where ``film`` would, before anything is played."""
    env, picture = stage(store.read_metadata(version) or {}, None, split, seed)
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


def _some(total: int) -> list[int]:
    """Numbers of the episodes of learning that are shown: the first, the last, and between."""
    return sorted({round(place) for place in np.linspace(0, total - 1, min(total, LEARNING))})


def _learning(before: Filmed, lessons: Filmed, learns: bool) -> list[Moment]:
    """The policy as it was, and beside it the episodes that it learns from; nothing where it learns nothing."""
    shown = [(number, frame) for number, frames in lessons.episodes.items() for frame in frames] if learns else []
    total, moments = len(lessons.returns), []
    for i, (number, frame) in enumerate(shown):
        title = f"learning, episode {number + 1} of {total}: return {lessons.returns[number]:.1f}"
        left = before.episodes[0][min(len(before.episodes[0]) - 1, i * len(before.episodes[0]) // len(shown))]
        moments.append(Moment((_before(before), title), (left, frame), LEARNING_MILLISECONDS))
    return moments


def _both(played: list[Filmed], learned: int) -> list[Moment]:
    """Both episodes from their start; the one that ends first stands still."""
    titles = _before(played[0]), f"after {count(learned, 'episode')}: return {played[1].returns[0]:.1f}"
    left, right = (filmed.episodes[0] for filmed in played)
    length = max(len(left), len(right))
    moments = [
        Moment(titles, (left[min(i, len(left) - 1)], right[min(i, len(right) - 1)]), MILLISECONDS)
        for i in range(length)
    ]
    return [*moments[:-1], moments[-1]._replace(milliseconds=PAUSE)]


def _before(filmed: Filmed) -> str:
    return f"before adapting: return {filmed.returns[0]:.1f}"


def _caption(policy: Pretrained) -> str:
    """What the policy is not shown, and what green is where a film's marks are green."""
    family = family_of(policy.metadata)
    revealed = family.reveals is not None and getattr(family, family.reveals[0], False)
    return "" if revealed or not family.hidden else f"No observation shows it: {family.hidden}."


def _write(file: Path, moments: list[Moment], caption: str) -> None:
    """Both panels under their titles, what is hidden below them."""
    from PIL import Image, ImageColor, ImageDraw, ImageFont

    pictures = {id(frame): frame.picture for moment in moments for frame in moment.frames}
    green = np.array(ImageColor.getrgb(GOAL))
    if caption and (np.asarray(moments[0].frames[0].picture) == green).all(-1).any():
        caption += " Green is what it has to find."
    shown = dict(zip(pictures, filled(list(pictures.values()), WIDTH, HEIGHT), strict=True))
    high = next(iter(shown.values())).height
    letters, made = ImageFont.load_default(LETTERS), []
    for moment in moments:
        whole = Image.new("RGB", (2 * WIDTH + GAP, TITLE + high + CAPTION), "white")
        canvas = ImageDraw.Draw(whole)
        for i, (title, frame) in enumerate(zip(moment.titles, moment.frames, strict=True)):
            left = i * (WIDTH + GAP)
            whole.paste(shown[id(frame)], (left, TITLE))
            canvas.text((left + 6, 4), title, fill=INK, font=letters)
            canvas.text((left + WIDTH - 6, 4), f"step {frame.step}", fill="#666666", font=letters, anchor="ra")
        canvas.line([(WIDTH + GAP // 2, 0), (WIDTH + GAP // 2, TITLE + high)], fill="#CCCCCC")
        canvas.text((6, TITLE + high + 3), caption, fill=INK, font=letters)
        made.append(whole.quantize(COLOURS))
    durations = [moment.milliseconds for moment in moments]
    made[0].save(file, save_all=True, append_images=made[1:], duration=durations, loop=0, optimize=True)
