"""``metazoo tune``: trials of a preset with other settings, and what the best of them is worth with fresh seeds."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from metazoo import progress
from metazoo.presets.preset import Preset, settings_of
from metazoo.presets.registry import PRESETS
from metazoo.training.callbacks import DivergedError
from metazoo.training.train import Fitted, begin, fitted, override, preset_value
from metazoo.tuning.confirm import Interrupted, confirmed
from metazoo.tuning.report import report_of
from metazoo.tuning.space import Space, as_settings, space_of, start_of
from metazoo.tuning.study import Study, Taken
from metazoo.words import count


class Options(NamedTuple):
    """How long is searched, and how the result is confirmed."""

    trials: int = 20
    """Of the whole study, over all calls and processes."""
    minutes: float | None = None
    """After which no further trial begins."""
    updates: int | None = None
    """Of each training; the preset's own by default."""
    seed: int | None = None
    """Of all trials, and of what is drawn; the preset's own by default."""
    confirm: int = 3
    """Fresh seeds that the winner and the preset are trained with again."""


def tune(preset: Preset, out: Path, narrowed: Mapping[str, str], options: Options) -> dict[str, Any] | None:
    """Searches in ``out/<name>``, or goes on with the search there; the report of ``report_of``, with ``confirmed``.

    A trial's score is its best return on validation tasks: what its checkpoints are chosen by. Test tasks play no
    part. Returns None if it was interrupted.

    Raises:
        ValueError: a bad range, a study with other settings in ``out``, or no trial that ran to its end.
    """
    space = space_of(preset, narrowed)
    seed = preset.seed if options.seed is None else options.seed
    total = preset.updates if options.updates is None else options.updates
    settings = {
        "preset": settings_of(preset),
        "space": {key: [type(part).__name__, *part] for key, part in space.items()},
        "updates": total,
        "seed": seed,
    }
    study = Study(Path(out) / preset.name, settings, space, start_of(preset, space), seed)
    if not _search(study, preset, space, options, seed, total):
        return None
    report = report_of(study, preset, space)
    if not options.confirm or study.at_work():
        if options.confirm:
            progress.say("Other processes work on trials of this study: the last one to end trains the winner again.")
        return report
    seeds = range(seed + 1, seed + 1 + options.confirm)
    won, own = report["best"]["settings"], _own_settings(preset, space)
    winner = "preset" if override(preset, won) == override(preset, own) else f"trial-{report['best']['trial']}"
    runs = {winner: won, "preset": own}
    try:
        found = {name: confirmed(preset, study.directory, name, one, seeds, total) for name, one in runs.items()}
    except Interrupted:
        return None
    return {**report, "confirmed": {"winner": found[winner], "preset": found["preset"]}}


def _own_settings(preset: Preset, space: Space) -> dict[str, str]:
    """The zoo's values of what is searched: where ``--set`` has others, they are where the search begins.

    None where they do not go with what else ``--set`` has changed: then the preset is the one that was given.
    """
    known = preset if preset.family_from else PRESETS.get(preset.name, preset)
    own = {key: str(preset_value(key, known)) for key in space}
    try:
        override(preset, own)
    except ValueError:
        return {}
    return own


def _search(study: Study, preset: Preset, space: Space, options: Options, seed: int, total: int) -> bool:
    """Trials until there are enough, or the time is over; False if one was interrupted."""
    until = time.monotonic() + 60 * options.minutes if options.minutes is not None else float("inf")
    with progress.stage(f"{preset.name}, trials", options.trials, study.done) as advance:
        while time.monotonic() < until and (taken := study.take(options.trials)):
            try:
                finished = _trial(study, taken, preset, space, seed, total)
            finally:
                os.close(taken.mark)
            if not finished:
                progress.say("Interrupted; the same command goes on from there.")
                return False
            advance(1)
    return True


def _trial(study: Study, taken: Taken, preset: Preset, space: Space, seed: int, total: int) -> bool:
    """Trains with a trial's values and tells the study; False if it was interrupted, and stays to be taken up."""
    settings = as_settings(taken.trial.params, space)
    shown = ", ".join(f"{key} {text}" for key, text in settings.items())
    progress.say(f"trial {taken.trial.number}: {shown}")
    try:
        changed = override(preset, settings)
    except ValueError as error:  # values that do not go together
        study.end(taken, None, why=str(error))
        return True
    try:
        made = _trained(study, taken, changed, seed, total)
    except optuna.TrialPruned:
        progress.say(f"trial {taken.trial.number}: ended early, below the median of the others")
        study.end(taken, None, why="below the median")
    except DivergedError as error:
        study.end(taken, None, why=str(error))
    except Exception:
        study.fail(taken)
        raise
    else:
        if not made.finished:
            return False
        score = made.checkpoints.best_score
        progress.say(f"trial {taken.trial.number}: {score:.4g}, the best of {count(len(taken.told), 'validation')}")
        study.end(taken, score, update=made.checkpoints.best_update)
    return True


def _trained(study: Study, taken: Taken, preset: Preset, seed: int, total: int) -> Fitted:
    resume = (taken.directory / "run.json").exists()
    run = {"preset": settings_of(preset), "seed": seed, "updates": total}
    threads = begin(taken.directory, run, resume)
    return fitted(
        preset, taken.directory, seed, total, threads, resume, lambda update, score: study.report(taken, update, score)
    )
