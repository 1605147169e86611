"""Experts on disk, and how they are made: ``python -m metazoo.training.experts FAMILY TASKS DIRECTORY`` trains some.

A directory of experts holds ``experts.npz`` (``weights [M, P]``, and the tasks' fields as ``task/<name> [M, ...]``) and
``experts.json``, which tells the family and the network. Nothing in it is code.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from metazoo import progress, random
from metazoo.algorithms.common.learner import updates as update_indices
from metazoo.algorithms.common.teachers import Experts, ExpertsConfig, Teacher, teacher_of
from metazoo.artefact.scratch import whole_directory
from metazoo.policies.networks import network_for
from metazoo.policies.policy import Policy
from metazoo.rollouts import returns
from metazoo.rollouts.graph import rollout
from metazoo.tasks import own
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.host_family import AnyFamily
from metazoo.training.callbacks import Advance

WEIGHTS_FILE, SETTINGS_FILE = "experts.npz", "experts.json"
EPISODES = 20
"""Played by every expert when it is finished, to tell how good it is."""


class Recipe(NamedTuple):
    """How the experts of a family are trained; a family for which this is not good has its ``expert_recipe``."""

    config: Mapping[str, Any] = {}
    network: Mapping[str, Any] = {}
    updates: int = 300
    learning_rate: float = 1e-2


def train_experts(
    family: str,
    family_args: Mapping[str, Any],
    tasks: int,
    directory: Path,
    seed: int = 0,
    recipe: Recipe | None = None,
) -> Path:
    """Trains an expert for each of the first training tasks, and writes ``directory``; returns it.

    Raises:
        ValueError: the family is not one of the graph, or ``tasks`` is out of range.
        FileExistsError: the directory exists.
    """
    directory = Path(directory)
    if directory.exists():
        raise FileExistsError(f"{directory} exists already; experts are not overwritten, so choose another.")
    ours = own.family_of({"family": family, "family_args": family_args})
    if not isinstance(ours, TaskFamily):
        raise ValueError(f"{family} is played on the host; experts are trained in the graph, so choose another family.")
    recipe = recipe or Recipe(**ours.expert_recipe)
    credit = {} if ours.discount is None else {"gamma": ours.discount}
    config = ExpertsConfig(**{**credit, **recipe.config, "tasks": tasks})
    experts = Experts(_policy(ours, recipe.network, seed), ours, ours.sample(tasks, "train", seed), config, seed)
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.updates * config.epochs, alpha=0.05)
    experts.compile(keras.optimizers.Adam(schedule), jit_compile=True)
    start = time.monotonic()
    with progress.stage(f"experts of {family}, updates", recipe.updates) as advance:
        experts.fit(update_indices(0, recipe.updates), verbose=0, shuffle=False, callbacks=[Advance(advance)])
    made = {"family": family, "family_args": dict(family_args), "seed": seed, "updates": recipe.updates,
            "network": dict(recipe.network), "config": dict(vars(config)), "learning_rate": recipe.learning_rate,
            "seconds": round(time.monotonic() - start, 1), "return": _mean_return(experts)}  # fmt: skip
    print(f"{tasks} experts on {family}: mean return {made['return']:.1f}, {made['seconds']:.0f} s", file=sys.stderr)
    return _write(experts, made, directory)


def load_experts(directory: Path, family: AnyFamily) -> tuple[Teacher, AnyFamily]:
    """The teacher that a directory of experts holds, and the family as its policies see it.

    Raises:
        ValueError: the files do not belong together, or this installation does not know the family.
    """
    made = json.loads((directory / SETTINGS_FILE).read_text(encoding="utf-8"))
    theirs = own.family_of({**made, "name": f"{directory}, a directory of experts,"})
    policy = _policy(theirs, made["network"], made["seed"])
    with np.load(directory / WEIGHTS_FILE, allow_pickle=False) as saved:
        weights = saved["weights"]
        tasks = theirs.Task(*(tf.constant(saved[f"task/{name}"]) for name in theirs.Task._fields))
    if weights.shape != (len(tasks[0]), policy.size):
        raise ValueError(
            f"the weights in {directory} are {list(weights.shape)}; its network and tasks need"
            f" {[len(tasks[0]), policy.size]}."
        )
    teacher = teacher_of(policy, tf.constant(weights), tasks, f"{len(weights)} experts")
    return teacher._replace(cost={"env_steps": _env_steps(made, theirs), "seconds": made["seconds"]}), theirs


def _env_steps(made: Mapping[str, Any], family: AnyFamily) -> int:
    return made["updates"] * made["config"]["tasks"] * made["config"]["episodes"] * family.horizon


def _policy(family: AnyFamily, network: Mapping[str, Any], seed: int) -> Policy:
    spaces = family.observation_space, family.action_space
    return Policy(network_for(*spaces, **{**network, "seed": seed}), *spaces)


def _mean_return(experts: Experts) -> float:
    """Over fresh episodes of all experts on their tasks, actions sampled."""

    def play() -> tf.Tensor:
        memory = tf.zeros([experts.config.tasks, 1, 0])
        key = random.fold(random.key(experts.seed), -1)
        return returns.episode_returns(rollout(experts.family, experts.tasks, experts.step, memory, key, EPISODES))

    return round(float(tf.reduce_mean(tf.function(play, jit_compile=True, autograph=False)())), 2)


def _write(experts: Experts, made: Mapping[str, Any], directory: Path) -> Path:
    """A directory of experts is whole or not there."""
    fields: dict[str, Any] = {f"task/{name}": np.asarray(value) for name, value in experts.tasks._asdict().items()}
    with whole_directory(directory) as work:
        np.savez(work / WEIGHTS_FILE, weights=experts.experts.numpy(), **fields)
        (work / SETTINGS_FILE).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return directory


if __name__ == "__main__":
    print(train_experts(sys.argv[1], {}, int(sys.argv[2]), Path(sys.argv[3])))
