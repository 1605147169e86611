"""Characters of a font drawn as if by hand: a distance field of each, sampled under a drawn warp and thickness.

A *field* says for every point how far it is from the edge of the ink, positive inside. Ink of any thickness is where
the field, plus a number, is positive; so one field of a character gives all its drawings.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from metazoo.tasks.images.image_set import SIDE, ImageSet
from metazoo.tasks.images.scripts import NAMED, alphabet_of, split_of

FIELD = 64
"""Rows and columns of a distance field, of which a character's longer side takes ``INK`` at most."""
INK = 46
POINTS = 34
"""The font's size in pixels of the field: characters keep their sizes relative to one another where they fit."""
LEAST_INK = 40
"""Pixels of the field below which a character is a dot that cannot be told from others."""
ALIKE = 0.85
"""Overlap (intersection over union), sizes made equal, from which two characters count as one."""
STRETCHED = 24
"""Pixels of a character's longer side when it is compared with others."""
KNOTS = 5
"""Points a side of the grid whose random moves, interpolated, are the elastic part of a warp."""
ROTATION, SCALE, SHEAR, SHIFT, ELASTIC, THICKNESS = 0.20, 0.13, 0.18, 2.5, 2.2, (-0.9, 1.5)
"""How far drawings differ: rad; relative; relative; pixels of the field for the last three."""

Progress = Callable[[int], None]


def font_path() -> Path:
    """DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def characters(alphabets: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """The font's characters by alphabet, in Unicode's order; all alphabets where none are named."""
    from matplotlib.ft2font import FT2Font

    found: dict[str, list[str]] = {}
    for code in sorted(FT2Font(str(font_path())).get_charmap()):
        alphabet = alphabet_of(chr(code))
        if alphabet and (not alphabets or alphabet in alphabets):
            found.setdefault(alphabet, []).append(chr(code))
    return found


def ink(character: str) -> np.ndarray:
    """bool ``[FIELD, FIELD]``: the character, its bounding box in the middle."""
    from matplotlib.ft2font import FT2Font, LoadFlags

    font = FT2Font(str(font_path()))
    size = float(POINTS)
    for _ in range(2):
        font.set_size(size, 72)
        font.set_text(character, 0.0, flags=LoadFlags.NO_HINTING)
        font.draw_glyphs_to_bitmap(antialiased=True)
        drawn = np.asarray(font.get_image()) > 127
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        if not len(rows):
            return np.zeros((FIELD, FIELD), bool)
        drawn = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if max(drawn.shape) <= INK:
            break
        size *= (INK - 1) / max(drawn.shape)
    drawn = drawn[:INK, :INK]
    top, left = ((FIELD - side) // 2 for side in drawn.shape)
    canvas = np.zeros((FIELD, FIELD), bool)
    canvas[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return canvas


def distance_field(drawn: np.ndarray) -> np.ndarray:
    """float32: distance to the nearest pixel without ink, minus that to the nearest with ink."""
    from scipy.ndimage import distance_transform_edt

    return (distance_transform_edt(drawn) - distance_transform_edt(~drawn)).astype(np.float32)


def drawings(field: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 ``[count, 28, 28]``: the character of a distance field drawn so often, each time otherwise."""
    angle, shear = rng.uniform(-ROTATION, ROTATION, count), rng.uniform(-SHEAR, SHEAR, count)
    scale = 1.0 + rng.uniform(-SCALE, SCALE, (2, count))
    shift = rng.uniform(-SHIFT, SHIFT, (2, count, 1, 1))
    thickness = rng.uniform(*THICKNESS, (count, 1, 1))
    moves = _smooth(rng.uniform(-ELASTIC, ELASTIC, (2, count, KNOTS, KNOTS)))
    step = FIELD / SIDE
    grid = (np.arange(SIDE) + 0.5) * step - FIELD / 2
    y, x = np.meshgrid(grid, grid, indexing="ij")
    cosine, sine = (one[:, None, None] for one in (np.cos(angle), np.sin(angle)))
    turned_y = (cosine * y + sine * x) * scale[0][:, None, None]
    turned_x = (cosine * x - sine * y) * scale[1][:, None, None] + shear[:, None, None] * turned_y
    where = (turned_y + shift[0] + moves[0], turned_x + shift[1] + moves[1])
    distance = _sampled(field, *(part + FIELD / 2 - 0.5 for part in where)) + thickness
    return np.round(255.0 * np.clip(0.5 + distance / step, 0.0, 1.0)).astype(np.uint8)


def render(
    alphabets: tuple[str, ...] = (), count: int = 20, seed: int = 0, advance: Progress = lambda _: None
) -> ImageSet:
    """Draws every character of the ``alphabets`` (all where none are named) ``count`` times.

    A character that looks like an earlier one, whatever their sizes, is left out: it could not be told from it. Each
    character's drawings depend on ``seed`` and on its code alone.
    """
    fields, names, homes = [], [], []
    for alphabet, character, drawn in distinct(characters(alphabets)):
        rng = np.random.default_rng([seed, ord(character)])
        fields.append(drawings(distance_field(drawn), count, rng))
        names.append(character)
        homes.append(alphabet)
        advance(1)
    return ImageSet(np.stack(fields), np.array(homes), np.array(names))


def distinct(found: dict[str, list[str]]) -> Iterator[tuple[str, str, np.ndarray]]:
    """``(alphabet, character, ink)`` of those that differ from all before them: held-out scripts come first, so that
    what they share with others is taken from these."""
    order = sorted(found, key=lambda name: (split_of(name) == "train", name not in NAMED))
    kept = np.zeros((sum(map(len, found.values())), STRETCHED**2), np.float32)
    count = 0
    for alphabet in order:
        for character in found[alphabet]:
            drawn = ink(character)
            if drawn.sum() < LEAST_INK:
                continue
            shape = _stretched(drawn).reshape(-1).astype(np.float32)
            if _overlap(kept[:count], shape).max(initial=0.0) >= ALIKE:
                continue
            kept[count] = shape
            count += 1
            yield alphabet, character, drawn


def _overlap(kept: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Intersection over union of 0/1 images ``[n, P]`` with one ``[P]``."""
    both = kept @ shape
    return both / (kept.sum(1) + shape.sum() - both)


def _stretched(drawn: np.ndarray, side: int = STRETCHED) -> np.ndarray:
    """The bounding box scaled so that its longer side has ``side`` pixels, in the middle."""
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    box = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(side * one / max(box.shape))) for one in box.shape)
    y = ((np.arange(height) + 0.5) * box.shape[0] / height).astype(int)
    x = ((np.arange(width) + 0.5) * box.shape[1] / width).astype(int)
    canvas = np.zeros((side, side), bool)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = box[np.ix_(y, x)]
    return canvas


def _smooth(knots: np.ndarray) -> np.ndarray:
    """``[..., KNOTS, KNOTS] → [..., 28, 28]``, linear between the knots after a smooth step."""
    place = np.linspace(0.0, KNOTS - 1, SIDE)
    low = np.minimum(place.astype(int), KNOTS - 2)
    part = place - low
    share = part * part * (3.0 - 2.0 * part)
    weights = np.zeros((SIDE, KNOTS))
    weights[np.arange(SIDE), low] = 1.0 - share
    weights[np.arange(SIDE), low + 1] += share
    return np.einsum("ia,...ab,jb->...ij", weights, knots, weights)


def _sampled(field: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The field at points ``[...]``, bilinear; outside, its border."""
    y, x = (np.clip(part, 0.0, FIELD - 1.001) for part in (y, x))
    top, left = y.astype(np.int64), x.astype(np.int64)
    down, right = y - top, x - left
    flat = field.reshape(-1)
    corner = top * FIELD + left
    upper = flat[corner] * (1.0 - right) + flat[corner + 1] * right
    lower = flat[corner + FIELD] * (1.0 - right) + flat[corner + FIELD + 1] * right
    return upper * (1.0 - down) + lower * down
