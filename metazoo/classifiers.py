"""Policies that classify pictures: adapted to the pictures of a folder, and how many they get right.

policy = metazoo.load("maml_glyphs")
examples = classifiers.read(policy, "letters", convert=True)      # a subfolder for each class
adapted = classifiers.adapted_to(policy, examples)
adapted.publish("adapted", task="letters")
"""

from pathlib import Path
from typing import Any

import numpy as np

from metazoo.pretrained import Pretrained
from metazoo.tasks.images.image_set import SIDE
from metazoo.tasks.images.pictures import Folder, read_folder, single


def read(
    policy: Pretrained, folder: str | Path, convert: bool = False, classes: tuple[str, ...] | None = None
) -> Folder:
    """The pictures of a folder for this policy; with ``classes``, for one that was adapted to these.

    Raises:
        ValueError: the policy sees no pictures; as ``read_folder``; or the folder has other classes.
    """
    seen, labels = policy.metadata["observation_space"], policy.metadata["action_space"]
    if not policy.metadata.get("supervised") or seen.get("shape") != [SIDE, SIDE] or "n" not in labels:
        raise ValueError(f"{policy.name} does not classify pictures; maml_glyphs or another of metazoo list would.")
    found = read_folder(Path(folder), labels["n"], convert)
    if classes is not None and found.classes != classes:
        raise ValueError(
            f"{folder} has the classes {', '.join(found.classes)}; {', '.join(classes)} would be right, those that the"
            " policy is adapted to."
        )
    return found


def adapted_to(policy: Pretrained, examples: Folder, steps: int | None = None) -> Pretrained:
    """The policy after ``steps`` inner steps on the examples, as many as it was made for by default; the names of the
    classes, in the order of the labels, are in ``metadata["adapted"]["classes"]``."""
    adapted = policy.adapt(examples.episodes(), steps=steps)
    adapted.metadata["adapted"]["classes"] = list(examples.classes)
    return adapted


def accuracy(policy: Pretrained, examples: Folder) -> dict[str, int]:
    """``{"right", "of"}``: how many of the pictures are given their label."""
    return {"right": int(np.sum(policy.act(examples.images) == examples.labels)), "of": len(examples.labels)}


def left_out(policy: Pretrained, examples: Folder, steps: int | None = None) -> dict[str, Any]:
    """``accuracy`` of pictures that are left out in turn, each told by a policy adapted to all others; only of classes
    with more than one, the others are named in ``single``."""
    alone = single(examples)
    right = tried = 0
    for place, label in enumerate(examples.labels):
        if examples.classes[label] in alone:
            continue
        others = np.arange(len(examples.labels)) != place
        kept = examples._replace(images=examples.images[others], labels=examples.labels[others])
        tried += 1
        right += int(policy.adapt(kept.episodes(), steps=steps).act(examples.images[place]) == label)
    return {"right": right, "of": tried, "single": alone}
