"""Tables and pictures of docs/comparison.md, from what `metazoo evaluate NAME --record` wrote into the policies.

python docs/figures/compare.py docs/images/compare_cartpole.png maml_cartpole metasgd_cartpole promp_cartpole
"""

import sys
from pathlib import Path
from typing import Any

from metazoo import savedmodels_directory
from metazoo.artefact import store
from metazoo.cards.plots import adaptation_curve


def recorded(name: str) -> dict[str, Any]:
    """The recorded report of a policy of the zoo."""
    metadata = store.read_metadata(store.latest(savedmodels_directory() / name)) or {}
    return metadata["evaluation"]


def cell(point: dict[str, Any]) -> str:
    digits = 1 if abs(point["mean"]) >= 4 else 2
    mean, *interval = (f"{value:.{digits}f}".replace("-", "−") for value in (point["mean"], *point.get("ci95", ())))
    return f"{mean} [{', '.join(interval)}]" if interval else mean


def line(name: str, points: list[dict[str, Any]], columns: int) -> str:
    cells = [cell(point) for point in points] + [""] * (columns - len(points))
    return f"| `{name}` | " + " | ".join(cells) + " |"


def table(reports: list[dict[str, Any]]) -> str:
    """Markdown: a row for each policy and, below, each of their baselines; those that do not adapt fill one cell."""
    columns = max(len(report["curve"]) for report in reports)
    lines = [
        "| | " + " | ".join(f"after {i} step{'s' * (i != 1)}" for i in range(columns)) + " |",
        "|---" * (columns + 1) + "|",
    ]
    lines += [line(report["name"], report["curve"], columns) for report in reports]
    baselines = {name: baseline for report in reports for name, baseline in report["baselines"].items()}
    for name, baseline in sorted(baselines.items(), key=lambda item: -item[1]["mean"]):
        lines.append(line(name, baseline.get("curve", [baseline]), columns))
    return "\n".join(lines)


if __name__ == "__main__":
    found = [recorded(name) for name in sys.argv[2:]]
    adaptation_curve(found, Path(sys.argv[1]))
    print(table(found))
    print("\nout of range:\n" + table([{**report, **report["ood"], "baselines": {}} for report in found]))
