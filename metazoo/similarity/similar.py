"""``metazoo similar``: how alike tasks are to a policy, what that is worth, and where an environment stands."""

from typing import Any, NamedTuple

import numpy as np

from metazoo import progress
from metazoo.explain.memory import hidden_parameters
from metazoo.explain.played import play
from metazoo.pretrained import Pretrained, family_of
from metazoo.similarity.embeddings import check_adapts, embed, embed_environment
from metazoo.similarity.quality import Transfer, rank_correlations, transfer
from metazoo.similarity.space import Space, fit, nearest
from metazoo.tasks.host_family import HostFamily

TASKS, TASKS_ON_HOST = 200, 24
"""Test tasks on the map, and training tasks that the distance is fitted on; fewer where the host steps them."""
TRANSFER, TRANSFER_ON_HOST = 40, 6
"""Of them, how many policies are played on each other's tasks."""


class Similarity(NamedTuple):
    """``report`` is what ``--json`` prints; the rest is what pictures are drawn from."""

    report: dict[str, Any]
    space: Space
    coordinates: np.ndarray
    """Of the test tasks, ``[M, D]``."""
    parameters: dict[str, np.ndarray]
    gains: np.ndarray
    """What adapting brought to the first tasks of the map, ``[N]``."""
    transfer: Transfer
    environment: np.ndarray | None
    """Coordinates ``[D]`` of the environment that was given."""


def similar(
    policy: Pretrained,
    *,
    env: Any = None,
    episodes: int = 1,
    tasks: int | None = None,
    seed: int = 0,
    neighbours: int = 5,
) -> Similarity:
    """How alike tasks are to a policy, after ``episodes`` of each.

    Args:
        policy: one that adapts, of a family that is known here.
        env: a ``gymnasium.Env`` whose nearest test tasks are looked for; none if not given.
        episodes: of every task.
        tasks: test tasks; by default 200, and 24 of families that are stepped on the host.
        seed: decides tasks and draws.
        neighbours: how many nearest tasks are named.

    Returns:
        The similarity; every number of it is in ``report``.

    Raises:
        ValueError: the policy does not adapt, its family is unknown, there are fewer than 20 tasks, or they have no
            hidden parameters that vary.
        collect.CollectionError: the environment does not fit the policy.
    """
    check_adapts(policy)
    family = family_of(policy.metadata)
    host = isinstance(family, HostFamily)
    count = tasks or (TASKS_ON_HOST if host else TASKS)
    if count < 20:
        raise ValueError(f"tasks is {count}; at least 20 are needed.")
    known = family.sample(count, "train", seed)
    with progress.stage(f"{policy.name}, {count} training tasks twice"):
        space = fit(*(embed(policy, family, known, episodes, 2 * seed + again) for again in (1, 2)))
    sampled = family.sample(count, "test", seed)
    parameters = hidden_parameters(sampled)
    if not parameters:
        raise ValueError(f"the tasks of {family.name} have no parameters that vary.")
    with progress.stage(f"{policy.name}, {count} test tasks"):
        coordinates = space.coordinates(embed(policy, family, sampled, episodes, 2 * seed))
    few = min(count, TRANSFER_ON_HOST if host else TRANSFER)
    first = type(sampled)(*(field[:few] for field in sampled))
    played = play(policy, family, first, seed)
    moved = transfer(policy, family, played, coordinates[:few], {name: x[:few] for name, x in parameters.items()})
    report: dict[str, Any] = {
        "name": policy.name,
        "family": family.name,
        "embedding": "memory" if policy.metadata["memory"]["online"] else "inner gradient",
        "episodes": episodes,
        "tasks": count,
        "seed": seed,
        "repeatable": space.repeatable.tolist(),
        "correlation": rank_correlations(coordinates, parameters),
        "transfer": moved.report,
    }
    place = None
    if env is not None:
        place = space.coordinates(embed_environment(policy, env, episodes, seed)[None])[0]
        report["nearest"] = _named(coordinates, place, parameters, neighbours)
    return Similarity(report, space, coordinates, parameters, played.gains, moved, place)


def _named(
    coordinates: np.ndarray, place: np.ndarray, parameters: dict[str, np.ndarray], count: int
) -> list[dict[str, Any]]:
    which, far = nearest(coordinates, place, count)
    return [
        {"distance": float(d), "task": {name: float(values[i]) for name, values in parameters.items()}}
        for i, d in zip(which, far, strict=True)
    ]
