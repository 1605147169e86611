"""Presets for families that are the user's own: settings that follow from spaces, horizon and where a family is played.

They are starting points, chosen once and not tuned to any family; ``--set`` changes each. Imports nothing heavy.
"""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from metazoo.presets.preset import Preset
from metazoo.types import Box, Discrete

if TYPE_CHECKING:
    from metazoo.tasks.host_family import AnyFamily

TWIN: Final = "domain_randomised"
"""The algorithm of the policy that is trained on all tasks and does not adapt, which others are compared with."""
ORACLE: Final = "oracle"
"""What such a policy is called when it is shown the task."""
SHORT: Final = {
    TWIN: "dr",
    "meta_sgd": "metasgd",
    "distillation": "distilled",
    "recurrent_distillation": "distilled_gru",
}
STEPS: Final = {"host": 24_000, "graph": 100_000}
"""Environment steps of one update; those of Python are dear."""
TASKS: Final = {"rl2": (40, 120)}
"""The fewest and the most tasks of an update; where it does not stand here, 8 and 128."""
MOST_UPDATES: Final = {"host": 300, "graph": 500}
EPISODES: Final = {"rl2": 3, TWIN: 10, "reptile": 10, "distillation": 3, "recurrent_distillation": 3}
"""Of a task in an update, or of one of its rounds; where it does not stand here, 4 in each of two rounds and a last."""
BODY: Final = {"encoder": (64,), "head": "observation", "hidden": (64,), "normalise": True}
"""Of recurrent policies with continuous actions: what is seen is normalised, and layers stand before and after the
memory."""
BODY_CONFIG: Final = {"minibatches": 10, "epochs": 6, "gamma": 0.97, "lambda_": 0.9}
ALIKE: Final = {"advantages": "update"}
"""What a task can still gain counts in proportion: where tasks are opposite ones, a policy that fails in half of them
would otherwise look no worse than one that does nothing."""
CLASSES: Final[dict[str, Any]] = {"tasks": 8, "episodes": 1}
"""Of families of image classes, whose support and query set are one episode each."""
FEATURES: Final[dict[str, dict[str, Any]]] = {"prototypical": {"head": False}, "pretraining": {"output_gain": 0.0}}
"""What the network of learners of classes needs."""
ADAPTS: Final = {"prototypical": 1, "pretraining": 20, "reptile": 5, "rebal": 1}
"""Steps of adapting to support sets; where it does not stand here, 2."""
MODEL: Final[dict[str, Any]] = {"heteroscedastic": True, "output_gain": 0.1}
"""Of networks that say how sure they are of a prediction."""
REMEMBERS: Final[dict[str, Any]] = {
    "heteroscedastic": True,
    "units": 64,
    "encoder": (64,),
    "head": "observation",
    "hidden": (64,),
}
"""Of recurrent ones."""
MODELS: Final = {"tasks": 16, "episodes": 1, "inner_steps": 5, "inner_rate": 0.03, "every_step": 0, "clip_norm": 1.0}
"""Of planners, whose model is trained as MAML's."""
DEVIATION: Final = 0.5
"""A Gaussian's first standard deviation, as a share of half the range of an action."""


def preset_of(
    family: "AnyFamily",
    algorithm: str,
    *,
    name: str = "",
    family_from: str = "",
    family_args: Mapping[str, Any] | None = None,
) -> Preset:
    """How ``algorithm`` is trained on a family about which nothing but what it says is known.

    ``algorithm`` is a name of ``metazoo.algorithms.registry``, or ``oracle`` for domain randomisation that is shown
    the task, as the family's ``reveals`` says.

    Raises:
        ValueError: an oracle of a family that does not say how to reveal the task.
    """
    arguments, learner = dict(family_args or {}), algorithm
    if algorithm == ORACLE:
        if family.reveals is None:
            raise ValueError(
                f"{family.name} does not say how to show the task: its class needs reveals = (argument, field)."
            )
        arguments, learner = {**arguments, family.reveals[0]: True}, TWIN
    where = "graph" if hasattr(family, "sample_task") and not hasattr(family, "rows") else "host"
    steps = 0 if learner in (TWIN, "rl2", "mpc") or "distill" in learner else 2
    steps = ADAPTS.get(learner, steps) if family.paired else steps
    episodes = 1 if family.paired or learner == "mpc" else EPISODES.get(learner, 4)
    return Preset(
        name=name or name_of(algorithm, family.name),
        description=_description(family, algorithm),
        family=family.name,
        family_args=arguments,
        family_from=family_from,
        algorithm=learner,
        config=_config(family, learner, episodes, steps, where),
        network=_network(family, learner),
        updates=MOST_UPDATES[where],
        learning_rate=2e-3 if learner == "rl2" else 1e-3,
        episodes=min(episodes, 4) if learner == TWIN else episodes,
        steps=steps,
        evaluation_tasks={"host": 100, "graph": 1000}[where],
        baselines=()
        if learner == TWIN or family.paired
        else tuple(name_of(one, family.name) for one in (TWIN, ORACLE)),
    )


def name_of(algorithm: str, family: str) -> str:
    """What a policy is called when nobody says: ``rl2_altitude``."""
    short = SHORT.get(algorithm, algorithm)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{short}_{family}").strip("-._")[:64]


def _description(family: "AnyFamily", algorithm: str) -> str:
    what = (type(family).__doc__ or "").strip().splitlines()
    about = what[0].rstrip(".") if what else f"The family {family.name}"
    how = {TWIN: ", trained over all tasks without adapting", ORACLE: ", that is shown the task"}
    return about + how.get(algorithm, "")


def _config(family: "AnyFamily", learner: str, episodes: int, steps: int, where: str) -> dict[str, Any]:
    if family.paired:
        return _of_sets(learner, steps)
    if learner == "mpc":
        return dict(MODELS)
    low, high = TASKS.get(learner, (8, 128))
    tasks = max(low, min(high, STEPS[where] // (episodes * (steps + 1) * family.horizon)))
    tasks -= tasks % (20 if learner == "rl2" else 2)  # so that replicas and minibatches divide it
    discount = {} if family.discount is None else {"gamma": family.discount}
    config: dict[str, Any] = {"tasks": tasks, "episodes": episodes}
    if learner == "rl2":
        body = (
            BODY_CONFIG
            if isinstance(family.action_space, Box)
            else {"entropy": 0.02, "entropy_updates": MOST_UPDATES[where]}
        )
        return {**config, "replicas": 2, "prediction": 1.0, **body, **discount}
    if learner == TWIN:
        return {**config, "clip_norm": 0.5, **ALIKE, **discount}
    if "distill" in learner:
        return config
    inner = {"inner_gamma": 0.9 if family.discount is None else family.discount}
    if learner == "reptile":
        return {**config, "inner_steps": steps, **inner}
    alike = ALIKE if learner == "maml" else {}
    return {**config, "inner_steps": steps, "clip_norm": 0.5, **alike, **_step_sizes(learner), **inner}


def _of_sets(learner: str, steps: int) -> dict[str, Any]:
    """Of learners on support and query sets, as the zoo's presets have them."""
    if learner in ("prototypical", "rebal"):
        return {"tasks": CLASSES["tasks"]}
    if learner in ("maml", "anil", "meta_sgd"):
        rate = {**_step_sizes(learner), "inner_rate": 0.05 if learner == "meta_sgd" else 0.2}
        return {**CLASSES, "inner_steps": steps, "every_step": 0, "clip_norm": 10.0, **rate}
    return {**CLASSES, **({"inner_steps": steps} if learner == "reptile" else {})}


def _step_sizes(learner: str) -> dict[str, Any]:
    """Of gradient-based learners: learned ones, as they forgive a bad first value."""
    if learner == "meta_sgd":
        return {"inner_rate": 0.1, "inner_rate_high": 0.3}
    if learner in ("maml", "promp", "anil"):
        return {"inner_rate": 0.1, "step_sizes": "parameter", "step_size_gain": 3.0}
    return {}


def _network(family: "AnyFamily", learner: str) -> dict[str, Any]:
    if family.paired and family.observation_space.dtype == "uint8":
        return {"blocks": 4, "filters": 32, **FEATURES.get(learner, {})}
    if family.probabilistic or learner == "mpc":
        return {**(REMEMBERS if learner == "rebal" else MODEL)}
    recurrent = learner in ("rl2", "recurrent_distillation")
    actions = family.action_space
    gaussian, discrete = isinstance(actions, Box), isinstance(actions, Discrete)
    scale = {"initial_scale": _deviation(actions)} if isinstance(actions, Box) else {}
    if recurrent:
        return {**scale, **(BODY if gaussian else {"normalise": True})} if learner == "rl2" else scale
    # Of a nearly uniform policy opposite tasks cancel in the gradient over all tasks: it would stay one for ever.
    return {**scale, **({"output_gain": 1.0} if learner == TWIN and discrete else {}), **_scaling(family)}


def _deviation(actions: Box) -> float:
    """In action units; 0.5 where the actions have no bounds."""
    ends = [_numbers(end) for end in (actions.low, actions.high)]
    halves = [(high - low) / 2.0 for low, high in zip(*ends, strict=True)]
    finite = [half for half in halves if math.isfinite(half)]
    return round(DEVIATION * sum(finite) / len(finite), 4) if finite else DEVIATION


def _numbers(bound: Any) -> list[float]:
    flat = bound.ravel().tolist() if hasattr(bound, "ravel") else bound
    return [float(one) for one in flat] if isinstance(flat, list | tuple) else [float(flat)]


def _scaling(family: "AnyFamily") -> dict[str, Any]:
    """Bounded observations that are far from [−1, 1] are brought there."""
    seen = family.observation_space
    if seen.dtype == "uint8" or len(seen.shape) != 1:
        return {}
    low, high = (_numbers(end) for end in (seen.low, seen.high))
    low, high = (end * seen.size if len(end) == 1 else end for end in (low, high))
    if not all(math.isfinite(one) and abs(one) < 1e6 for one in (*low, *high)) or max(map(abs, (*low, *high))) <= 10.0:
        return {}
    halves = [(top - bottom) / 2.0 or 1.0 for bottom, top in zip(low, high, strict=True)]
    centres = [(top + bottom) / 2.0 for bottom, top in zip(low, high, strict=True)]
    return {"centre": tuple(centres), "width": tuple(halves)}
