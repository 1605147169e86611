"""The command ``metazoo train``: presets of the zoo, or a family of the user's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from metazoo import progress
from metazoo.cli import options as cli_options
from metazoo.cli import places
from metazoo.cli import support as cli_support
from metazoo.presets.registry import PRESETS

TWIN_HELP = "Do not train dr_FAMILY, which does not adapt, to compare with."


def train(
    names: Annotated[list[str] | None, typer.Argument(metavar="PRESET...", help=", ".join(PRESETS))] = None,
    all_presets: Annotated[bool, typer.Option("--all", help="Every preset; goes on by itself.")] = False,
    family: cli_support.Family = None,
    family_arg: cli_support.FamilyArg = None,
    algorithm: Annotated[list[str] | None, typer.Option(metavar="NAME", help="With --family: rl2, maml, ...")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --family; ALGORITHM_FAMILY by default.")
    ] = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help=TWIN_HELP)] = False,
    oracle: Annotated[bool, typer.Option("--oracle", help="Train oracle_FAMILY too, which is shown the task.")] = False,
    out: Annotated[Path, typer.Option(help="Checkpoints, logs and the export go to OUT/<preset>.")] = Path("runs"),
    export: Annotated[Path | None, typer.Option(help="Export to EXPORT/<preset>/1 instead.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    seed: Annotated[int | None, cli_options.seed(help="The preset's own by default.")] = None,
    seeds: Annotated[str | None, typer.Option(metavar="N,N,...", help="One run for each, in OUT/seed-N.")] = None,
    updates: Annotated[int | None, cli_options.whole(1, 10**7, help="The preset's own by default.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the preset.")] = None,
    no_card: Annotated[bool, typer.Option("--no-card", help="Do not evaluate what was trained.")] = False,
    callback: Annotated[
        list[str] | None,
        typer.Option(metavar="wandb|mlflow|MODULE:OBJECT", help="One of Keras, or what makes one."),
    ] = None,
    jobs: Annotated[int, cli_options.whole(1, 1000, help="Trainings at once; the cores are shared out.")] = 1,
    ray: cli_support.Ray = None,
    workers: Annotated[
        int | None, cli_options.whole(1, 10_000, help="With --ray: who share the work of one training.")
    ] = None,
    shares: Annotated[
        int | None, cli_options.whole(1, 10_000, help="With --ray: of an update; no fewer than workers.")
    ] = None,
    time_limit: Annotated[
        float, cli_options.real(1, 10**6, help="With --ray: seconds until a worker that hangs is replaced.")
    ] = 600.0,
) -> None:
    """Meta-train presets, or an algorithm on a family of your own; export them, and write their model cards.

    --all goes on where it was left: it skips what is finished and writes OUT/summary.md. Without the extra mujoco it
    leaves out the presets that need it.

    \b
    metazoo train maml_cartpole_goal
    metazoo train maml_cartpole_goal --updates 100 --set inner_steps=2
    metazoo train maml_cartpole_goal --resume
    metazoo train maml_navigation --seeds 0,1,2
    metazoo train --all --jobs 2 --export models
    metazoo train --family my_robot:Altitude --algorithm rl2 --algorithm maml
    metazoo train --family robots/my_robot.py:Altitude --family-arg horizon=50 --algorithm rl2 --set tasks=40
    metazoo train maml_navigation --callback wandb --callback my_logging:Logger
    metazoo train promp_half_cheetah_vel --ray --workers 2
    metazoo train promp_half_cheetah_vel --ray 10.0.0.7:6379 --workers 16 --shares 20
    """
    overrides = cli_support.pairs(settings, "--set")
    arguments = cli_support.family_arguments(family, family_arg)
    given = {"--algorithm": algorithm, "--name": name, "--no-baseline": no_baseline, "--oracle": oracle}
    _require_one_kind(names or [], all_presets, family, given)
    chosen = cli_support.presets(names or [], all_presets) if family is None else []
    if seeds is not None and (seed is not None or export is not None):
        raise ValueError(f"--seeds is {seeds!r}; it cannot be combined with --seed or --export.")
    numbers = None if seeds is None else cli_support.seeds(seeds, "--seeds")
    directories = [(out, seed)] if numbers is None else [(out / f"seed-{number}", number) for number in numbers]
    places.directory(out, "--out")
    places.directory(export, "--export")
    _require_ray({"--workers": workers, "--shares": shares}, ray, jobs)
    with progress.shown():
        cli_support.load_tensorflow()
        from metazoo.training import own
        from metazoo.training.campaign import Options, Run, train_all
        from metazoo.training.user_callbacks import check

        if family is not None:
            of = own.introduce(family, arguments)
            chosen = own.presets(of, algorithm or [], overrides, name=name or "", twin=not no_baseline, oracle=oracle)
            overrides = {}
        runs = [Run(preset, directory, number) for directory, number in directories for preset in chosen]
        if family is not None:
            runs = own.unfinished(runs, set(algorithm or []), export)
        going_on = resume or (all_presets and any(run.begun for run in runs))
        callbacks = tuple(callback or ())
        check(callbacks)
        options = Options(updates, overrides, export, going_on, not no_card, all_presets, callbacks, jobs)
        if ray is not None and (len(runs) == 1 or workers or shares):
            from metazoo.distributed.training import OnRay

            options = options._replace(elsewhere=OnRay(ray, workers, shares, time_limit=time_limit))
        elif ray is not None:
            from metazoo.distributed.tasks import RayTasks

            options = options._replace(spread=RayTasks(ray).trained)
        finished = train_all(runs, out, options)
    if not finished:
        raise typer.Exit(cli_support.INTERRUPTED)


def _require_ray(given: Mapping[str, Any], ray: str | None, jobs: int) -> None:
    """Raises ValueError for what goes with ``--ray`` alone, and where there is no cluster."""
    if ray is None:
        if alone := next((f"{option} is {value}" for option, value in given.items() if value is not None), None):
            raise ValueError(f"{alone}; it needs --ray.")
        return
    if jobs > 1:
        raise ValueError(f"--jobs is {jobs}; it is for one machine, so leave it out with --ray.")
    cli_support.require_cluster(ray)


def _require_one_kind(names: list[str], every: bool, family: str | None, given: Mapping[str, Any]) -> None:
    """Raises ValueError for presets and a family at once, and for what goes with a family alone."""
    if family is None:
        if alone := next((option for option, value in given.items() if value), None):
            raise ValueError(f"{alone} needs --family MODULE:OBJECT.")
    elif names or every:
        raise ValueError(f"--family is {family}; give it, or presets, not both.")
    elif not given["--algorithm"]:
        raise ValueError(f"--family is {family}; say how to train on it, such as --algorithm rl2.")
