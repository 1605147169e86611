"""The command ``metazoo find``: which policies fit an environment."""

from pathlib import Path
from typing import Annotated

import typer

from metazoo import progress
from metazoo.cli import options, support
from metazoo.cli.zoo import Json


def find(
    env: Annotated[str, typer.Option(metavar="ID|MODULE:ID", help="A Gymnasium environment.")],
    env_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An argument or attribute.")] = None,
    try_out: Annotated[bool, typer.Option("--try", help="Play each, before and after adapting.")] = False,
    budget: Annotated[int, options.whole(1, 10**4, help="Episodes that each may adapt with.")] = 15,
    test_episodes: Annotated[int, options.whole(2, 10**4, help="Episodes to measure a return with.")] = 10,
    seed: Annotated[int, options.seed(help="Decides every random draw.")] = 0,
    models: Annotated[
        list[Path] | None, typer.Option(help="Directories of models; the pretrained ones and runs/ by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Which policies fit an environment's spaces; with --try, how each does on it, best first.

    It looks among the pretrained policies and those that were trained here, in runs/*/savedmodels. Intervals are 95 %,
    over the test episodes. Trying costs, for each policy, at most the budget and twice the test episodes; the
    environment is this computer's, so nothing else is at stake.

    \b
    metazoo find --env CartPole-v1
    metazoo find --env CartPole-v1 --env-arg force_mag=-9 --try
    metazoo find --env my_robot:Robot-v0 --try
    metazoo find --env my_robot:Robot-v0 --try --models robots/savedmodels --models more/savedmodels
    """
    arguments = support.pairs(env_arg, "--env-arg")
    with support.stdout_is_for_json(as_json), progress.shown():
        support.load_tensorflow()
        from metazoo import finding
        from metazoo.tasks.views import make

        environment = make.make(env, arguments)
        try:
            found = finding.find(
                environment,
                try_out=try_out,
                budget=budget,
                test_episodes=test_episodes,
                seed=seed,
                models=models or None,
            )
        finally:
            environment.close()
    support.print_json(found._asdict()) if as_json else print(finding.text(found))
