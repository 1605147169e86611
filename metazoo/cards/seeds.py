"""How much trainings of one preset differ: exports of other training seeds beside the one that is shipped.

``metazoo train NAME --seeds 0,1,2 --out DIR`` makes them, ``metazoo evaluate NAME --record --runs DIR`` puts them on
the card. Here the training run is the unit of replication; an interval over test tasks describes one policy alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from metazoo.artefact import store
from metazoo.cards.report import card_tasks, evaluate_preset
from metazoo.summaries import interquartile_mean
from metazoo.words import count

SAME = ("family", "family_args", "algorithm", "network")
"""What trainings must have in common with the shipped policy, besides settings, by keys of their metadata; and how they
adapt."""


def exports(directory: Path, name: str) -> list[Path]:
    """The exported versions of a preset in the run directories ``directory/seed-*``, by seed.

    Raises:
        ValueError: there are fewer than two: they would have no spread.
    """
    found = sorted(directory.glob(f"seed-*/{name}/savedmodels/{name}/1"), key=_seed)
    if len(found) < 2:
        raise ValueError(
            f"{directory} holds {count(len(found), 'finished training')} of {name}; make several with"
            f" metazoo train {name} --seeds 0,1,2 --out {directory}."
        )
    return found


def compare(shipped: Path, runs: list[Path]) -> dict[str, Any]:
    """What ``evaluation.seeds`` of the shipped version's metadata says of other trainings of its preset.

    ``runs`` holds seed and seconds of every training, and what its policy does on the shipped policy's test ``tasks``:
    ``before`` and ``after`` adapting, or ``total`` of whole trials where it learns while it plays (each with mean and
    interval). ``spread`` holds mean, standard deviation (n − 1), least and largest ``after`` or ``total`` over the
    trainings, and under ``of`` which; the mean's 95 % interval over trainings; and the interquartile mean over
    trainings and tasks, which has no interval: drawing trainings anew for each task, as Agarwal et al. 2021 do, would
    take what a training does on one task to say nothing about another, and so a few trainings for as many as there are
    tasks.

    Raises:
        ValueError: an export was not trained as the shipped one was, or two have the same seed.
    """
    ours = store.read_metadata(shipped) or {}
    metadata = [store.read_metadata(version) or {} for version in runs]
    for version, theirs in zip(runs, metadata, strict=True):
        _require_same(shipped, ours, version, theirs)
    seeds = [theirs["provenance"]["seed"] for theirs in metadata]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"the trainings have the seeds {seeds}; they must differ.")
    tasks = card_tasks(ours)
    measured = [_measured(version, theirs["provenance"], tasks) for version, theirs in zip(runs, metadata, strict=True)]
    rows, by_task = [row for row, _ in measured], np.array([per_task for _, per_task in measured]).T
    of = "total" if "total" in rows[0] else "after"
    means = np.array([row[of]["mean"] for row in rows])
    spread = {"mean": means.mean(), "sd": means.std(ddof=1), "min": means.min(), "max": means.max()}
    spread["iqm"] = interquartile_mean(*by_task)
    figures = {key: float(spread[key]) for key in spread}
    return {"tasks": tasks, "runs": rows, "spread": {"of": of, **figures, "ci95": over_trainings(means)}}


def over_trainings(means: np.ndarray) -> list[float]:
    """Student's 95 % interval of the mean over trainings, whose means are ``[n]``: n − 1 degrees of freedom."""
    half = stats.t.ppf(0.975, len(means) - 1) * np.std(means, ddof=1) / np.sqrt(len(means))
    return [float(np.mean(means) - half), float(np.mean(means) + half)]


def _measured(version: Path, provenance: Mapping[str, Any], tasks: int) -> tuple[dict[str, Any], np.ndarray]:
    """A training's row, and what it says of every single task ``[N]``."""
    report = evaluate_preset(version, tasks=tasks, baselines=False)
    measured = {"before": report["curve"][0], "after": report["curve"][-1]}
    if report["online"]:
        measured = {"total": report["total"]}
    figures = {name: {key: one[key] for key in ("mean", "ci95")} for name, one in measured.items()}
    per_task = np.array([point["per_task"] for point in report["curve"]])
    row = {"seed": provenance["seed"], **figures, "seconds": provenance["seconds"]}
    return row, per_task.sum(0) if report["online"] else per_task[-1]


def _require_same(shipped: Path, ours: Mapping[str, Any], version: Path, theirs: Mapping[str, Any]) -> None:
    updates = ours["provenance"]["updates"], theirs["provenance"]["updates"]
    adapt = [(one["adapt"]["episodes"], one["adapt"]["steps"]) for one in (ours, theirs)]
    differing = [key for key in SAME if ours.get(key) != theirs.get(key)] + ["adapt"] * (adapt[0] != adapt[1])
    differing += ["updates"] * (updates[0] != updates[1])
    config = [one.get("config") or {} for one in (ours, theirs)]
    common = set(config[0]) & set(config[1])  # a setting that one of them did not have yet is not another setting
    differing += ["config"] * any(config[0][key] != config[1][key] for key in common)
    if differing:
        raise ValueError(f"{version} has another {' and '.join(differing)} than {shipped}; only seeds may differ.")


def _seed(version: Path) -> int:
    return int((store.read_metadata(version) or {})["provenance"]["seed"])
