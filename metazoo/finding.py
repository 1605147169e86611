"""Which policies fit an environment, and how each does on it: ``metazoo find``.

Fitting is about spaces alone, and reads metadata; trying plays. Spaces say nothing of meaning: a policy may fit and be
of no use, which is what trying is for.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from metazoo import progress
from metazoo.artefact import store
from metazoo.artefact.intervals import interval
from metazoo.artefact.places import savedmodels_directory
from metazoo.artefact.spaces import (
    CollectionError,
    check_spaces,
    env_name,
    observation_spec,
    require_env,
    space_from_metadata,
)
from metazoo.hub import listing
from metazoo.pretrained import Pretrained, load
from metazoo.types import one_line
from metazoo.words import count

BUDGET: Final = 15
"""Episodes that a policy may adapt with when it is tried."""
TEST_EPISODES: Final = 10
TEST_SEED: Final = 10_000
"""Added to the seed for the episodes that measure a return, which are others than those adapted with."""
NEAR: Final = 3
"""So many policies that do not fit are named, the nearest first."""


class Found(NamedTuple):
    """Policies for an environment."""

    env: str
    observation_space: str
    action_space: str
    fitting: list[dict[str, Any]]
    """A row each, as of ``metazoo.hub.listing.entries``, and its ``directory``. Where they were tried the best stands
    first, and ``tried`` has ``before``, ``after`` and ``gain`` (mean, ci95, episodes) and ``used`` (episodes adapted
    with)."""
    others: list[dict[str, str]]
    """``name`` and ``reason`` of the nearest of those that do not fit."""
    advice: str
    """What to do if none fits, or none adapts."""


def find(
    env: Any,
    *,
    try_out: bool = False,
    budget: int = BUDGET,
    test_episodes: int = TEST_EPISODES,
    seed: int = 0,
    models: Path | Sequence[Path] | None = None,
) -> Found:
    """The policies whose spaces are those of a ``gymnasium.Env``.

    They are looked for in ``models``, a directory or several; by default among the pretrained ones and those that were
    trained in the current directory (``runs/*/savedmodels``).

    With ``try_out`` each is measured with ``test_episodes`` before, and after adapting with at most ``budget``
    episodes, on the same seeds; the best after adapting stands first. Returns are undiscounted; intervals are Student's
    95 %, over episodes of this one environment.

    Raises:
        CollectionError: it is no environment, or answers with something unusable.
        ValueError: a budget below 1, or fewer than 2 test episodes.
        FileNotFoundError: there is no such directory of models.
    """
    if budget < 1 or test_episodes < 2:
        raise ValueError(f"budget is {budget} and test_episodes {test_episodes}; they must be at least 1 and 2.")
    require_env(env)
    fitting, others = _by_spaces(env, _directories(models))
    if try_out:
        with progress.stage(f"trying policies on {env_name(env)}", len(fitting)) as advance:
            for row in fitting:
                row["tried"] = _tried(Path(row["directory"]), env, budget, test_episodes, seed)
                advance(1)
        fitting.sort(key=lambda row: row["tried"]["after"]["mean"], reverse=True)
    spaces = one_line(env.observation_space), one_line(env.action_space)
    return Found(env_name(env), *spaces, fitting, others[:NEAR], _advice(env, fitting, try_out))


def _directories(models: Path | Sequence[Path] | None) -> list[Path]:
    """Where to look; what the user has trained comes first."""
    if models is None:
        return [*sorted(Path("runs").glob("*/savedmodels")), savedmodels_directory()]
    return [Path(models)] if isinstance(models, str | Path) else [Path(one) for one in models]


def _by_spaces(env: Any, directories: Sequence[Path]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The rows of those that fit; names and reasons of the others, the nearest first."""
    fitting, others = [], []
    rows = [{**row, "directory": str(where / row["name"])} for where in directories for row in listing.entries(where)]
    for row in rows:
        metadata = store.read_metadata(store.latest(Path(row["directory"]))) or {}
        try:
            check_spaces(env, metadata)
        except CollectionError:
            reason = f"it sees {row['sees']} and does {row['does']}"
            others.append((_distance(env, metadata), {"name": row["name"], "reason": reason}))
            continue
        if metadata.get("supervised"):
            others.append((math.inf, {"name": row["name"], "reason": "it regresses on examples, and plays nothing"}))
        else:
            fitting.append(row)
    return fitting, [other for _, other in sorted(others, key=lambda one: one[0])]


def _distance(env: Any, metadata: Mapping[str, Any]) -> float:
    """How far the spaces lie from the environment's: other actions are worse than more, or fewer, observed numbers."""
    needed = [space_from_metadata(metadata[f"{role}_space"]) for role in ("action", "observation")]
    if type(needed[0]) is not type(env.action_space):
        return math.inf
    sizes = [math.prod(observation_spec(space)[0]) for space in (needed[1], env.observation_space)]
    return abs(sizes[0] - sizes[1])


def _tried(path: Path, env: Any, budget: int, episodes: int, seed: int) -> dict[str, Any]:
    """Before, after, gain, and what it took."""
    policy = load(path)
    before = policy.evaluate(env, episodes, TEST_SEED + seed)
    adapted, used = _adapted(policy, env, budget, seed)
    after = before if adapted is None else adapted.evaluate(env, episodes, TEST_SEED + seed)
    return {"before": interval(before), "after": interval(after), "gain": interval(after - before), "used": used}


def _adapted(policy: Pretrained, env: Any, budget: int, seed: int) -> tuple[Pretrained | None, int]:
    """The adapted policy, None where it does not adapt; and how many episodes that took. With a budget too small for
    all steps it was trained for, it makes fewer, then of fewer episodes."""
    trained, online = policy.metadata["adapt"], policy.metadata["memory"]["online"]
    if not trained["steps"] and not online:
        return None, 0
    episodes = min(trained["episodes"], budget)
    steps = 1 if online else max(1, min(trained["steps"], budget // episodes))
    return policy.adapt(env, episodes=episodes, steps=steps, seed=seed), episodes * steps


def _advice(env: Any, fitting: list[dict[str, Any]], tried: bool) -> str:
    train = (
        "Train one of your own: metazoo new family NAME writes a starting file, and metazoo train --family trains on it"
        " (docs/your-own-environment.md)."
    )
    if not fitting:
        return f"No policy here has the spaces of {env_name(env)}. {train}"
    if not tried:
        return "They fit by their spaces, which says nothing of meaning: --try (try_out=True) plays them."
    if not any(row["tried"]["gain"]["ci95"][0] > 0 for row in fitting):
        return f"None gains by adapting, beyond doubt, in so few episodes. {train}"
    return "metazoo adapt NAME adapts one and publishes it."


def text(found: Found) -> str:
    """The same for people."""
    lines = [f"{found.env}: sees {found.observation_space}, does {found.action_space}", ""]
    lines += list(_table(found.fitting)) if found.fitting else []
    lines += [f"  {other['name']} does not fit: {other['reason']}" for other in found.others if not found.fitting]
    return "\n".join([*lines, "", found.advice])


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        name = row["name"].ljust(width)
        if tried := row.get("tried"):
            used = count(tried["used"], "episode") if tried["used"] else "does not adapt"
            yield f"  {name} {_shown(tried['before']):>26} → {_shown(tried['after']):26} {used}"
        else:
            yield f"  {name}  {row['family']}, {row['algorithm']}, adapts in {row['adapts_in']}"


def _shown(one: dict[str, Any]) -> str:
    return f"{one['mean']:.1f} [{one['ci95'][0]:.1f}, {one['ci95'][1]:.1f}]"
