"""A study on the disk that several processes share: who takes which trial, and what became of those that were killed.

Optuna (Akiba et al. 2019, arXiv 1907.10902) keeps the study in a journal file. A process marks the directory of its
trial as worked on, by a lock that the system gives back when the process ends. So a trial that counts as running and
whose directory nobody has marked was killed or interrupted: it is taken up with the same values, and its training
goes on from its checkpoint.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from metazoo.artefact.locks import at_work, held
from metazoo.artefact.whole import write_whole
from metazoo.tuning.space import Choices, Range, Space

STARTUP_TRIALS: Final = 5
"""So many are drawn blindly before TPE learns from them, and run to their end before any is pruned."""
TAKEN: Final = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
LOCK: Final = "study"


class Taken(NamedTuple):
    """A trial that this process works on: its values, its run directory, and the mark that holds it."""

    trial: optuna.Trial
    directory: Path
    mark: int
    told: dict[int, float]
    """Scores by update that it had reported, also in an earlier life."""


@final
class Study:
    """The study in ``directory``, begun or gone on with.

    ``settings`` are whatever makes trials comparable; the file ``study.json`` holds them. ``start`` are values of the
    first trial. Everything drawn derives from ``seed`` and from how many trials there were before.

    Raises:
        ValueError: the directory holds a study with other settings.
    """

    def __init__(self, directory: Path, settings: dict[str, Any], space: Space, start: dict[str, Any], seed: int):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.directory, self._start, self._seed = directory, start, seed
        self._distributions = {key: _distribution(part) for key, part in space.items()}
        directory.mkdir(parents=True, exist_ok=True)
        with held(directory, LOCK):
            _require_same(directory / "study.json", settings)
            self.optuna = optuna.create_study(
                storage=optuna.storages.JournalStorage(JournalFileBackend(str(directory / "journal.log"))),
                study_name="metazoo",
                direction="maximize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
                load_if_exists=True,
            )

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials of these states; every one without."""
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    @property
    def done(self) -> int:
        """How many have ended, early or not."""
        return len(self.trials(TrialState.COMPLETE, TrialState.PRUNED))

    @property
    def best(self) -> FrozenTrial | None:
        """The trial with the best score; of equal ones the first."""
        complete = self.trials(TrialState.COMPLETE)
        return max(complete, key=lambda trial: (trial.value, -trial.number)) if complete else None

    def take(self, total: int) -> Taken | None:
        """The next trial, unless the study has ``total``: one that was left, the first, or a new one."""
        with held(self.directory, LOCK):
            self._take_up_those_left()
            taken = len(self.trials(*TAKEN))
            if taken >= total:
                return None
            if not taken and not self.trials(TrialState.WAITING) and self._start:
                self.optuna.enqueue_trial(self._start)
            self.optuna.sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTUP_TRIALS, seed=(self._seed * 100_003 + taken) % 2**32
            )
            trial = self.optuna.ask(self._distributions)
            directory = self._directory_of(trial.number, trial.user_attrs)
            directory.mkdir(parents=True, exist_ok=True)
            mark = at_work(directory)
            assert mark is not None, f"{directory} is marked, and its trial is not running"
        told = {int(step): score for step, score in trial.user_attrs.get("told", {}).items()}
        for step, score in told.items():
            trial.report(score, step)
        return Taken(trial, directory, mark, told)

    def report(self, taken: Taken, update: int, score: float) -> None:
        """A validation's score. Raises ``optuna.TrialPruned`` where it is below the median of the others' then."""
        if update not in taken.told:
            taken.trial.report(score, update)
            taken.told[update] = score
        if taken.trial.should_prune():
            raise optuna.TrialPruned

    def end(self, taken: Taken, score: float | None, **remarks: Any) -> None:
        """The trial's result; None where it ended early. ``remarks`` are kept with it."""
        for key, value in remarks.items():
            taken.trial.set_user_attr(key, value)
        with held(self.directory, LOCK):
            state = TrialState.PRUNED if score is None else TrialState.COMPLETE
            self.optuna.tell(taken.trial, score, state)

    def fail(self, taken: Taken) -> None:
        """The trial does not count: the study draws another in its place."""
        self.optuna.tell(taken.trial, state=TrialState.FAIL)

    def at_work(self) -> bool:
        """Whether another process works on a trial."""
        with held(self.directory, LOCK):
            return any(not self._is_left(trial) for trial in self.trials(TrialState.RUNNING))

    def _take_up_those_left(self) -> None:
        waiting = {trial.user_attrs.get("directory") for trial in self.trials(TrialState.WAITING)}
        for trial in self.trials(TrialState.RUNNING):
            if not self._is_left(trial):
                continue
            directory = self._directory_of(trial.number, trial.user_attrs)
            if directory.name not in waiting and trial.params.keys() == self._distributions.keys():
                told = {**trial.user_attrs.get("told", {}), **{str(k): v for k, v in trial.intermediate_values.items()}}
                self.optuna.enqueue_trial(trial.params, {"directory": directory.name, "told": told})
            self.optuna.tell(trial.number, state=TrialState.FAIL)  # after it: a kill in between loses nothing

    def _is_left(self, trial: FrozenTrial) -> bool:
        try:
            mark = at_work(self._directory_of(trial.number, trial.user_attrs))
        except FileNotFoundError:  # killed before it had one
            return True
        if mark is None:
            return False
        os.close(mark)
        return True

    def _directory_of(self, number: int, remarks: Mapping[str, Any]) -> Path:
        return self.directory / "trials" / remarks.get("directory", str(number))


def _distribution(part: Range | Choices) -> BaseDistribution:
    if isinstance(part, Choices):
        return CategoricalDistribution(part.values)
    if part.whole:
        return IntDistribution(int(part.low), int(part.high), log=part.log)
    return FloatDistribution(part.low, part.high, log=part.log)


def _require_same(path: Path, settings: dict[str, Any]) -> None:
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        write_whole(path, json.dumps(settings, indent=2) + "\n")
        return
    earlier = json.loads(path.read_text())
    if differing := [key for key in settings if earlier.get(key) != settings[key]]:
        raise ValueError(
            f"{path.parent} holds a study with another {' and '.join(differing)}; go on with the same settings, or "
            "choose another --out."
        )
