"""The command ``metazoo tune``: a search for a preset's settings."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from metazoo import progress
from metazoo.cli import options, places, support
from metazoo.cli.zoo import Json

INTERRUPTED = 130


def tune(
    name: Annotated[str | None, typer.Argument(metavar="PRESET", help="metazoo train --help names them.")] = None,
    family: support.Family = None,
    family_arg: support.FamilyArg = None,
    algorithm: Annotated[str | None, typer.Option(metavar="NAME", help="With --family: rl2, maml, ...")] = None,
    trials: Annotated[int, options.whole(1, 10**5, help="Of the study, over all calls.")] = 20,
    timeout: Annotated[float | None, options.real(0, 10**6, help="Minutes; then no further trial begins.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option("--space", metavar="KEY=LOW:HIGH|A,B", help="Search these settings alone."),
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the preset.")] = None,
    updates: Annotated[int | None, options.whole(1, 10**7, help="Of a training; the preset's own by default.")] = None,
    seed: Annotated[int | None, options.seed(help="The preset's own by default.")] = None,
    confirm: Annotated[int, options.whole(0, 100, help="Fresh seeds for the winner and the preset.")] = 3,
    out: Annotated[Path, typer.Option(help="The study goes to OUT/<preset>.")] = Path("tuning"),
    apply: Annotated[bool, typer.Option("--apply", help="Print the preset that won, too.")] = False,
    as_json: Json = False,
) -> None:
    """Search better settings of a preset with Optuna: TPE, and an early end for what does badly on validation tasks.

    The same command goes on with a study that was interrupted or killed; a training goes on from its checkpoint. Called
    in several processes it shares the work. The winner and the preset are trained again with fresh seeds and compared
    on other validation tasks. Test tasks play no part.

    \b
    metazoo tune maml_navigation
    metazoo tune maml_navigation --trials 50 --timeout 40 --updates 150
    metazoo tune maml_navigation --space learning_rate=1e-4:1e-2 --space step_sizes=scalar,parameter
    metazoo tune maml_navigation --set learning_rate=0.3 --apply
    metazoo tune --family my_robot:MyRobot --algorithm maml --trials 10 --updates 100
    """
    if importlib.util.find_spec("optuna") is None:
        raise ValueError("metazoo tune needs the library Optuna: pip install 'metazoo[tune]'.")
    arguments = support.family_arguments(family, family_arg)
    if (name is None) == (family is None) or (family is None) != (algorithm is None):
        raise ValueError("name a preset, or give --family MODULE:OBJECT with --algorithm NAME.")
    presets = support.presets([str(name)], False) if family is None else []
    narrowed, changes = support.pairs(space, "--space"), support.pairs(settings, "--set")
    places.directory(out, "--out")
    with support.stdout_is_for_json(as_json), progress.shown():
        support.load_tensorflow()
        from metazoo.training import own
        from metazoo.training.train import override
        from metazoo.tuning import report as reports
        from metazoo.tuning.tune import Options, tune

        if family is not None:
            of = own.introduce(family, arguments)
            presets = own.presets(of, [str(algorithm)], {}, twin=False)
        preset = override(presets[0], changes)
        report = tune(preset, out, narrowed, Options(trials, timeout, updates, seed, confirm))
        if report is None:
            raise typer.Exit(INTERRUPTED)
        written = reports.applied(preset, report["best"]["settings"])
    if as_json:
        support.print_json({**report, "preset": written} if apply else report)
        return
    print(reports.text_of(report))
    if apply:
        print(f"\n{written}")
