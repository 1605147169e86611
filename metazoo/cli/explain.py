"""The command ``metazoo explain``: what adapting changed."""

import json
from pathlib import Path
from typing import Annotated

import typer

from metazoo import progress
from metazoo.cli import options, support
from metazoo.cli.zoo import Json


def explain(
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A policy that adapts.")],
    task: Annotated[
        list[str] | None, typer.Option(metavar="PARAMETER=VALUE", help="Of the task to show; else one of median gain.")
    ] = None,
    tasks: Annotated[int | None, options.whole(20, 10**5, help="Test tasks; by default 200, on the host 40.")] = None,
    seed: Annotated[int, options.seed(help="Decides tasks and draws.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("explain"),
    family: support.Family = None,
    family_arg: support.FamilyArg = None,
    on_card: Annotated[bool, typer.Option("--record", help="Write it on the policy's card as well.")] = False,
    as_json: Json = False,
) -> None:
    """What a policy learns from a task: five pictures with a sentence each, and their numbers.

    \b
    metazoo explain maml_cartpole_goal
    metazoo explain rl2_navigation --task goal=[1,0.5] --out pictures
    metazoo explain rl2_bandit_k5_n10 --json
    metazoo explain savedmodels/my_policy --record
    metazoo explain runs/rl2_altitude/savedmodels/rl2_altitude --family robots/my_robot.py:Altitude
    """
    family_arguments = support.family_arguments(family, family_arg)
    given = {key: _value(key, value) for key, value in support.pairs(task, "--task").items()}
    with support.stdout_is_for_json(as_json), progress.shown():
        support.load_tensorflow()
        from metazoo.explain import pictures, record
        from metazoo.explain.explain import explain as explained
        from metazoo.pretrained import load

        policy = load(name)
        support.give_family(family, family_arguments, [policy.directory], on_card)
        found = explained(policy, tasks=tasks, seed=seed, given=given)
        paths = pictures.draw(found, out)
        if on_card:
            record.record(policy.directory, found)
    if as_json:
        support.print_json(found.report | {"pictures": [str(path) for path in paths]})
        return
    for which, sentence in found.report["sentences"].items():
        print(f"{which + ':':14} {sentence}")
    print(f"pictures: {', '.join(map(str, paths))}")


def _value(key: str, text: str) -> float | list[float]:
    """A number, or a list of them in brackets."""
    try:
        value = json.loads(text)
        return [float(one) for one in value] if isinstance(value, list) else float(value)
    except (ValueError, TypeError):
        raise ValueError(f"--task is {key}={text}; it must be a number, or numbers in brackets: {key}=[1,2].") from None
