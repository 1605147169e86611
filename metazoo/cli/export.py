"""The command ``metazoo export``: a policy as one file for a device."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metazoo import progress
from metazoo.cli import options, places, support
from metazoo.cli.zoo import Json

FORMATS: Final = {"litert": (".tflite",), "onnx": (".onnx",)}
"""What is exported to, and how such files are called."""


def export(
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A policy, adapted or not.")],
    kind: Annotated[str, options.choice(tuple(FORMATS), param_decls=("--format",))] = "litert",
    episodes: Annotated[int | None, options.whole(1, 10**4, help="K of one adapt; as trained by default.")] = None,
    steps: Annotated[int | None, options.whole(1, 10**5, help="T of an episode; as trained by default.")] = None,
    float16: Annotated[bool, typer.Option("--float16", help="act alone, its weights in 16 bits.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="act alone, its large weights in 8 bits.")] = False,
    out: Annotated[Path | None, typer.Option(help="The file; NAME.tflite or NAME.onnx by default.")] = None,
    family: support.Family = None,
    family_arg: support.FamilyArg = None,
    as_json: Json = False,
) -> None:
    """Write a policy as one file that acts and adapts on a device, without TensorFlow.

    The file's answers are compared with the policy's own before it is written. ONNX has a file for act and one for
    step, and cannot adapt.

    \b
    metazoo export maml_cartpole --format litert --out maml_cartpole.tflite
    metazoo export maml_cartpole --episodes 3 --steps 100
    metazoo export adapted/maml_cartpole-CartPole-v1 --out robot.tflite
    metazoo export maml_cartpole --format onnx
    metazoo export dr_cartpole --int8
    metazoo export runs/dr_altitude/savedmodels/dr_altitude --int8 --family robots/my_robot.py:Altitude

    --float16 and --int8 print what they cost: the return on 50 test tasks, with modes as actions. --family says where
    these tasks are, for a policy whose family was moved.
    """
    family_arguments = support.family_arguments(family, family_arg)
    small = "float16" if float16 else "int8" if int8 else None
    if (small or kind == "onnx") and (episodes is not None or steps is not None):
        raise ValueError(f"--episodes and --steps are sizes of adapt, which {_without_adapt(kind, small)} leaves out.")
    if small and (kind == "onnx" or (float16 and int8)):
        raise ValueError(f"--{small} is for --format litert, and without --{'int8' if float16 else 'float16'}.")
    from metazoo.hub.transfer import find

    version = find(name)
    target = Path(f"{version.parent.name}{FORMATS[kind][0]}") if out is None else out
    places.file(target, "--out", FORMATS[kind])
    with support.stdout_is_for_json(as_json), progress.shown():
        support.load_tensorflow()
        import metazoo
        from metazoo import pretrained

        policy = metazoo.load(version)
        support.give_family(family, family_arguments, [version], record=False)
        if small:
            pretrained.family_of(policy.metadata)  # without its tasks, what is lost cannot be measured
        with progress.stage(f"converting {policy.name}"):
            if kind == "onnx":
                written = policy.export_onnx(target)
            elif small:
                written = [policy.export_act(target, small)]
            else:
                written = [policy.export_litert(target, episodes, steps)]
        lost = _lost(policy, target) if small else None
    files = [{"file": str(path), "bytes": path.stat().st_size} for path in written]
    if as_json:
        mean = {} if lost is None else {"savedmodel": lost.before, small: lost.after}
        support.print_json({"name": policy.name, "version": policy.version, "files": files, "mean": mean})
        return
    same = f"answers as {policy.name} version {policy.version} does"
    said = same if lost is None else f"mean on 50 test tasks {lost.before:.4g} → {lost.after:.4g}"
    for path in written:
        print(f"{path}  {path.stat().st_size / 1e3:.0f} kB, {said}")


def _without_adapt(kind: str, small: str | None) -> str:
    return "--format onnx" if kind == "onnx" else f"--{small}"


def _lost(policy: Any, path: Path) -> Any:
    """What smaller weights cost. Raises ValueError where the policy's family is not known."""
    from metazoo.bench import edge_tasks

    with progress.stage("playing 50 test tasks"):
        return edge_tasks.lost(policy, path)
