"""What a card says of a classifier of pictures: accuracy by shots and by alphabet, what is taken for what, a picture.

Everything is measured with the exported policy, adapted as it was made for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from metazoo import axes, progress, random
from metazoo.cards.card_tables import interval, number
from metazoo.evaluation import CHUNK, play_split
from metazoo.pretrained import Pretrained
from metazoo.rollouts import supervised
from metazoo.summaries import summary
from metazoo.tasks.images.classes import ImageClasses

SHOTS: Final = (1, 2, 5, 10)
"""Drawings of each class that the table of a card has."""
TASKS: Final = 1_000
PICTURE: Final = "task.png"
USE: Final = """from metazoo import classifiers

examples = classifiers.read(policy, "letters", convert=True)  # a subfolder of pictures for each class
adapted = classifiers.adapted_to(policy, examples)
label = adapted.act(examples.images[0])"""
"""What the usage on a card says after the policy is loaded."""


def measure(policy: Pretrained, family: ImageClasses) -> dict[str, Any]:
    """``shots``: accuracy in % of test tasks by how many drawings of each class there are; ``alphabets``: of tasks
    whose classes are of one alphabet; ``confusion``: rows of true, columns of predicted alphabets, in % of a row."""
    steps, agent = policy.metadata["adapt"]["steps"], policy.agent()
    found: dict[str, Any] = {"tasks": TASKS, "ways": family.ways, "shots": {}, "alphabets": {}}
    for shots in SHOTS:
        with progress.stage(f"{policy.name}, {shots} shots"):
            played, _ = play_split(agent, family.with_shots(shots), "test", TASKS, 1, steps)
        found["shots"][str(shots)] = summary(played[-1, :, 0])
    for alphabet in family.alphabets("test"):
        with progress.stage(f"{policy.name}, {alphabet}"):
            played, _ = play_split(agent, family.within(alphabet), "test", TASKS, 1, steps)
        found["alphabets"][alphabet] = summary(played[-1, :, 0])
    found["confusion"] = confusion(policy, family).tolist()
    return found


def confusion(policy: Pretrained, family: ImageClasses) -> np.ndarray:
    """``[A, A]`` of the test alphabets: how many % of a row's query images were given a label of the column's, of all
    wrong ones and right ones of ``TASKS`` tasks."""
    names = family.alphabets("test")
    places = {name: place for place, name in enumerate(names)}
    home = np.array([places.get(name, 0) for name in family.image_set().alphabets.tolist()])
    counts = np.zeros((len(names), len(names)))
    for chunk in range(TASKS // CHUNK):
        tasks = family.sample(CHUNK, "test", 1_000 + chunk)
        labels, answers = _answers(policy, family, tasks, chunk)
        of = home[np.asarray(tasks.characters, int)]
        rows, columns = (np.take_along_axis(of, one, 1).reshape(-1) for one in (labels, answers))
        np.add.at(counts, (rows, columns), 1)
    return 100.0 * counts / np.maximum(counts.sum(1, keepdims=True), 1)


def tables(evaluation: Mapping[str, Any]) -> list[str]:
    """The section of a card; nothing of policies that see no pictures."""
    found = evaluation.get("images")
    if not found:
        return []
    shots = [f"| {shots} | {interval(one)} |" for shots, one in found["shots"].items()]
    names = list(found["alphabets"])
    alphabets = [f"| {name} | {interval(one)} |" for name, one in found["alphabets"].items()]
    rows = zip(names, found["confusion"], strict=True)
    matrix = [f"| {name} | " + " | ".join(map(number, row)) + " |" for name, row in rows]
    return [
        "## By shots and alphabets",
        f"Accuracy in % after adapting, {found['ways']}-way, on {found['tasks']:,} test tasks each; brackets: 95 %"
        " intervals over tasks. With more drawings of each class than it was trained with it is the same policy.",
        "\n".join(["| drawings of each class | accuracy |", "|---|---|", *shots]),
        "Of tasks whose classes are all of one alphabet, which are harder to tell apart:",
        "\n".join(["| alphabet | accuracy |", "|---|---|", *alphabets]),
        "Of tasks that mix them, how often a drawing of the row's alphabet was given a label of the column's, in % (the"
        " right label included):",
        "\n".join(["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|", *matrix]),
        f"![A test task: support set, and query set with predictions before and after adapting]({PICTURE})",
    ]


def picture(policy: Pretrained, family: ImageClasses, file: Path) -> Path:
    """Draws a test task: its support set, and its query set with what is predicted before and after adapting; wrong
    labels are red."""
    import matplotlib.pyplot as plt

    tasks = family.sample(1, "test", 0)
    support, query = supervised.rounds(family, tasks, random.key(0), 2)
    before = _predicted(policy, query)
    after = _predicted(_adapted(policy, support), query)
    rows, ways = len(query.actions) // family.ways, family.ways
    figure, panels = plt.subplots(rows + 1, ways, figsize=(1.1 * ways, 1.35 * (rows + 1)), layout="constrained")
    for panel in panels.reshape(-1):
        panel.set(xticks=[], yticks=[])
    for label in range(ways):
        panels[0, label].imshow(255 - support.observations[label, 0, 0].numpy(), cmap="gray", vmin=0, vmax=255)
        panels[0, label].set_title(f"class {label}", fontsize=9)
    for place, panel in enumerate(panels[1:].reshape(-1)):
        panel.imshow(255 - query.observations[place, 0, 0].numpy(), cmap="gray", vmin=0, vmax=255)
        right = int(query.actions[place, 0, 0])
        panel.set_xlabel(f"{before[place]} → {after[place]}", fontsize=9, color=_colour(after[place] == right))
    figure.suptitle("support set above; below: predicted before → after", fontsize=9)
    figure.savefig(file, dpi=80)
    plt.close(figure)
    return file


def _colour(right: bool) -> str:
    return "black" if right else "#d1495b"


def _adapted(policy: Pretrained, support: Any) -> Pretrained:
    rows = axes.batch_major(support)
    return policy.adapt(rows._replace(**{name: np.asarray(value) for name, value in rows._asdict().items()}))


def _predicted(policy: Pretrained, query: Any) -> np.ndarray:
    return policy.act(np.asarray(query.observations)[:, 0, 0])


def _answers(policy: Pretrained, family: ImageClasses, tasks: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions ``[M, T]`` of the query sets, after adapting."""
    agent = policy.agent()

    @tf.function(autograph=False)
    def play(characters: tf.Tensor, turns: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        support, query = supervised.rounds(family, family.Task(characters, turns), key, 2)
        memory = tf.broadcast_to(agent.initial_memory(), [CHUNK, 1, policy.memory.size])
        for _ in range(policy.metadata["adapt"]["steps"]):
            memory = agent.adapt(memory, support)
        return supervised.answers(query, agent.step, memory, key)

    labels, answers = play(*tasks, random.key(seed))
    return labels.numpy(), answers.numpy()
