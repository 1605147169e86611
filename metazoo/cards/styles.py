"""How everything is drawn, everywhere alike: colours of policies, colours and dashes of what they are compared with."""

from typing import Any, Final, NamedTuple

COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette: told apart with any kind of colour vision. The first is the policy's own."""
BASELINE: Final = "#555555"
SIZE: Final = 10
"""Of letters, in points, in pictures of at most ``WIDTH``: on a page they are as large as its text."""
SMALL: Final = 9
WIDTH: Final = 7.2
"""Inches; at ``DPI`` no page shows a picture much smaller than it is."""
DPI: Final = 150


class Style(NamedTuple):
    """Of a line or a dot: its colour, and matplotlib's on-off lengths (none: a solid line)."""

    color: str
    dashes: tuple[float, ...] = ()

    def line(self) -> dict[str, Any]:
        """Arguments of matplotlib's lines."""
        return {"color": self.color, "linestyle": (0, self.dashes) if self.dashes else "-"}


OTHER: Final = Style(BASELINE, (5, 3))
"""Of what is not named below: policies that do not adapt, and what a family knows to be possible."""
STYLES: Final = {
    "random": Style("#999999", (2, 2)),
    "fine_tuning": Style(BASELINE, (5, 1.5, 1, 1.5)),
    "from_scratch": Style(BASELINE, (1, 1.5)),
    "bayes_optimal": Style("#000000"),
    "finite_gittins": Style("#D55E00", (5, 1.5, 1, 1.5)),
    "gittins": Style("#D55E00"),
    "ucb1": Style("#009E73"),
    "thompson": Style("#CC79A7"),
    "optimistic_thompson": Style("#CC79A7", (5, 3)),
    "epsilon_greedy": Style("#E69F00"),
    "greedy": Style("#56B4E9", (5, 3)),
    "psrl": Style("#CC79A7"),
    "opsrl": Style("#CC79A7", (5, 3)),
    "ucrl2": Style("#009E73"),
    "beb": Style("#D55E00"),
    "beb_replanned": Style("#D55E00", (5, 1.5, 1, 1.5)),
}


def style_of(baseline: str) -> Style:
    """By its name in a report."""
    return STYLES.get(baseline, OTHER)
