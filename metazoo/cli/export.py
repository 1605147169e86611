"""The command ``metazoo export``: a policy as one file for a device."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metazoo import progress
from metazoo.cli import options, places, support
from metazoo.cli.zoo import Json

FORMATS: Final = {"litert": (".tflite",)}
"""What is exported to, and how such files are called."""


def export(
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A policy, adapted or not.")],
    kind: Annotated[str, options.choice(tuple(FORMATS), param_decls=("--format",))] = "litert",
    episodes: Annotated[int | None, options.whole(1, 10**4, help="K of one adapt; as trained by default.")] = None,
    steps: Annotated[int | None, options.whole(1, 10**5, help="T of an episode; as trained by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file; NAME.tflite by default.")] = None,
    as_json: Json = False,
) -> None:
    """Write a policy as one file that acts and adapts on a device, without TensorFlow.

    The file's answers are compared with the policy's own before it is written.

    \b
    metazoo export maml_cartpole --format litert --out maml_cartpole.tflite
    metazoo export maml_cartpole --episodes 3 --steps 100
    metazoo export adapted/maml_cartpole-CartPole-v1 --out robot.tflite
    """
    from metazoo.hub.transfer import find

    version = find(name)
    target = Path(f"{version.parent.name}{FORMATS[kind][0]}") if out is None else out
    places.file(target, "--out", FORMATS[kind])
    with support.stdout_is_for_json(as_json), progress.shown():
        support.load_tensorflow()
        import metazoo

        policy = metazoo.load(version)
        with progress.stage(f"converting {policy.name}"):
            written = policy.export_litert(target, episodes, steps)
        result: dict[str, Any] = {"name": policy.name, "version": policy.version, "file": str(written)}
        result["bytes"] = written.stat().st_size
    if as_json:
        support.print_json(result)
    else:
        print(f"{written}  {result['bytes'] / 1e3:.0f} kB, answers as {policy.name} version {policy.version} does")
