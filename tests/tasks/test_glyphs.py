"""Glyphs are drawn from the font alone: the same again, each unlike the others, alphabets held out."""

import numpy as np
import pytest

from metazoo.tasks.images import glyphs, image_set, rendering, scripts
from metazoo.tasks.images.glyphs import Glyphs

PART = ("ogham", "hebrew")


@pytest.fixture(scope="module")
def part():
    return rendering.render(PART, count=4)


def test_the_same_seed_draws_the_same_whatever_else_is_drawn(part):
    again = rendering.render(("hebrew",), count=4)
    mine = part.of(("hebrew",))
    assert np.array_equal(again.images, part.images[mine]) and np.array_equal(again.characters, part.characters[mine])
    other = rendering.render(("hebrew",), count=4, seed=1)
    assert not np.array_equal(other.images, again.images)


def test_every_drawing_differs_and_shows_its_character(part):
    images = part.images.reshape(-1, 784).astype(np.float32)
    assert len(np.unique(images, axis=0)) == len(images)
    assert images.max(1).min() > 200 and 0.01 < (images > 127).mean() < 0.2
    border = part.images.copy()
    border[:, :, 1:-1, 1:-1] = 0
    assert (border > 127).mean() < 1e-3, "ink is cut off"
    one, other = (part.images[:, i].reshape(-1, 784).astype(np.float32) for i in (0, 1))
    nearest = ((one[:, None] - other[None]) ** 2).sum(-1).argmin(1)
    assert np.mean(nearest == np.arange(len(one))) > 0.1  # of 55 characters; chance would be 2 %


def test_no_jitter_draws_the_glyph_itself(monkeypatch):
    for name in ("ROTATION", "SCALE", "SHEAR", "SHIFT", "ELASTIC"):
        monkeypatch.setattr(rendering, name, 0.0)
    monkeypatch.setattr(rendering, "THICKNESS", (0.0, 0.0))
    drawn = rendering.ink("א")
    image = rendering.drawings(rendering.distance_field(drawn), 1, np.random.default_rng(0))[0]
    expected = drawn.reshape(64, 64)
    step = 64 / 28
    centres = ((np.arange(28) + 0.5) * step).astype(int)
    sampled = expected[np.ix_(centres, centres)]
    assert np.mean((image > 127) == sampled) > 0.98


def test_thicker_lines_have_more_ink():
    field = rendering.distance_field(rendering.ink("א"))
    thin, thick = ((rendering._sampled(field, *np.mgrid[0:64:1.0, 0:64:1.0]) + more > 0).sum() for more in (-1.0, 2.0))
    assert thin < (field > 0).sum() < thick


def test_characters_that_look_alike_are_there_once_and_in_the_held_out_script_if_they_can():
    found = {"latin": ["A", "O"], "greek": ["Α", "Ο", "Ω"], "hebrew": ["א"], "cyrillic": ["А", "Ж"], "georgian": ["Ⴝ"]}
    kept = [(alphabet, character) for alphabet, character, _ in rendering.distinct(found)]
    assert kept == [
        ("hebrew", "א"), ("georgian", "Ⴝ"), ("latin", "A"), ("latin", "O"), ("greek", "Ω"), ("cyrillic", "Ж")
    ]  # fmt: skip


def test_alphabets_are_scripts_without_marked_letters():
    assert [scripts.alphabet_of(one) for one in "aéЖאა→∀1 "] == [
        "latin", "", "cyrillic", "hebrew", "georgian", "arrows", "operators", "", ""
    ]  # fmt: skip
    family = Glyphs()
    held = [family.alphabets(split) for split in ("train", "validation", "test")]
    assert sum(map(len, held)) == len({name for names in held for name in names}) == 22


def test_the_set_is_drawn_once_and_then_read(tmp_path, monkeypatch, part):
    monkeypatch.setenv("METAZOO_CACHE", str(tmp_path))
    drawn = []
    monkeypatch.setattr(rendering, "render", lambda advance: drawn.append(1) or part)
    for _ in range(2):
        glyphs.rendered.cache_clear()
        assert glyphs.rendered().checksum() == part.checksum()
    assert drawn == [1] and image_set.read(tmp_path / "glyphs.npz").checksum() == part.checksum()
    glyphs.rendered.cache_clear()
