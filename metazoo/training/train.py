"""``metazoo train``: a preset → a run directory → an exported policy, with Keras' ``fit`` and callbacks."""

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras

from metazoo import progress
from metazoo.algorithms.common import side_by_side
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.common.learner import updates as update_indices
from metazoo.algorithms.distillation import Student
from metazoo.algorithms.registry import LEARNERS
from metazoo.artefact.whole import write_whole
from metazoo.keras_settings import require_for_training
from metazoo.policies.networks import network_for
from metazoo.policies.policy import Policy
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.presets.preset import Preset, evaluate_command, settings_of, train_arguments
from metazoo.presets.registry import PRESETS
from metazoo.samplers.registry import UNIFORM, check_name
from metazoo.tasks import own
from metazoo.training.callbacks import Advance, Checkpoints, Divergence, Interrupt, Validation, Watch, keep_epochs
from metazoo.training.export import export
from metazoo.training.machine import hardware, versions
from metazoo.training.sampled import sampling_of
from metazoo.training.teacher_sources import teacher_for
from metazoo.words import count, meant

EPOCH = 50
"""Updates between two checkpoints and validations; what Keras calls an epoch."""


class Elsewhere(Protocol):
    """Where updates are computed, if not in this process alone: ``metazoo.distributed``."""

    def shares(self, preset: Preset) -> int:
        """Into how many an update's tasks are cut: weights depend on it, by rounding, and on nothing else of it.

        Raises ValueError where the preset's tasks cannot be cut so.
        """

    def updates(self, learner: Learner, preset: Preset, seed: int, run: Path) -> Any:
        """A context in which there is a ``MakeUpdate`` for the learner, which has no optimizer yet."""

    def arguments(self, preset: Preset) -> list[str]:
        """What ``metazoo train`` is told to train so."""


def build(preset: Preset, seed: int | None = None, dtype: str = "float32") -> Learner:
    """The preset's learner with its initial weights, not compiled."""
    family = own.family_of(vars(preset))
    seed = preset.seed if seed is None else seed
    learner = LEARNERS[preset.algorithm]
    spaces = learner.network_spaces(family)
    options = {**preset.network, "seed": seed, "dtype": dtype}
    if learner.memory_kind == "recurrent":
        policy: Any = RecurrentPolicy(*spaces, **options)
    else:
        policy = Policy(network_for(*spaces, **options), *spaces)
    made = learner(policy, family, learner.config_class(**preset.config), seed=seed)
    if preset.sampler != UNIFORM:
        made.sampling = sampling_of(preset, made, seed)
    return made


def override(preset: Preset, settings: Mapping[str, str]) -> Preset:
    """The preset with ``key=value`` settings: of the learner's config, ``learning_rate``, ``sampler``, a student's
    ``teacher``.

    Raises:
        ValueError: an unknown key (the known ones are listed) or a value that is not of the field's type or range.
    """
    config_class = LEARNERS[preset.algorithm].config_class
    if issubclass(LEARNERS[preset.algorithm], Student) and "teacher" in settings:
        preset = dataclasses.replace(preset, teacher=settings["teacher"])
        settings = {key: text for key, text in settings.items() if key != "teacher"}
    if "sampler" in settings:
        check_name(settings["sampler"])
        preset = dataclasses.replace(preset, sampler=settings["sampler"])
        settings = {key: text for key, text in settings.items() if key != "sampler"}
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    config = dict(preset.config)
    rate = preset.learning_rate
    for key, text in settings.items():
        if key != "learning_rate" and key not in fields:
            known = ["learning_rate", *fields, "sampler", *(["teacher"] if preset.teacher else [])]
            right = meant(key, known, f"it has {', '.join(known)}")
            raise ValueError(f"{preset.algorithm} has no setting {key!r}; {right}")
        kind: type = float if key == "learning_rate" else type(fields[key].default)
        try:
            value = kind(text)
        except ValueError:
            low, high = (0.0, 1.0) if key == "learning_rate" else fields[key].metadata["allowed"]
            raise ValueError(
                f"{key} is {text!r}; it must be {kind.__name__} from {low:,} to {high:,}, such as"
                f" {preset_value(key, preset)}."
            ) from None
        if key == "learning_rate":
            rate = value
        else:
            config[key] = value
    config_class(**config)  # refuses values out of range
    if not 0.0 < rate <= 1.0:
        raise ValueError(f"learning_rate is {rate}; it must lie in (0, 1].")
    return dataclasses.replace(preset, config=config, learning_rate=rate)


def preset_value(key: str, preset: Preset) -> Any:
    """The value a setting has in a preset, or its default."""
    if key == "learning_rate":
        return preset.learning_rate
    return getattr(LEARNERS[preset.algorithm].config_class(**preset.config), key)


def train(
    preset: Preset,
    out: Path,
    *,
    seed: int | None = None,
    updates: int | None = None,
    overrides: Mapping[str, str] | None = None,
    resume: bool = False,
    export_to: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    elsewhere: Elsewhere | None = None,
) -> Path:
    """Trains a preset in ``out/<name>`` and exports it to ``<export_to or run directory/savedmodels>/<name>/1``.

    The run directory holds ``run.json`` (settings, seed, versions), ``metrics.csv``, TensorBoard logs and checkpoints.
    The exported weights are those with the best return after adaptation on *validation* tasks. Killed at any moment,
    it goes on with ``resume=True`` and ends with the same weights, bit by bit: its work is cut for as many threads as
    it began with, however many there are now. ``callbacks`` come after those of the training. ``elsewhere`` computes
    the updates, where that is not this process alone.

    Returns:
        The exported version directory, or the run directory when it was interrupted.

    Raises:
        ValueError: a bad setting, nothing to resume, or settings that differ from those of the run to resume.
        FileExistsError: the directory holds a run or the export exists, and ``resume`` is False.
        DivergedError: the training diverged: its weights are no longer finite.
    """
    require_for_training()
    preset = override(preset, overrides or {})
    seed = preset.seed if seed is None else seed
    total = preset.updates if updates is None else updates
    if total < 1:
        raise ValueError(f"updates is {total}; it must be at least 1.")
    run = Path(out) / preset.name
    target = version_of(run, preset.name, export_to)
    if target.exists() and not resume:
        raise FileExistsError(f"{target} exists already; move it away or choose another --export directory.")
    shares = elsewhere.shares(preset) if elsewhere else None
    threads = begin(run, {"preset": settings_of(preset), "seed": seed, "updates": total, "shares": shares}, resume)
    if target.exists():
        return target  # it was finished before
    learner, checkpoints, finished = fitted(
        preset, run, seed, total, threads, resume, callbacks=callbacks, elsewhere=elsewhere
    )
    if not finished:
        made = f"{checkpoints.update} of {count(total, 'update')}"
        progress.say(f"Interrupted after {made}; --resume goes on from there.")
        return run
    provenance = _provenance(preset, seed, total, learner, checkpoints, elsewhere)
    metadata = {
        "name": preset.name,
        "family_args": preset.family_args,
        **_own_family(preset),
        "adapt": {"episodes": preset.episodes, "steps": preset.steps, "tasks": preset.evaluation_tasks},
        "network": preset.network,
        "provenance": provenance,
        "evaluation": {},
        **_taught(learner),
    }
    with progress.stage(f"{preset.name}, exporting"):
        return export(learner, target, metadata)


class Fitted(NamedTuple):
    """A learner after its training: with its best weights, or where it was interrupted."""

    learner: Learner
    checkpoints: Checkpoints
    finished: bool


def fitted(
    preset: Preset,
    run: Path,
    seed: int,
    total: int,
    threads: int,
    resume: bool,
    watch: Watch | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    elsewhere: Elsewhere | None = None,
) -> Fitted:
    """Makes a run's ``total`` updates, or those that its checkpoints lack; ``begin`` came before and said ``threads``.

    ``watch(update, score)`` hears of every validation, and ends the training by an exception.
    """
    learner = build(preset, seed)
    if isinstance(learner, Student):
        learner.teacher = teacher_for(preset.teacher, learner.family, preset.family_args, run / "teachers", seed)
    schedule = keras.optimizers.schedules.CosineDecay(preset.learning_rate, total * learner.epochs, alpha=0.05)
    with elsewhere.updates(learner, preset, seed, run) if elsewhere else contextlib.nullcontext() as make_update:
        optimizer = keras.optimizers.Adam(schedule)
        learner.compile(optimizer, jit_compile=True, threads=threads, elsewhere=make_update)
        learner.optimizer.build(learner.trainable_variables)
        checkpoints = Checkpoints(learner, run / "checkpoints", EPOCH)
        start = checkpoints.restore() if resume else 0
        if start < total and not _fit(learner, preset, run, checkpoints, start, total, watch, callbacks):
            return Fitted(learner, checkpoints, False)
    checkpoints.load_best()
    return Fitted(learner, checkpoints, True)


def version_of(run: Path, name: str, export_to: Path | None) -> Path:
    """Where a run directory's policy is exported to."""
    return Path(export_to or run / "savedmodels") / name / "1"


def _own_family(preset: Preset) -> dict[str, Any]:
    """Where the family is, and with whom its policies are compared: of presets that no table has."""
    made = {"family_from": preset.family_from} if preset.family_from else {}
    if preset.name in PRESETS:
        return made
    return {**made, "description": preset.description, "baselines": list(preset.baselines)}


def _taught(learner: Learner) -> dict[str, Any]:
    """The metadata's entry on a student's teacher."""
    teacher = learner.teacher if isinstance(learner, Student) else None
    return {"teacher": {"name": teacher.name, "parameters": teacher.size, **teacher.cost}} if teacher else {}


def _fit(
    learner: Learner,
    preset: Preset,
    run: Path,
    checkpoints: Checkpoints,
    start: int,
    total: int,
    watch: Watch | None = None,
    more: Sequence[keras.callbacks.Callback] = (),
) -> bool:
    """Makes updates ``start … total − 1``; False if it was interrupted."""
    keep_epochs(run / "metrics.csv", start // EPOCH)
    interrupt = Interrupt()
    callbacks = [
        Divergence(checkpoints),
        Validation(preset.episodes, preset.steps, EPOCH, checkpoints, total, watch),
        keras.callbacks.CSVLogger(str(run / "metrics.csv"), append=True),  # every fit() would begin a new file
        keras.callbacks.TensorBoard(str(run / "tensorboard"), write_graph=False, update_freq="epoch"),
        checkpoints,  # after the logs: a row too many is cut on resuming, one too few would be lost
        interrupt,
        *more,
    ]
    with interrupt, progress.stage(f"{preset.name}, updates", total, start) as advance:
        callbacks.append(Advance(advance))
        while start < total and not interrupt.asked:
            # to the next epoch's end first, so that a resumed run validates at the same updates as an uninterrupted one
            aligned = start % EPOCH == 0 and total - start >= EPOCH
            steps = EPOCH if aligned else min(EPOCH - start % EPOCH, total - start)
            epochs = (total - start) // EPOCH if aligned else 1
            first = start // EPOCH
            stop = start + epochs * steps
            learner.fit(
                update_indices(start, stop),
                initial_epoch=first,
                epochs=first + epochs,
                steps_per_epoch=steps,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,  # stages are shown instead, from the first moment on
            )
            start = stop
    return not interrupt.asked


def begin(run: Path, settings: dict[str, Any], resume: bool) -> int:
    """Writes ``run.json``, or checks that a resumed run has the same settings; how many threads it began with.

    Raises:
        ValueError: there is nothing to resume, or it has other settings.
        FileExistsError: there is a run, and ``resume`` is False.
    """
    path = run / "run.json"
    settings = json.loads(json.dumps(settings))
    if resume and not path.exists():
        raise ValueError(f"{run} holds no training to resume; check --out, or leave --resume out.")
    if path.exists():
        if not resume:
            raise FileExistsError(f"{run} holds a training already; go on with --resume or choose another --out.")
        earlier = json.loads(path.read_text())
        differing = [key for key in settings if earlier.get(key) != settings[key]]
        if differing:
            raise ValueError(
                f"{run} was trained with another {' and '.join(differing)}; resume with the same settings."
            )
        return earlier.get("threads", 1)
    run.mkdir(parents=True, exist_ok=True)
    threads = side_by_side.threads()
    begun = {**settings, "threads": threads, "versions": versions(), "hardware": hardware()}
    write_whole(path, json.dumps(begun, indent=2) + "\n")  # a kill must not leave half a file to resume from
    return threads


def _provenance(
    preset: Preset, seed: int, total: int, learner: Learner, done: Checkpoints, elsewhere: Elsewhere | None
) -> dict[str, Any]:
    settings = {**preset.config, "learning_rate": preset.learning_rate}
    settings |= {"teacher": preset.teacher} if preset.teacher else {}
    settings |= {"sampler": preset.sampler} if preset.sampler != UNIFORM else {}
    how = elsewhere.arguments(preset) if elsewhere else []
    command = shlex.join(["metazoo", "train", *train_arguments(preset, seed, total, settings), *how])
    if own.was_given(preset.family) and not preset.family_from:  # an object, which only its owner's program has
        command = f"metazoo.train({preset.family}, {preset.algorithm!r}, {seed=}, updates={total}, {settings=})"
    return {
        "command": command,
        "evaluate_command": evaluate_command(preset.name, preset.evaluation_tasks),
        "seed": seed,
        "updates": total,
        "env_steps": min(total, getattr(learner.config, "pool", 0) or total) * learner.env_steps_per_update,
        "best_update": done.best_update,
        "seconds": round(done.seconds, 1),
        "versions": versions(learner.family.played_by),
        "hardware": hardware(),
        "date": datetime.now(UTC).date().isoformat(),
    }
