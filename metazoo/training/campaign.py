"""Several trainings, each with its card, and a table of what they cost: ``metazoo train --all``.

A campaign goes on where it was left: what is finished is skipped, what was begun is resumed, the rest is begun.
"""

import json
import signal
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from metazoo import progress
from metazoo.artefact import store
from metazoo.artefact.whole import write_whole
from metazoo.cards.record import record
from metazoo.hub.listing import summary
from metazoo.presets.preset import train_arguments
from metazoo.presets.registry import Preset
from metazoo.training.jobs import INTERRUPTED, Ended, Job, Jobs
from metazoo.training.train import Elsewhere, train, version_of
from metazoo.training.user_callbacks import Told, callbacks_at
from metazoo.words import count

TABLE, ROWS = "summary.md", "summary.json"
WRONG_REQUEST = 2
"""The exit code of ``metazoo train`` for arguments that cannot be met."""


class Run(NamedTuple):
    """One training: the preset, where its run directory goes, and its seed (None: the preset's own)."""

    preset: Preset
    out: Path
    seed: int | None = None

    @property
    def name(self) -> str:
        return self.preset.name if self.seed is None else f"{self.preset.name}, seed {self.seed}"

    @property
    def directory(self) -> Path:
        return self.out / self.preset.name

    @property
    def begun(self) -> bool:
        return (self.directory / "run.json").is_file()


class Options(NamedTuple):
    """What the trainings of a campaign have in common."""

    updates: int | None = None
    overrides: Mapping[str, str] = {}
    export_to: Path | None = None
    resume: bool = False
    card: bool = True
    keep_going: bool = False
    """Whether the others are trained if one fails; its reason stands in the table."""
    callbacks: tuple[Any, ...] = ()
    """Of users, as references (``metazoo.training.user_callbacks``), of which each training has its own; or callbacks
    of Keras, which go with ``jobs=1`` alone."""
    jobs: int = 1
    """How many trainings at once, in processes of their own if more than one; these know the zoo's presets, and
    families that can be found again (``Preset.family_from``)."""
    elsewhere: Elsewhere | None = None
    """Who computes the updates of each training, if not one process alone."""
    spread: "Callable[[list[Run], Options], Trained] | None" = None
    """What runs whole trainings elsewhere, several at once."""


Trained = Generator[tuple[Run, Path | None | Exception], None, None]
"""Each run with its exported version, None if it was interrupted, or why it failed."""


def train_all(runs: list[Run], out: Path, options: Options, show: Callable[[str], Any] = print) -> bool:
    """Trains and exports, and writes a card each; with several runs ``out/summary.md`` and ``summary.json`` too.

    The card's figures are those of ``metazoo evaluate --record``. Returns False if a training was interrupted.

    Raises:
        ValueError: there is nothing to resume where ``out`` says, the settings are wrong, or a run is there twice.
        FileExistsError: a run exists and is not to be resumed.
        RuntimeError: with ``keep_going``, after the others: trainings have failed.
    """
    if options.resume and not any(run.begun for run in runs):
        names = ", ".join(dict.fromkeys(run.preset.name for run in runs))
        raise ValueError(f"{out} holds no training of {names} to resume; check --out, or leave --resume out.")
    if twice := next((run for run in runs if runs.count(run) > 1), None):
        raise ValueError(f"{twice.name} is to be trained twice in {twice.out}; name each run once.")
    rows: dict[str, dict[str, Any]] = {}
    interrupted, began = False, time.monotonic()
    at_once = min(options.jobs, len(runs))

    def note() -> str:
        taken = (time.monotonic() - began) / 60
        beside = "on a Ray cluster" if options.spread else f"{at_once} at once"
        return f"This call took {taken:.1f} min with its evaluations, {beside}."

    how = options.spread or (_side_by_side if at_once > 1 else _in_turn)
    with closing(how(runs, options)) as trained:
        for run, version in trained:
            if version is None:
                interrupted = True
            elif isinstance(version, Exception):
                if not options.keep_going:
                    raise version
                progress.say(f"{run.name}: {version}")
                rows[run.name] = {"preset": run.preset.name, "seed": run.seed, "state": f"failed: {version}"}
            else:
                show(str(version))
                rows[run.name] = _row(version)
            if len(runs) > 1 and rows:
                _write_summary(_in_order(rows, runs), note(), out)
    if interrupted:
        return False
    made = _in_order(rows, runs)
    if len(runs) > 1:
        show(f"{table(made)}\n\n{note()}")
    if failed := [row["preset"] for row in made if row["state"] != "done"]:
        raise RuntimeError(f"{len(failed)} of {count(len(runs), 'training')} failed: {', '.join(failed)}.")
    return True


def _in_order(rows: dict[str, dict[str, Any]], runs: list[Run]) -> list[dict[str, Any]]:
    return [rows[run.name] for run in runs if run.name in rows]


def _in_turn(runs: list[Run], options: Options) -> Trained:
    """One after another, until one is interrupted."""
    for run in runs:
        try:
            version = train_one(run, options)
        except Exception as error:  # noqa: BLE001
            yield run, error
            continue
        yield run, version
        if version is None:
            return


def _side_by_side(runs: list[Run], options: Options) -> Trained:
    """Several at once, in the order in which they end."""
    with Jobs([_job(run, options) for run in runs], options.jobs) as jobs:
        for ended in jobs:
            run = runs[ended.number]
            if ended.code in (INTERRUPTED, -signal.SIGINT):
                yield run, None
            elif ended.code:
                yield run, _failure(ended)
            else:
                yield run, version_of(run.directory, run.preset.name, options.export_to)


def _failure(ended: Ended) -> Exception:
    how = f"exit code {ended.code}" if ended.code > 0 else f"ended by {signal.Signals(-ended.code).name}"
    kind = ValueError if ended.code == WRONG_REQUEST else RuntimeError
    return kind(ended.reason or f"{how}.")


def _job(run: Run, options: Options) -> Job:
    """The run as a call of ``metazoo train`` of its own; a preset of nobody's table with all its settings."""
    preset, changed = run.preset, dict[str, Any](options.overrides)
    if preset.family_from:
        changed = {**preset.config, "learning_rate": preset.learning_rate, **changed}
    arguments = ["train", *train_arguments(preset, run.seed, options.updates, changed), "--out", str(run.out)]
    arguments += [] if options.export_to is None else ["--export", str(options.export_to)]
    arguments += ["--resume"] if run.begun and options.resume else []
    arguments += [] if options.card else ["--no-card"]
    for reference in options.callbacks:
        arguments += ["--callback", reference]
    return Job(run.name, arguments)


def train_one(run: Run, options: Options) -> Path | None:
    """The exported version with its figures, or None if it was interrupted."""
    version = train(
        run.preset,
        run.out,
        seed=run.seed,
        updates=options.updates,
        overrides=options.overrides,
        resume=run.begun and options.resume,
        export_to=options.export_to,
        callbacks=callbacks_at(options.callbacks, _told(run, options)),
        elsewhere=options.elsewhere,
    )
    if not (version / "saved_model.pb").exists():
        return None
    if options.card and not (store.read_metadata(version) or {}).get("evaluation"):
        record(version)
    return version


def _told(run: Run, options: Options) -> Told:
    preset = run.preset
    settings = {**preset.config, "learning_rate": preset.learning_rate, **options.overrides}
    settings |= {
        "algorithm": preset.algorithm,
        "family": preset.family,
        "seed": preset.seed if run.seed is None else run.seed,
    }
    return Told(run.name, run.directory, {**settings, "updates": options.updates or preset.updates})


def _row(version: Path) -> dict[str, Any]:
    metadata = store.read_metadata(version) or {}
    made, line = metadata["provenance"], summary(metadata)
    return {
        "preset": metadata["name"],
        "state": "done",
        **{key: made[key] for key in ("seed", "updates", "env_steps", "seconds", "hardware")},
        **{key: line[key] for key in ("metric", "before", "after")},
        "version": str(version),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The trainings in Markdown, with their wall-clocks as logged and the sum of these."""
    lines = [
        "| preset | seed | updates | environment steps | wall-clock | before | after |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["state"] == "done":
            figures = ("-" if row[key] is None else f"{row[key]:.2f}" for key in ("before", "after"))
            cells = [row["seed"], f"{row['updates']:,}", f"{row['env_steps']:,}", f"{row['seconds'] / 60:.1f} min"]
            lines.append("| " + " | ".join([f"`{row['preset']}`", *map(str, cells), *figures]) + " |")
        else:
            lines.append(f"| `{row['preset']}` | | | | {row['state']} | | |")
    total = sum(row.get("seconds", 0.0) for row in rows)
    return "\n".join([*lines, f"| sum | | | | {total / 60:.1f} min | | |"])


def _write_summary(rows: list[dict[str, Any]], note: str, out: Path) -> None:
    write_whole(out / ROWS, json.dumps(rows, indent=1) + "\n")
    write_whole(out / TABLE, f"# Trainings\n\n{table(rows)}\n\n{note}\n")
