"""``metazoo adapt --images``: a folder of pictures for each class → an adapted classifier."""

from pathlib import Path
from typing import Any

from metazoo import progress
from metazoo.cli import support
from metazoo.words import count


def adapt(
    version: Path,
    images: Path,
    test_images: Path | None,
    convert: bool,
    steps: int | None,
    out: Path | None,
    json: bool,
) -> None:
    """Adapts, measures, publishes and prints.

    Raises:
        ValueError: the policy sees no pictures, or as ``metazoo.tasks.images.pictures.read_folder``.
    """
    with support.stdout_is_for_json(json), progress.shown():
        support.load_tensorflow()
        import metazoo
        from metazoo.classifiers import accuracy, adapted_to, left_out, read
        from metazoo.cli.policies import publishable

        policy = metazoo.load(version)
        examples = read(policy, images, convert)
        tests = None if test_images is None else read(policy, test_images, convert, examples.classes)
        task_name = publishable(policy, images.resolve().name, out)
        with progress.stage(f"adapting {policy.name}"):
            adapted = adapted_to(policy, examples, steps)
        result: dict[str, Any] = {"name": policy.name, "version": policy.version, **adapted.metadata["adapted"]}
        result["images"] = len(examples.labels)
        with progress.stage("measuring the accuracy"):
            result["left_out"] = left_out(policy, examples, steps)
            if tests is not None:
                result |= {"before": accuracy(policy, tests), "after": accuracy(adapted, tests)}
    result["published"] = None
    try:
        if out is not None:
            result["published"] = str(adapted.publish(out, task=task_name))
    finally:  # what was measured is not lost with what fails after it
        support.print_json(result) if json else _print(result)


def _print(result: dict[str, Any]) -> None:
    classes = ", ".join(result["classes"])
    print(f"{result['name']}, {count(result['steps'], 'step')} on {count(result['images'], 'picture')} of {classes}")
    left, single = result["left_out"], result["left_out"]["single"]
    if left["of"]:
        print(f"each left out in turn and told by the others: {left['right']} of {left['of']} right")
    if single:
        print(f"one picture only of {', '.join(single)}: a second one would tell how well the class is recognised")
    for key in ("before", "after"):
        if key in result:
            found = result[key]
            print(f"{key:6}  {found['right']} of {found['of']} right ({100 * found['right'] / found['of']:.1f} %)")
    print(f"published {result['published']}" if result["published"] else "not published: --out DIR does that")
