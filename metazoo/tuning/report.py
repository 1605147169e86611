"""What a study found: the best trial, what mattered, as a document, a table, a picture and a preset."""

import dataclasses
import shlex
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from metazoo.artefact.whole import aside
from metazoo.presets.preset import Preset, train_arguments
from metazoo.training.train import override
from metazoo.tuning.space import Space, as_settings
from metazoo.tuning.study import Study
from metazoo.words import count

FEWEST: Final = 4
"""Finished trials below which nothing is said about what mattered."""


def report_of(study: Study, preset: Preset, space: Space) -> dict[str, Any]:
    """The study as a JSON document; the picture is drawn beside it.

    ``importance`` is PED-ANOVA's (Watanabe et al. 2023, arXiv 2304.10255): how much a setting alone tells good trials
    from others, in shares of 1; None with few trials.

    Raises:
        ValueError: no trial has run to its end.
    """
    best = study.best
    if best is None:
        raise ValueError(
            f"{study.directory} has no trial that ran to its end; ask for more --trials, or a longer time."
        )
    settings = as_settings(best.params, space)
    importance = _importance(study)
    return {
        "name": preset.name,
        "trials": {
            "complete": len(study.trials(TrialState.COMPLETE)),
            "ended_early": len(study.trials(TrialState.PRUNED)),
        },
        "best": {
            "trial": best.number,
            "score": best.value,
            "update": best.user_attrs["update"],
            "settings": settings,
            "command": _command(preset, settings),
        },
        "importance": importance,
        "picture": str(_draw(study, importance, study.directory / "study.png")),
    }


def text_of(report: Mapping[str, Any]) -> str:
    """The report for people: what was tried, what mattered, what it is worth, and the command to train with it."""
    tried, best = report["trials"], report["best"]
    lines = [
        f"{report['name']}: {count(tried['complete'], 'trial')} to the end, {tried['ended_early']} ended early",
        f"best: trial {best['trial']}, {best['score']:.4g} on validation tasks after update {best['update']}",
        "",
    ]
    importance = report["importance"] or {}
    for key, value in best["settings"].items():
        share = f"   importance {importance[key]:5.0%}" if key in importance else ""
        lines.append(f"  {key:24} {value:>10}{share}")
    if not importance:
        lines.append(f"  (what mattered is said from {FEWEST} trials to the end on)")
    for name, found in report.get("confirmed", {}).items():
        scores = ", ".join(map(_shown, found["scores"]))
        lines.append(
            f"{'' if name == 'preset' else chr(10)}{name:7} with fresh seeds: {_shown(found['mean'])} ({scores})"
        )
    return "\n".join([*lines, "", report["picture"], best["command"]])


def _shown(score: float | None) -> str:
    return "diverged" if score is None else f"{score:.4g}"


def applied(preset: Preset, settings: Mapping[str, str]) -> str:
    """The preset with these settings, as it is written in ``metazoo/presets``."""
    changed = override(preset, settings)
    lines = [
        f"    {field.name}={getattr(changed, field.name)!r},"
        for field in dataclasses.fields(Preset)
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        or getattr(changed, field.name) != _default(field)
    ]
    return "\n".join(["Preset(", *lines, ")"])


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _command(preset: Preset, settings: Mapping[str, str]) -> str:
    """The call of ``metazoo train`` with these settings; those that were set before the search stand in the preset."""
    from metazoo.presets.registry import PRESETS

    known = PRESETS.get(preset.name, preset)
    mine = bool(preset.family_from)  # no table has its settings, so all are said
    before = {key: str(value) for key, value in preset.config.items() if mine or known.config.get(key) != value}
    if mine or preset.learning_rate != known.learning_rate:
        before["learning_rate"] = str(preset.learning_rate)
    return shlex.join(["metazoo", "train", *train_arguments(preset, None, None, {**before, **settings})])


def _importance(study: Study) -> dict[str, float] | None:
    complete = study.trials(TrialState.COMPLETE)
    if len(complete) < FEWEST or len({trial.value for trial in complete}) == 1:
        return None
    return dict(get_param_importances(study.optuna, evaluator=PedAnovaImportanceEvaluator()))


def _draw(study: Study, importance: Mapping[str, float] | None, file: Path) -> Path:
    """Scores by trial with the best so far, and beside them the importances."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    scores, shares = figure.subplots(1, 2, width_ratios=(3, 2)) if importance else (figure.add_subplot(), None)
    _draw_scores(scores, study)
    if shares is not None and importance:
        names = sorted(importance, key=importance.__getitem__)
        shares.barh(names, [importance[name] for name in names], color="#0072B2")
        shares.set_xlabel("importance (PED-ANOVA, sum 1)")
        shares.spines[["top", "right"]].set_visible(False)
    with aside(file) as part:
        figure.savefig(part, dpi=150, format="png")
    return file


def _draw_scores(axes: Any, study: Study) -> None:
    ended, early = _scores(study, TrialState.COMPLETE), _scores(study, TrialState.PRUNED)
    numbers, values = zip(*ended, strict=True)
    axes.step(numbers, list(accumulate(values, max)), where="post", color="#D55E00", label="best so far")
    axes.plot(numbers, values, "o", color="#0072B2", label="to the end")
    if early:
        axes.plot(*zip(*early, strict=True), "x", color="#555555", label="ended early, where it was")
    axes.set_xlabel("trial")
    axes.set_ylabel("return on validation tasks")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _scores(study: Study, state: TrialState) -> list[tuple[int, float]]:
    """Number and score of the trials of this state that have one."""
    return [(one.number, one.value) for one in study.trials(state) if one.value is not None]
