"""The picture of a similarity: two maps of the tasks, and what policies are worth on tasks further and further away."""

from pathlib import Path
from typing import Any

import numpy as np

from metazoo.cards.plots import COLORS
from metazoo.similarity.similar import Similarity
from metazoo.similarity.space import distances
from metazoo.words import count

BINS = 6


def draw(found: Similarity, file: Path) -> Path:
    """Writes the picture and returns its path. Matplotlib is imported here."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 3.7), layout="constrained")
    panels = figure.subplots(1, 3)
    plane = _plane(found.coordinates)
    _by_parameter(figure, panels[0], found, plane(found.coordinates))
    few = len(found.gains)
    points = panels[1].scatter(*plane(found.coordinates[:few]).T, c=found.gains, cmap="viridis", s=16)
    figure.colorbar(points, ax=panels[1], label="gain of adapting")
    panels[1].set_title(f"{few} tasks, by gain", fontsize=9)
    if found.environment is not None:
        for axes in panels[:2]:
            axes.scatter(*plane(found.environment[None]).T, marker="*", s=160, color=COLORS[1], label="environment")
            axes.legend(frameon=False, fontsize=8)
    for axes in panels[:2]:
        axes.set(xticks=[], yticks=[], xlabel="first component", ylabel="second component")
    _transfer(panels[2], found)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120, metadata={"Software": None})
    return file


def _plane(coordinates: np.ndarray) -> Any:
    """What maps coordinates ``[M, D]`` to their first two principal components ``[M, 2]``."""
    middle = coordinates.mean(0)
    vectors = np.linalg.svd(coordinates - middle, full_matrices=False)[2][:2]
    return lambda rows: np.pad((rows - middle) @ vectors.T, ((0, 0), (0, 2 - len(vectors))))


def _by_parameter(figure: Any, axes: Any, found: Similarity, plane: np.ndarray) -> None:
    """Coloured by the parameter that the map shows best."""
    correlation = found.report["correlation"]
    best = max(found.parameters, key=lambda name: correlation[name]["rho"])
    points = axes.scatter(*plane.T, c=found.parameters[best], cmap="viridis", s=9)
    figure.colorbar(points, ax=axes, label=best)
    axes.set_title(f"{count(found.report['tasks'], 'task')}, by {best}: ρ {correlation[best]['rho']:.2f}", fontsize=9)


def _transfer(axes: Any, found: Similarity) -> None:
    """Return against distance: equally many pairs of tasks to a point."""
    returns = found.transfer.returns
    few = len(returns)
    others = ~np.eye(few, dtype=bool)
    far, earned = distances(found.coordinates[:few])[others], returns[others]
    parts = np.array_split(np.argsort(far), BINS)
    axes.plot([far[part].mean() for part in parts], [earned[part].mean() for part in parts], "o-", color=COLORS[0],
              label="of another task's policy")  # fmt: skip
    report = found.report["transfer"]
    for key, style in (("own", "-"), ("before", ":")):
        label = "of its own" if key == "own" else "before adapting"
        axes.axhline(report[key]["mean"], color="#777777", linestyle=style, label=label)
    axes.set(xlabel="distance of the tasks", ylabel="mean return")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
