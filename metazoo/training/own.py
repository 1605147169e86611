"""Trainings on a family that is the user's own, from Python and from ``metazoo train --family``."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metazoo import progress
from metazoo.algorithms.registry import LEARNERS
from metazoo.presets.own import ORACLE, TWIN, preset_of
from metazoo.presets.preset import Preset
from metazoo.presets.registry import PRESETS
from metazoo.pretrained import Pretrained, load
from metazoo.tasks import own
from metazoo.tasks.host_family import AnyFamily
from metazoo.training.campaign import Options, Run, train_all
from metazoo.training.train import Elsewhere, build, override, version_of
from metazoo.training.user_callbacks import check
from metazoo.words import meant


class Own(NamedTuple):
    """A family of the user's: where it is found again (empty where it is not), of which arguments, and itself."""

    reference: str
    arguments: dict[str, Any]
    family: AnyFamily


def introduce(family: Any, arguments: Mapping[str, Any]) -> Own:
    """Makes this process know a family: ``module:object``, ``file.py:object``, a class, a family or a factory.

    Raises:
        own.FamilyError: it is none of these, or cannot be made of the arguments.
    """
    if isinstance(family, str):
        made, reference = own.made_from(family, arguments), family
        own.give(made.name, family)
    else:
        called = getattr(family, "__qualname__", type(family).__qualname__)
        made, reference = own.made_of(family, arguments, called), own.place_of(family)
        own.give(made.name, family, called)
    return Own(reference, dict(arguments), made)


def presets(
    of: Own,
    algorithms: Sequence[str],
    settings: Mapping[str, str],
    *,
    name: str = "",
    twin: bool = True,
    oracle: bool = False,
) -> list[Preset]:
    """How the algorithms are trained on the family; before them those with whom they are compared.

    ``settings`` are of the algorithms, not of the compared ones.

    Raises:
        ValueError: an unknown algorithm or setting, an algorithm that is not for such a family, a name that the zoo
            has, or one name for several.
    """
    for algorithm in algorithms:
        if algorithm not in (*LEARNERS, ORACLE):
            raise ValueError(f"there is no algorithm {algorithm!r}; {meant(algorithm, (*LEARNERS, ORACLE))}")
    if name and len(algorithms) > 1:
        raise ValueError(f"the name is {name!r}, and there are {len(algorithms)} algorithms; name one at a time.")
    asked = [
        override(preset_of(of.family, one, name=name, family_from=of.reference, family_args=of.arguments), settings)
        for one in algorithms
    ]
    if taken := next((preset.name for preset in asked if preset.name in PRESETS), None):
        raise ValueError(f"the zoo has a policy {taken!r}; choose another name.")
    adapting = any(preset.algorithm != TWIN for preset in asked)
    for preset in asked:  # an algorithm that is not for these spaces says so now, not after the twin's training
        build(preset)
    others = [TWIN] * (twin and adapting and not of.family.paired) + [ORACLE] * oracle
    compared = [preset_of(of.family, one, family_from=of.reference, family_args=of.arguments) for one in others]
    known = {preset.name for preset in asked}
    return [*(one for one in compared if one.name not in known), *asked]


def unfinished(runs: list[Run], asked: Collection[str], export_to: Path | None) -> list[Run]:
    """The runs without those of compared policies, which were not ``asked`` for, that are there already."""

    def there(run: Run) -> bool:
        compared = run.preset.algorithm == TWIN and not {TWIN, ORACLE} & set(asked)
        return compared and version_of(run.directory, run.preset.name, export_to).exists()

    return [run for run in runs if not there(run)]


def train_own(
    family: Any,
    algorithm: str = "rl2",
    *,
    name: str = "",
    family_args: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    updates: int | None = None,
    seed: int | None = None,
    out: str | Path = "runs",
    resume: bool = False,
    card: bool = True,
    twin: bool = True,
    oracle: bool = False,
    callbacks: Sequence[Any] = (),
    show: bool = True,
    elsewhere: Elsewhere | None = None,
) -> Pretrained:
    """Meta-trains a policy on a family of the user's own, exports it, writes its model card, and loads it.

    Args:
        family: ``"module:object"`` or ``"file.py:object"``, so that the policy finds its family again; or a family's
            class, a family, or a factory of one.
        algorithm: a name of ``metazoo.algorithms.registry``: ``rl2``, ``maml``, ``promp``, …
        name: of the policy; by default ``<algorithm>_<family>``.
        family_args: for the class or factory; they are kept in the metadata, so JSON must hold them.
        settings: of the algorithm, and ``learning_rate``; the others follow from the spaces (``metazoo.presets.own``).
        updates, seed: by default those of the preset.
        out: the run goes to ``out/<name>``.
        resume: go on from the newest checkpoint there.
        card: evaluate it on test tasks, and write the card.
        twin: first train ``dr_<family>``, which does not adapt, if it is not there yet: cards compare with it.
        oracle: train ``oracle_<family>`` too, which is shown the task, as the family's ``reveals`` says.
        callbacks: ``"wandb"``, ``"mlflow"``, ``"module:object"`` (each training has its own), or callbacks of Keras.
        show: write progress to standard error.
        elsewhere: who computes the updates, if not this process alone: a ``metazoo.distributed.training.OnRay``.

    Returns:
        The policy with the best return on validation tasks.

    Raises:
        ValueError: an unknown algorithm or setting, no such family, nothing to resume.
        FileExistsError: ``out/<name>`` holds a run and ``resume`` is False.
        KeyboardInterrupt: Ctrl-C; a checkpoint was written.
    """
    texts = {key: str(value) for key, value in (settings or {}).items()}
    made = presets(introduce(family, family_args or {}), [algorithm], texts, name=name, twin=twin, oracle=oracle)
    runs = unfinished([Run(preset, Path(out), seed) for preset in made], [algorithm], None)
    with progress.shown() if show else contextlib.nullcontext():
        check(callbacks)
        told = tuple(callbacks)
        options = Options(updates=updates, resume=resume, card=card, callbacks=told, elsewhere=elsewhere)
        finished = train_all(runs, Path(out), options, show=lambda line: None)
    if not finished:
        raise KeyboardInterrupt
    last = runs[-1]
    return load(version_of(last.directory, last.preset.name, None))
