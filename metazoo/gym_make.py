"""Environments from what a person types: ``--env CartPole-v1 --env-arg length=0.8``, ``--task force=-9``."""

import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from metazoo.gym_spaces import CollectionError, env_name
from metazoo.tasks.gym_view import FamilyEnv
from metazoo.tasks.registry import FAMILIES


def make(env_id: str, arguments: Mapping[str, str]) -> gym.Env:
    """The environment ``env_id``, changed by ``arguments``.

    An argument is passed to the constructor (or to ``gym.make``: ``max_episode_steps``) if that takes it, else set as
    an attribute of the bare environment. Attributes that the environment derived from others are derived again.
    Values are JSON; what is not JSON is a string.

    Raises:
        CollectionError: an unknown environment, a missing package, an argument it has no place for, a wrong type.
    """
    values = {name: _parse(text) for name, text in arguments.items()}
    try:
        _import_module_of(env_id)
        accepted = _accepted(gym.spec(env_id.rpartition(":")[2]))  # unlike make, spec knows no module prefix
        env = gym.make(env_id, **{name: value for name, value in values.items() if name in accepted})
    except (gym.error.Error, ImportError, AttributeError, TypeError, ValueError) as error:
        raise CollectionError(f"the environment {env_id} cannot be made: {error}") from error
    for name, value in values.items():
        if name not in accepted:
            _set_attribute(env, name, value)
    _derive(env.unwrapped)
    return env


def make_task(metadata: Mapping[str, Any], parameters: Mapping[str, str]) -> gym.Env:
    """The policy's own family with these task parameters; those left out are nominal, or sampled where none are.

    Raises:
        ValueError: a family that is not registered, an unknown parameter, or a value of the wrong shape.
    """
    task = {name: _parse(text) for name, text in parameters.items()}
    name, arguments = metadata["family"], metadata.get("family_args", {})
    family = FAMILIES[name](**arguments) if arguments and name in FAMILIES else name
    return FamilyEnv(family, task, max_episode_steps=metadata["horizon"])


def _import_module_of(env_id: str) -> None:
    """``package.module:Id`` registers its environments when the module is imported, as for ``gym.make``."""
    module, colon, _ = env_id.partition(":")
    if colon:
        importlib.import_module(module)


def _accepted(spec: gym.envs.registration.EnvSpec) -> set[str]:
    """The names that the environment's constructor, or ``gym.make`` itself, takes."""
    creator = spec.entry_point if callable(spec.entry_point) else load_env_creator(str(spec.entry_point))
    return {*inspect.signature(creator).parameters, "max_episode_steps"} - {"kwargs"}


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _set_attribute(env: gym.Env, name: str, value: Any) -> None:
    bare = env.unwrapped
    if name.startswith("_") or not hasattr(bare, name) or callable(getattr(bare, name)):
        numbers = sorted(key for key, old in vars(bare).items() if _is_number(old) and not key.startswith("_"))
        raise CollectionError(
            f"{env_name(env)} has neither an argument nor an attribute {name!r}; its numbers are {', '.join(numbers)}."
        )
    if _is_number(getattr(bare, name)) and not _is_number(value):
        raise CollectionError(f"{name} of {env_name(env)} is {value!r}; it must be a number.")
    setattr(bare, name, value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _derive(bare: gym.Env) -> None:
    """CartPole computes two attributes from others when it is made."""
    if all(hasattr(bare, name) for name in ("masspole", "masscart", "length", "total_mass", "polemass_length")):
        bare.total_mass = bare.masspole + bare.masscart
        bare.polemass_length = bare.masspole * bare.length
