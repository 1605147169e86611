"""What a zoo shows: its README as the Hugging Face Hub reads it, and a film at its root."""

import os
import shutil
import stat

import pytest
import yaml

from metazoo.artefact import store
from metazoo.cards import video
from metazoo.hub import front, index
from metazoo.hub import transfer as hub
from tests import toy_policy

CURVE = {
    "metric": "return", "higher_is_better": True, "split": "test", "tasks": 2, "seed": 0, "baselines": {},
    "curve": [{"steps": 0, "episodes": 0, "mean": 20.5}, {"steps": 1, "episodes": 3, "mean": 31.25}],
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    toy_policy.export_toy(directory / "first" / "1", name="first")
    shutil.copytree(directory / "first", directory / "second")
    for name, evaluation in (("first", CURVE), ("second", {})):
        metadata = {**toy_policy.METADATA, "name": name, "evaluation": evaluation}
        store.replace_metadata(directory / name / "1", metadata)
        (directory / name / "README.md").write_text(f"# {name}\n")
    (directory / "second" / "replay.gif").write_bytes(b"GIF89a second")
    return directory


def head(page: str) -> dict:
    return yaml.safe_load(page.split("---\n")[1])


def test_the_head_is_the_model_index_and_the_page_names_every_policy(models, tmp_path):
    zoo = tmp_path / "zoo"
    hub.push([str(models / "first")], zoo)
    hub.push([str(models / "second")], zoo)
    page = (zoo / "README.md").read_text()
    said = head(page)
    assert said["pipeline_tag"] == "reinforcement-learning" and said["library_name"] == "metazoo"
    assert {"reinforcement-learning", "toy", "maml"} <= set(said["tags"])
    (one,) = said["model-index"]  # the other was never measured
    (result,) = one["results"]
    assert one["name"] == "first" and result["task"]["type"] == "reinforcement-learning"
    assert [metric["value"] for metric in result["metrics"]] == [20.5, 31.25]
    assert {metric["type"] for metric in result["metrics"]} == {"mean_reward"}
    assert "[`first`](first/README.md)" in page and "[`second`](second/README.md)" in page and "20.5 → 31.2" in page
    assert (zoo / "replay.gif").read_bytes() == (zoo / "second" / "replay.gif").read_bytes() == b"GIF89a second"
    assert "![A policy at play](replay.gif)" in page
    assert set(index.parse((zoo / index.FILE).read_bytes(), "")) == {"first", "second"}


def test_a_page_of_somebody_elses_stays(models, tmp_path):
    (tmp_path / "README.md").write_text("# My zoo\n")
    hub.push([str(models / "first")], tmp_path)
    assert (tmp_path / "README.md").read_text() == "# My zoo\n"


def test_a_film_that_was_given_is_taken_instead_of_the_one_beside(models, tmp_path):
    film = tmp_path / "made.mp4"
    film.write_bytes(b"mp4")
    version = (models / "second" / "1").resolve()
    hub.push([str(models / "first"), str(version)], tmp_path / "zoo", {version: film})
    assert (tmp_path / "zoo" / "replay.mp4").read_bytes() == b"mp4"
    assert not (tmp_path / "zoo" / "first" / "replay.gif").exists()
    assert front.replay_beside(models / "first" / "1") is None


def test_mp4_is_made_where_ffmpeg_is(tmp_path, monkeypatch):
    """A stand-in writes down what it was asked for; what real ones make of it is theirs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert video.as_mp4(tmp_path / "film.gif") is None
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/sh\nfor last; do :; done\necho "$@" > "$last"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    made = video.as_mp4(tmp_path / "film.gif")
    words = made.read_text().split()
    assert made.name == "film.mp4" and words[words.index("-i") + 1] == os.fspath(tmp_path / "film.gif")
    assert words[words.index("-pix_fmt") + 1] == "yuv420p"
