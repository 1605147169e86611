"""The price of privacy in one picture: return after adaptation against ε, of federated policies with cards.

``python -m metazoo.federated.privacy_curve runs/*/savedmodels/*/1 --out privacy.png``. Policies without privacy are a
line each; among those with privacy a curve joins the same number of clients.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metazoo.artefact import store
from metazoo.artefact.whole import aside
from metazoo.cards.plots import COLORS
from metazoo.words import count


def points_of(versions: Sequence[Path]) -> dict[int, list[tuple[float, Mapping[str, Any]]]]:
    """By number of clients: ε, infinite without privacy, and the point of the evaluation after all inner steps.

    Raises:
        ValueError: a version was not federated, or has no card.
    """
    points: dict[int, list[tuple[float, Mapping[str, Any]]]] = {}
    for version in versions:
        metadata = store.read_metadata(version) or {}
        among, curve = metadata.get("federated"), (metadata.get("evaluation") or {}).get("curve")
        if not among or not curve:
            raise ValueError(f"{version} is no federated policy with a card; metazoo federate makes one.")
        epsilon = among["privacy"]["epsilon"] if among["privacy"] else float("inf")
        points.setdefault(among["clients"], []).append((epsilon, curve[-1]))
    return {clients: sorted(found, key=lambda one: one[0]) for clients, found in sorted(points.items())}


def draw(versions: Sequence[Path], file: Path, before: float | None = None) -> Path:
    """The picture; ``before`` is the return without adaptation, as a dashed line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for colour, (clients, found) in zip(COLORS, points_of(versions).items(), strict=False):
        private = [(epsilon, point) for epsilon, point in found if epsilon < float("inf")]
        if private:
            means = [point["mean"] for _, point in private]
            ends = [[abs(point["ci95"][i] - point["mean"]) for _, point in private] for i in (0, 1)]
            epsilons = [epsilon for epsilon, _ in private]
            label = count(clients, "client")
            axes.errorbar(epsilons, means, ends, marker="o", capsize=3, color=colour, label=label)
        for _, point in found[len(private) :]:
            axes.axhline(point["mean"], color=colour, linestyle=":", label=f"{count(clients, 'client')}, no privacy")
    if before is not None:
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("versions", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("privacy.png"))
    parser.add_argument("--before", type=float, help="the return without adaptation")
    asked = parser.parse_args()
    print(draw(asked.versions, asked.out, asked.before))


if __name__ == "__main__":
    main()
