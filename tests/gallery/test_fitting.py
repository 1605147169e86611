"""A file of episodes against policies."""

import json
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import metazoo
from metazoo.artefact.episodes import save_episodes
from metazoo.artefact.places import savedmodels_directory
from metazoo.artefact.spaces import CollectionError
from metazoo.artefact.store import latest
from metazoo.collect import collect, load_episodes
from metazoo.gallery.fitting import convert, fits

ROOT = Path(__file__).parents[2]
NAMES = "maml_navigation", "maml_cartpole", "dr_cartpole"


@pytest.fixture(scope="module")
def versions():
    return [latest(savedmodels_directory() / name) for name in NAMES]


@pytest.fixture(scope="module")
def played():
    policy = metazoo.load("maml_cartpole")
    return collect(gym.make("CartPole-v1"), policy.step, episodes=15, seed=0, memory=policy.memory, horizon=200)


def test_policies_that_take_the_file_stand_first_with_what_a_step_says(versions, played, tmp_path):
    save_episodes(tmp_path / "own.npz", played.episodes)
    rows = fits(tmp_path / "own.npz", versions)
    assert [row["name"] for row in rows] == ["maml_cartpole", "dr_cartpole", "maml_navigation"]
    own, plain, other = rows
    assert own["refused"] is None
    np.testing.assert_allclose(own["returns"], played.returns)
    assert abs(own["diagnostics"]["log_prob"] - own["diagnostics"]["expected_log_prob"]) < 0.2
    assert "does not adapt" in plain["refused"]
    assert not other["fits"] and "observations has shape" in other["reason"]


def test_episodes_of_another_controller_are_told_from_its_own(versions, played, tmp_path):
    always = played.episodes._replace(actions=np.ones_like(played.episodes.actions))
    save_episodes(tmp_path / "other.npz", always)
    (row,) = fits(tmp_path / "other.npz", [versions[1]])
    assert row["fits"] and "off_policy" in row["refused"]
    assert row["diagnostics"]["log_prob"] != row["diagnostics"]["expected_log_prob"]


def test_what_is_no_file_of_episodes_is_said_without_its_path(versions, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    (row, *_) = fits(tmp_path / "bad.npz", versions)
    assert not row["fits"]
    assert row["reason"].startswith("the file is not an .npz file")
    assert str(tmp_path) not in row["reason"]


def test_a_log_becomes_arrays_and_what_does_not_fit_is_said_without_its_path(versions, played, tmp_path):
    first = {name: getattr(played.episodes, name)[0, 0, :5].tolist() for name in ("observations", "actions", "rewards")}
    first |= {"final_observation": played.episodes.observations[0, 0, 5].tolist(), "truncated": True}
    (tmp_path / "log.jsonl").write_text(json.dumps(first) + "\n", encoding="utf-8")
    convert(tmp_path / "log.jsonl", versions[1], tmp_path / "made.npz")
    made = load_episodes(tmp_path / "made.npz", metazoo.load("maml_cartpole").metadata)
    np.testing.assert_allclose(made.rewards, played.episodes.rewards[:, :1, :5])
    with pytest.raises(CollectionError) as refused:
        convert(tmp_path / "log.jsonl", versions[0], tmp_path / "made.npz")
    assert str(tmp_path) not in str(refused.value)


def test_the_page_records_as_the_documentation_does_and_the_file_fits(versions, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script = (ROOT / "metazoo" / "gallery" / "page" / "file.js").read_text(encoding="utf-8")
    assert block.strip() == re.search(r"const RECORD = `(.*?)`;", script, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    (row,) = fits(tmp_path / "episodes.npz", versions[1:2])
    assert row["fits"] and row["refused"] is None and row["episodes"] == 5
