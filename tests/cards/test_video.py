"""Films of a task before and after adapting: read back, frame by frame."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

import metazoo
from metazoo.algorithms.maml import MAML
from metazoo.cards import video
from metazoo.cards.drawings import drawing_for, state_of
from metazoo.cards.filmed import Enlarged, Filmed, Frame, filled
from metazoo.pretrained import family_of
from metazoo.tasks.canvas import HEIGHT, WIDTH
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.cartpole import CartPoleGoal
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.families.pendulum import Pendulum
from metazoo.tasks.views.gym_view import FamilyEnv
from metazoo.training.export import export
from tests.algorithms.problems import small_policy
from tests.exports import METADATA


def export_small(directory, family, name):
    learner = MAML(small_policy(family, dtype="float32"), family)
    metadata = {**METADATA, "name": name, "family_args": {"horizon": family.horizon}}
    return export(learner, directory / name / "1", metadata)


def report_of(gains):
    """What a film reads of an evaluation."""
    curve = [{"per_task": [-30.0] * len(gains)}, {"per_task": [gain - 30.0 for gain in gains]}]
    return {"tasks": len(gains), "curve": curve, "higher_is_better": True}


def frames_of(file) -> list[np.ndarray]:
    with Image.open(file) as film:
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB")))
    return frames


def drawn(env, steps=0, action=None) -> np.ndarray:
    """The picture after some steps."""
    env.reset(seed=0)
    trail = [state_of(env)]
    for _ in range(steps):
        env.step(action)
        trail.append(state_of(env))
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    drawing_for(env)(ImageDraw.Draw(picture), env, trail)
    return np.asarray(picture)


def test_a_film_shows_learning_and_then_both_episodes_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "FRAMES", 5)
    policy = export_small(tmp_path, Navigation(horizon=9), "small")
    options = {"episodes": 2, "steps": 1, "report": report_of([0.0, 1.0, 2.0])}
    frames = frames_of(video.film(policy, tmp_path / "film.gif", **options))
    learning, both = 2 * 10, 6  # every step of two episodes, every second one and the last
    assert both <= len(frames) <= learning + both  # equal frames are one, and stay longer
    high, wide = frames[0].shape[:2]
    assert wide == 2 * video.WIDTH + video.GAP and high <= video.TITLE + video.HEIGHT + video.CAPTION
    stage = slice(video.TITLE, high - video.CAPTION)
    left, right = frames[-1][stage, : video.WIDTH], frames[-1][stage, video.WIDTH + video.GAP :]
    assert (left != right).any(), "adapted, it moves in another way"
    again = frames_of(video.film(policy, tmp_path / "again.gif", **options))
    assert all(map(np.array_equal, frames, again)), "the same seed films the same"


def test_the_task_of_the_median_gain_is_filmed():
    policy = metazoo.load("maml_navigation")
    tasks = family_of(policy.metadata).sample(5, "test", 3)
    chosen = video.median_task(policy, "test", 3, report=report_of([29.0, 1.0, 18.0, -1.0, 26.0]))
    np.testing.assert_array_equal(chosen.goal, tasks.goal[2:3])


def test_some_episodes_of_learning_are_shown_at_some_of_their_steps():
    filmed = Filmed(FamilyEnv(Navigation(horizon=7), max_episode_steps=7), lambda env, trail: len(trail), 3, {1})
    for _ in range(3):
        filmed.reset(seed=0)
        for _ in range(7):
            filmed.step(np.zeros(2, np.float32))
    assert filmed.episodes == {1: [Frame(0, 1), Frame(3, 4), Frame(6, 7), Frame(7, 8)]}
    assert len(filmed.returns) == 3 and filmed.returns[0] < 0
    assert video._some(30) == [0, 6, 12, 17, 23, 29] and video._some(2) == [0, 1]


def test_the_stage_fills_the_frame():
    """Whatever any picture has is cut to, and all are as large as fits."""
    pictures = [Image.new("RGB", (320, 240), "white") for _ in range(2)]
    ImageDraw.Draw(pictures[0]).rectangle([100, 100, 119, 119], fill="black")
    ImageDraw.Draw(pictures[1]).rectangle([180, 140, 199, 159], fill="black")
    shown = [np.asarray(one) < 128 for one in filled(pictures, 400, 300)]
    marks = np.any([one.any(-1) for one in shown], 0)
    rows, columns = np.flatnonzero(marks.any(1)), np.flatnonzero(marks.any(0))
    assert marks.shape[1] == 400 and columns[-1] - columns[0] > 0.85 * 400 and rows[-1] - rows[0] > 0.8 * len(marks)
    assert not (shown[0] & shown[1]).any(), "both are cut alike"
    empty = filled([Image.new("RGB", (320, 240), "white")], 400, 300)
    assert empty[0].size == (400, 300)


def test_drawings_are_enlarged_as_they_are():
    small, large = Image.new("RGB", (40, 40), "white"), Image.new("RGB", (80, 80), "white")
    for canvas in (ImageDraw.Draw(small), Enlarged(ImageDraw.Draw(large), 2)):
        canvas.rectangle([4, 4, 12, 12], fill="black")
        canvas.ellipse([20, 20, 30, 30], fill="red")
        canvas.line([(0, 35), (39, 35)], fill="blue", width=3)
    shrunk = np.asarray(large.resize((40, 40), Image.Resampling.BOX), int)
    assert np.abs(shrunk - np.asarray(small, int)).mean() < 12


@pytest.mark.parametrize(("name", "said"), [("maml_cartpole_goal", "target position"), ("oracle_cartpole_goal", "")])
def test_what_is_hidden_is_said_unless_it_is_shown(name, said):
    assert said in video._caption(metazoo.load(name))
    assert bool(video._caption(metazoo.load(name))) == bool(said)


def test_what_cannot_be_filmed_is_refused(tmp_path):
    policy = export_small(tmp_path, Bandit(horizon=4), "bandit")
    with pytest.raises(
        ValueError,
        match="bandit is of the family bandit, whose environment has no .*films are of such environments, cartpole",
    ):
        video.film(policy, tmp_path / "film.gif")
    with pytest.raises(ValueError, match="the video's file is 'film.mp4'; its name must end in .gif"):
        video.film(policy, tmp_path / "film.mp4")


@pytest.mark.parametrize(("family", "action"), [(CartPoleGoal(), 1), (Navigation(), [0.1, 0.0]), (Pendulum(), [2.0])])
def test_a_drawing_follows_the_state(family, action):
    env = FamilyEnv(family, split="test", seed=3)
    start, same, later = drawn(env), drawn(env), drawn(env, 8, np.asarray(action, env.action_space.dtype))
    assert np.array_equal(start, same) and (start != later).any()
    assert (start != 255).any()


@pytest.mark.mujoco
def test_mujoco_bodies_are_drawn_without_opengl():
    pytest.importorskip("mujoco")
    from metazoo.tasks.mujoco.families import HalfCheetahDir

    env = HalfCheetahDir().environment({"direction": 1.0}, 50)
    body = (drawn(env) == (0x5B, 0x7C, 0x99)).all(-1)
    assert 1000 < body.sum() < 20_000 and body[:, WIDTH // 4 : -WIDTH // 4].any()
    assert (drawn(env) != drawn(env, 10, np.ones(6, np.float32))).any()
