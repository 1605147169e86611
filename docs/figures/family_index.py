"""Write the tables of all families into ``docs/families/README.md``: ``python docs/figures/family_index.py``.

Everything comes from the families themselves. The second table makes an environment of each, so it needs MuJoCo.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from metazoo.tasks import catalogue
from metazoo.tasks.registry import BUILT_IN, ON_THE_HOST
from metazoo.types import Box

PAGE = Path(__file__).parents[1] / "families" / "README.md"


def in_the_graph() -> str:
    """A row for every family that TensorFlow steps."""
    ids = [f"`{line.gym_id}`" for line in catalogue.IN_THE_GRAPH.values()]
    return _table("Gymnasium id", ids, [family() for family in BUILT_IN])


def on_the_host() -> str:
    """A row for every family that Gymnasium's environments play."""
    return _table("from", [f"`{one.original}`" for one in ON_THE_HOST], [one(workers=0, rows=1) for one in ON_THE_HOST])


def _table(second: str, cells: list[str], families: list[Any]) -> str:
    lines = [f"| family | {second} | observation | action | horizon | what is hidden |", "|---|---|---|---|---|---|"]
    lines += [_row(cell, family) for cell, family in zip(cells, families, strict=True)]
    return "\n".join(lines)


def _row(cell: str, family: Any) -> str:
    action, hidden = family.action_space, family.hidden + " (supervised)" * family.supervised
    limit = f"`{list(action.shape)}`, ±{np.max(action.high):g}" if isinstance(action, Box) else f"{action.n}"
    seen = f"`{list(family.observation_space.shape)}`"
    link = f"[`{family.name}`]({family.page or family.name}.md)"
    return f"| {link} | {cell} | {seen} | {limit} | {family.horizon} | {hidden} |"


def put(page: str, name: str, table: str) -> str:
    """The page with this table between its marks."""
    marks = rf"(<!-- families: {name} -->\n).*?(\n<!-- end -->)"
    return re.sub(marks, lambda found: found[1] + table + found[2], page, count=1, flags=re.DOTALL)


if __name__ == "__main__":
    text = put(PAGE.read_text("utf-8"), "graph", in_the_graph())
    PAGE.write_text(put(text, "host", on_the_host()), "utf-8")
