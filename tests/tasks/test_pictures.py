"""Folders of pictures: read as a policy sees them, and what is wrong with one in a sentence."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from metazoo.tasks.images.pictures import from_bytes, read_folder, single
from tests.images import SET, write_folder

SHOWN = SET.images[:6, 0].copy()
SHOWN[:, [0, -1]] = 0
SHOWN[:, :, [0, -1]] = 0
LABELS = np.array([0, 0, 1, 1, 2, 2])
NAMES = ("alef", "bet", "gimel")


def encoded(array, form="PNG", mode=None):
    picture = Image.fromarray(array)
    buffer = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, form)
    return tf.constant(buffer.getvalue())


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "letters", SHOWN, LABELS, NAMES)


def test_a_folder_is_read_by_the_names_of_its_classes(folder):
    (folder / ".hidden").mkdir()
    (folder / "alef" / ".DS_Store").write_bytes(b"x")
    found = read_folder(folder, 5)
    assert found.classes == NAMES and found.labels.tolist() == LABELS.tolist()
    np.testing.assert_array_equal(found.images, SHOWN)
    assert found.paths[2] == "bet/02.png" and single(found) == []
    episodes = found.episodes()
    assert episodes.observations.shape == (1, 1, 6, 28, 28) and episodes.actions.tolist() == [[LABELS.tolist()]]


def test_a_class_with_one_picture_is_named(folder):
    (folder / "bet" / "02.png").unlink()
    assert single(read_folder(folder, 5)) == ["bet"]


def broken(folder, change):
    change(folder)
    with pytest.raises(ValueError) as refused:
        read_folder(folder, 3)
    text = str(refused.value)
    assert text.endswith(".") and "\n" not in text
    return text


def save(array, folder, name, mode=None):
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(folder / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda at: (at / "dalet").mkdir(), "has 4 subfolders; 2 to 3 would be right"),
        (lambda at: [one.unlink() for one in (at / "bet").iterdir()], "the class 'bet' has no picture in"),
        (lambda at: (at / "bet" / "notes.txt").write_text("x"), "bet/notes.txt is no picture that can be read; .png"),
        (lambda at: (at / "bet" / "half.png").write_bytes((at / "bet" / "02.png").read_bytes()[:60]), "bet/half.png"),
        (lambda at: save(SHOWN[0], at, "bet/9.png", "RGB"), "bet/9.png has the mode RGB; grey (mode L) would be right"),
        (lambda at: save(SHOWN[0], at, "bet/9.png", "RGBA"), "bet/9.png has the mode RGBA; grey"),
        (lambda at: save(SHOWN[0][:20], at, "bet/9.png"), "bet/9.png has 28 × 20 pixels; 28 × 28 would be right"),
        (lambda at: save(255 - SHOWN[0], at, "alef/9.png"), "alef/00.png and alef/9.png are the same picture"),
        (lambda at: save(255 - SHOWN[0], at, "bet/9.png"), "alef/00.png and bet/9.png are the same picture"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(folder, change, message):
    assert message in broken(folder, change)


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no folder .*nowhere; one with a subfolder for each class"):
        read_folder(tmp_path / "nowhere", 5)


@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("BMP", None), ("GIF", None)]
)
def test_modes_are_converted(form, mode):
    np.testing.assert_allclose(from_bytes(encoded(SHOWN[0], form, mode)).numpy(), SHOWN[0], atol=1)


def test_sizes_are_converted_and_paper_is_told_from_ink():
    large = np.kron(SHOWN[0], np.ones((5, 5), np.uint8))
    np.testing.assert_array_equal(from_bytes(encoded(large)), SHOWN[0])
    np.testing.assert_array_equal(from_bytes(encoded(255 - large)), SHOWN[0])
    wide = np.pad(large, ((0, 0), (70, 70)))
    squeezed = from_bytes(encoded(wide)).numpy()
    assert not squeezed[:7].any() and not squeezed[-7:].any() and squeezed[8:20, 8:20].any()


def test_convert_takes_what_is_refused_without(folder):
    save(np.kron(255 - SHOWN[5], np.ones((4, 4), np.uint8)), folder, "gimel/9.jpg", "RGB")
    with pytest.raises(ValueError, match=r"gimel/9.jpg has the mode RGB.* --convert makes it so"):
        read_folder(folder, 5)
    assert len(read_folder(folder, 5, convert=True).labels) == 7
