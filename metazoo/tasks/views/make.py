"""Environments from what a person types: ``--env CartPole-v1 --env-arg length=0.8``, ``--task force=-9``."""

import json
from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from metazoo.tasks import own
from metazoo.tasks.gym import attributes as gym_attributes
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.registry import IN_GRAPH
from metazoo.tasks.views.gym_view import FamilyEnv


def make(env_id: str, arguments: Mapping[str, str]) -> gym.Env:
    """The environment ``env_id``, changed by ``arguments`` as ``gym_attributes.make`` does.

    Values are JSON; what is not JSON is a string. ``module:Id`` finds modules in the current directory too.

    Raises:
        CollectionError: an unknown environment, a missing package, an argument it has no place for, a wrong type.
    """
    if ":" in env_id:
        own.import_path()
    return gym_attributes.make(env_id, {name: _parse(text) for name, text in arguments.items()})


def make_task(metadata: Mapping[str, Any], parameters: Mapping[str, str]) -> gym.Env:
    """The policy's own family with these task parameters; those left out are nominal, or sampled where none are.

    Raises:
        ValueError: a family that is not registered, an unknown parameter, or a value of the wrong shape.
    """
    task = {name: _parse(text) for name, text in parameters.items()}
    name, plain = metadata["family"], not metadata.get("family_args")
    family = name if name in IN_GRAPH and plain else own.family_of(metadata)
    if isinstance(family, GymFamily):
        return family.environment(task, metadata["horizon"])
    return FamilyEnv(family, task, max_episode_steps=metadata["horizon"])


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
