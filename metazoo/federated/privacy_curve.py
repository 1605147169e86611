"""The price of privacy in one picture: return after adaptation against ε, of federated policies.

``python -m metazoo.federated.privacy_curve runs/private_*/savedmodels/*/1 --out privacy.png`` evaluates them on the
same test tasks, prints a table, and draws it. A policy without privacy is a dotted line.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metazoo import progress
from metazoo.artefact import store
from metazoo.artefact.whole import aside
from metazoo.cards.report import evaluate_preset
from metazoo.cards.styles import COLORS
from metazoo.words import count

TASKS = 300
"""Test tasks."""


class Priced(NamedTuple):
    """A policy's ε, infinite without privacy, its number of clients, and its return before and after adaptation."""

    epsilon: float
    clients: int
    noise: float
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def priced(version: Path, tasks: int) -> Priced:
    """What a federated policy cost and earns, on ``tasks`` test tasks.

    Raises:
        ValueError: it was not trained by ``metazoo federate``.
    """
    among = (store.read_metadata(version) or {}).get("federated")
    if not among:
        raise ValueError(f"{version} is no federated policy; metazoo federate makes one.")
    curve = evaluate_preset(version, tasks=tasks, baselines=False)["curve"]
    promised = among["privacy"] or {"epsilon": math.inf, "noise": 0.0}
    return Priced(promised["epsilon"], among["clients"], promised["noise"], curve[0], curve[-1])


def table(found: Sequence[Priced]) -> str:
    """The policies in Markdown, from the least private to the most."""
    lines = ["| ε | noise z | before adaptation | after | 95 % interval |", "|---|---|---|---|---|"]
    for one in sorted(found, key=lambda one: -one.epsilon):
        epsilon = "none promised" if math.isinf(one.epsilon) else f"{one.epsilon:,g}"
        low, high = one.after["ci95"]
        means = f"{one.before['mean']:.2f} | {one.after['mean']:.2f}"
        lines.append(f"| {epsilon} | {one.noise:.3g} | {means} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines)


def draw(found: Sequence[Priced], file: Path) -> Path:
    """The picture: a curve for each number of clients, and what a policy earns that does not adapt."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for color, clients in zip(COLORS, sorted({one.clients for one in found}), strict=False):
        mine = sorted(one for one in found if one.clients == clients)
        private = [one for one in mine if math.isfinite(one.epsilon)]
        if private:
            means = [one.after["mean"] for one in private]
            ends = [[abs(one.after["ci95"][i] - one.after["mean"]) for one in private] for i in (0, 1)]
            label = count(clients, "client")
            axes.errorbar(
                [one.epsilon for one in private], means, ends, marker="o", capsize=3, color=color, label=label
            )
        for one in mine[len(private) :]:
            label = f"{count(clients, 'client')}, nothing promised"
            axes.axhline(one.after["mean"], color=color, linestyle=":", label=label)
    before = max(one.before["mean"] for one in found)
    axes.axhline(before, color="#555555", linestyle="--", label="before adaptation")
    axes.set_xscale("log")
    axes.set_xlabel("ε of a client (smaller is more private)")
    axes.set_ylabel("return after adaptation")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with aside(file) as part:
        figure.savefig(part, dpi=150, format="png")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description="Return against ε of federated policies.")
    parser.add_argument("versions", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("privacy.png"))
    parser.add_argument("--tasks", type=int, default=TASKS)
    asked = parser.parse_args()
    with progress.shown():
        found = [priced(version, asked.tasks) for version in asked.versions]
    print(f"{table(found)}\n\n{draw(found, asked.out)}")


if __name__ == "__main__":
    main()
