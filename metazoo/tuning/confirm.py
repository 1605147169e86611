"""What settings are worth: trained again with fresh seeds, evaluated on validation tasks that chose nothing.

The best of many trials is partly the luckiest. Its own score says too much, so it is not what is reported.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from metazoo import progress
from metazoo.algorithms.common.learner import agent_of
from metazoo.artefact.locks import at_work
from metazoo.artefact.whole import write_whole
from metazoo.evaluation import play_split, plays_trials
from metazoo.presets.preset import Preset, settings_of
from metazoo.training.callbacks import DivergedError, validation_score, validation_tasks
from metazoo.training.train import begin, fitted, override

TASKS_SEED: Final = 1
"""Draws other validation tasks than those that checkpoints were chosen on, where a family has more."""
FIGURE: Final = "validation.json"


class Interrupted(Exception):
    """A training was interrupted; the same call goes on from its checkpoint."""


def confirmed(
    preset: Preset, study: Path, name: str, settings: Mapping[str, str], seeds: Iterable[int], total: int
) -> dict[str, Any]:
    """The preset with these settings after ``total`` updates: ``seeds``, their ``scores``, and the ``mean`` of them.

    Runs are in ``study/confirm/<name>/seed-N``; what is finished is not made again. A training that diverges has no
    score (None), and then there is no mean.

    Raises:
        Interrupted: by Ctrl-C.
        ValueError: another process makes the same training.
    """
    changed, numbers = override(preset, settings), list(seeds)
    scores = list[float | None]()
    with progress.stage(f"{name} with fresh seeds", len(numbers)) as advance:
        for seed in numbers:
            scores.append(_score(changed, study / "confirm" / name / f"seed-{seed}", seed, total))
            advance(1)
    known = [score for score in scores if score is not None]
    return {"seeds": numbers, "scores": scores, "mean": sum(known) / len(known) if known == scores else None}


def _score(preset: Preset, run: Path, seed: int, total: int) -> float | None:
    """A training's score on its fresh tasks, read where it is known already."""
    run.mkdir(parents=True, exist_ok=True)
    if (mark := at_work(run)) is None:
        raise ValueError(f"{run} is being trained by another process; wait for it, and call this again.")
    try:
        if not (run / FIGURE).exists():
            write_whole(run / FIGURE, json.dumps(_train(preset, run, seed, total)) + "\n")
        return json.loads((run / FIGURE).read_text())["score"]
    finally:
        os.close(mark)


def _train(preset: Preset, run: Path, seed: int, total: int) -> dict[str, Any]:
    resume = (run / "run.json").exists()
    threads = begin(run, {"preset": settings_of(preset), "seed": seed, "updates": total}, resume)
    try:
        learner, _, finished = fitted(preset, run, seed, total, threads, resume)
    except DivergedError as error:
        progress.say(f"seed {seed}: {error}")
        return {"score": None, "why": str(error)}
    if not finished:
        raise Interrupted
    tasks = validation_tasks(learner)
    played, _ = play_split(
        agent_of(learner), learner.family, "validation", tasks, preset.episodes, preset.steps, TASKS_SEED
    )
    trials = plays_trials(learner.online, learner.family)
    score = validation_score(played.mean((1, 2)), trials, learner.family.probabilistic)
    return {"score": score, "tasks": tasks, "tasks_seed": TASKS_SEED}
