"""What families draw their states on, and with: a small panel of Pillow's, which needs no screen, OpenGL or pygame."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

WIDTH: Final = 320
HEIGHT: Final = 240
"""Of one panel, in pixels."""
INK, BODY, ACCENT, GOAL, TRAIL = "#222222", "#5B7C99", "#D55E00", "#009E73", "#9DB7CC"

Draw = Callable[[Any, Mapping[str, Any], Sequence[Any]], None]
"""(``PIL.ImageDraw`` canvas, the task's parameters by name, states so far) → marks on the canvas, lengths in the
family's own units scaled to pixels. A state is the list of its fields, numbers or arrays, in the order that the
family's own tuple has."""


def dot(canvas: Any, at: tuple[float, float], radius: float, colour: str) -> None:
    """A filled circle; all in pixels."""
    canvas.ellipse([at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius], fill=colour)
