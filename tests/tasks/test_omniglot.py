"""Omniglot, from the published archives where they are; from archives made here otherwise."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from metazoo.tasks.images import archives, omniglot
from metazoo.tasks.images.omniglot import Omniglot

needs_archives = pytest.mark.skipif(not archives.here(), reason="the archives are not here")


@needs_archives
def test_the_small_sets_hold_the_published_characters():
    images = Omniglot().image_set()
    assert images.images.shape == (242, 20, 28, 28)
    assert dict(zip(*np.unique(images.alphabets, return_counts=True), strict=True)) == {
        "Balinese": 24, "Early_Aramaic": 22, "Greek": 24, "Japanese_(katakana)": 47, "Korean": 40, "Latin": 26,
        "Sanskrit": 42, "Tagalog": 17,
    }  # fmt: skip
    ink = (images.images > 127).mean((2, 3))
    assert ink.min() > 0.005 and ink.max() < 0.35
    assert len(np.unique(images.images.reshape(-1, 784), axis=0)) == 242 * 20


@needs_archives
def test_alphabets_are_held_out_and_every_split_has_twenty_characters():
    splits = {split: set(Omniglot().alphabets(split)) for split in ("train", "validation", "test")}
    assert splits["test"] == {"Sanskrit", "Tagalog"} and splits["validation"] == {"Early_Aramaic"}
    assert len(splits["train"]) == 5 and not splits["train"] & (splits["test"] | splits["validation"])
    for split in splits:
        assert len(set(Omniglot(ways=20).sample(1, split).characters[0].numpy())) == 20


@needs_archives
def test_archives_here_are_the_published_ones():
    for name in (*archives.SOURCES["small"], archives.RUNS):
        assert hashlib.sha256(archives.found(name).read_bytes()).hexdigest() == archives.ARCHIVES[name]


@needs_archives
def test_the_official_runs_pair_each_query_with_its_class():
    """The first query of the first run is of class 8, by the published list of labels; nearest neighbours in pixels
    are known to err in about four of five."""
    runs = omniglot.runs()
    assert len(runs) == 20 and all(sorted(run.labels) == list(range(20)) for run in runs)
    assert runs[0].labels[:3].tolist() == [7, 8, 1]
    wrong = [nearest(run.support, run.query) != run.labels for run in runs]
    assert 0.6 < np.mean(wrong) < 0.9


def nearest(known, asked):
    flat = [one.reshape(20, -1).astype(float) for one in (asked, known)]
    return ((flat[0][:, None] - flat[1][None]) ** 2).sum(-1).argmin(1)


def archive(path, alphabets):
    with zipfile.ZipFile(path, "w") as file:
        for number, alphabet in enumerate(alphabets):
            for character in range(5):
                for drawer in range(20):
                    picture = Image.new("1", (105, 105), 1)
                    picture.putpixel((20 + character, 20 + 2 * drawer), 0)
                    picture.putpixel((60 + number, 50), 0)
                    buffer = io.BytesIO()
                    picture.save(buffer, "PNG")
                    file.writestr(
                        f"x/{alphabet}/character{character:02d}/0{character}_{drawer:02d}.png", buffer.getvalue()
                    )


def test_the_full_set_is_split_by_its_archives(tmp_path, monkeypatch):
    monkeypatch.setenv("METAZOO_CACHE", str(tmp_path))
    (tmp_path / "omniglot").mkdir()
    archive(tmp_path / "omniglot" / "images_background.zip", ["Latin", "Greek", "Korean"])
    archive(tmp_path / "omniglot" / "images_evaluation.zip", ["Glagolitic"])
    omniglot.loaded.cache_clear()
    family = Omniglot(source="full")
    assert family.alphabets("train") == ("Greek", "Latin") and family.alphabets("test") == ("Glagolitic",)
    assert family.image_set().images.shape == (20, 20, 28, 28)
    tasks = family.sample(3, "test")
    assert set(family.image_set().alphabets[tasks.characters.numpy().astype(int).reshape(-1)]) == {"Glagolitic"}
    omniglot.loaded.cache_clear()


def test_missing_archives_are_named_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("METAZOO_CACHE", str(tmp_path))
    with pytest.raises(
        archives.MissingDataError, match="images_background.zip is not here; metazoo download --data omni"
    ):
        archives.found("images_background.zip")


def test_archives_are_fetched_with_their_checksums(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.setenv("METAZOO_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setattr(pooch, "retrieve", lambda *given: asked.append(given))
    made = []
    assert archives.download(made.append) == tmp_path / "omniglot" and len(made) == 5
    assert asked[-1] == (
        "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/one-shot-classification/all_runs.zip",
        f"sha256:{archives.ARCHIVES[archives.RUNS]}", "all_runs.zip", tmp_path / "omniglot",
    )  # fmt: skip


def test_another_source_is_refused():
    with pytest.raises(ValueError, match="source is 'fool'; choose small or full"):
        Omniglot(source="fool")
