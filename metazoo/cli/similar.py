"""The command ``metazoo similar``: which tasks are alike to a policy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from metazoo import progress
from metazoo.cli import options, places, support
from metazoo.cli.zoo import Json


def similar(
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A policy that adapts.")],
    env: Annotated[str | None, typer.Option(metavar="ID", help="A Gymnasium environment to find a place for.")] = None,
    env_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An argument or attribute.")] = None,
    task: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Instead: a task of its family.")] = None,
    episodes: Annotated[int, options.whole(1, 10**4, help="Of each task; few say little.")] = 1,
    tasks: Annotated[int | None, options.whole(20, 10**5, help="Test tasks; by default 200, on the host 24.")] = None,
    neighbours: Annotated[int, options.whole(1, 1000, help="Nearest tasks that are named.")] = 5,
    seed: Annotated[int, options.seed(help="Decides tasks and draws.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the picture goes, .png or .svg.")] = Path("similar.png"),
    as_json: Json = False,
) -> None:
    """How alike tasks are, as a policy sees them after a few episodes; with an environment, its nearest tasks.

    A task is what an episode of it changes in the policy's memory. The distance of two such changes is compared with
    that of the tasks' true parameters, and with how well each task's adapted policy does on the other.

    \b
    metazoo similar rl2_navigation
    metazoo similar rl2_cartpole_goal --episodes 3 --out map.png
    metazoo similar rl2_navigation --task goal=[0.3,-0.2]
    metazoo similar rl2_pendulum --env Pendulum-v1 --env-arg g=5 --json
    """
    if env is not None and task:
        raise ValueError("give --env ID or --task KEY=VALUE, not both.")
    if env_arg and env is None:
        raise ValueError(f"--env-arg is {env_arg[0]!r}; it needs --env ID.")
    arguments, parameters = support.pairs(env_arg, "--env-arg"), support.pairs(task, "--task")
    places.file(out, "--out", (".png", ".svg"))
    with support.stdout_is_for_json(as_json), progress.shown():
        support.load_tensorflow()
        from metazoo.pretrained import load
        from metazoo.similarity.pictures import draw
        from metazoo.similarity.similar import similar as found_by
        from metazoo.tasks.views import make

        policy, place = load(name), None
        if env is not None:
            place = make.make(env, arguments)
        elif parameters:
            place = make.make_task(policy.metadata, parameters)
        try:
            found = found_by(policy, env=place, episodes=episodes, tasks=tasks, seed=seed, neighbours=neighbours)
        finally:
            if place is not None:
                place.close()
        draw(found, out)
    if as_json:
        support.print_json(found.report | {"picture": str(out)})
    else:
        _print(found.report)
        print(f"picture: {out}")


def _print(report: Mapping[str, Any]) -> None:
    episodes, tasks = report["episodes"], report["tasks"]
    print(f"{report['name']}: the {report['embedding']} after {episodes} episode(s) of each of {tasks} tasks")
    print("  rank correlation of distances with those of the true parameters:")
    for name, one in report["correlation"].items():
        print(f"    {name:24} {one['rho']:6.2f}  [{one['ci95'][0]:.2f}, {one['ci95'][1]:.2f}]")
    moved = report["transfer"]
    print(f"  of {moved['tasks']} adapted policies on each other's tasks:")
    for name, one in moved["rho"].items():
        label = "return by distance" if name == "distance" else f"return by {name}"
        print(f"    {label:24} {one['mean']:6.2f}  [{one['ci95'][0]:.2f}, {one['ci95'][1]:.2f}]  rank correlation")
    for key, label in (
        ("own", "its own"),
        ("nearest", "the nearest task's"),
        ("other", "another task's"),
        ("before", "before adapting"),
    ):
        low, high = moved[key]["ci95"]
        print(f"    {label:24} {moved[key]['mean']:6.1f}  [{low:.1f}, {high:.1f}]  return")
    for one in report.get("nearest", ()):
        values = ", ".join(f"{name} {value:.3g}" for name, value in one["task"].items())
        print(f"  nearest: at {one['distance']:.2f}: {values}")
