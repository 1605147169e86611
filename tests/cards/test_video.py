"""Films of a task before and after adapting: read back, frame by frame."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from metazoo.algorithms.maml import MAML
from metazoo.cards import video
from metazoo.cards.drawings import drawing_for, state_of
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


def test_a_film_shows_both_episodes_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "FRAMES", 5)
    policy = export_small(tmp_path, Navigation(horizon=9), "small")
    frames = frames_of(video.film(policy, tmp_path / "film.gif", episodes=2, steps=1))
    assert 4 <= len(frames) <= 7, "every second step, and the last"
    assert frames[0].shape == (HEIGHT + 22, 2 * WIDTH + 8, 3)
    left, right = frames[-1][22:, :WIDTH], frames[-1][22:, WIDTH + 8 :]
    assert (left != right).any(), "adapted, it moves in another way"
    assert (frames[0][22:, :WIDTH] != left).any()
    again = frames_of(video.film(policy, tmp_path / "again.gif", episodes=2, steps=1))
    assert np.array_equal(frames, again), "the same seed films the same"


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
