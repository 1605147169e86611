"""A Gymnasium environment changed by name: constructor arguments where its constructor takes them, else attributes."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator

from metazoo.artefact.spaces import CollectionError, env_name


def make(env_id: str, values: Mapping[str, Any], **options: Any) -> gym.Env:
    """The environment ``env_id``, changed by ``values``; ``options`` go to ``gym.make`` as they are.

    A value is passed to the constructor (or to ``gym.make``: ``max_episode_steps``) if that takes it, else set as an
    attribute of the bare environment. Attributes that the environment derived from others are derived again.

    Raises:
        CollectionError: an unknown environment, a missing package, a value it has no place for, a wrong type.
    """
    accepted = accepted_by_id(env_id)
    arguments = {name: value for name, value in values.items() if name in accepted}
    with _named(env_id):
        env = gym.make(env_id, **arguments, **options)
    set_attributes(env, {name: value for name, value in values.items() if name not in accepted})
    return env


def accepted_by_id(env_id: str) -> set[str]:
    """The names that the constructor of ``env_id``, or ``gym.make`` itself, takes.

    ``package.module:Id`` registers its environments when the module is imported, as for ``gym.make``.
    """
    with _named(env_id):
        module, colon, _ = env_id.partition(":")
        if colon:
            importlib.import_module(module)
        spec = gym.spec(env_id.rpartition(":")[2])  # unlike make, spec knows no module prefix
        creator = spec.entry_point if callable(spec.entry_point) else load_env_creator(str(spec.entry_point))
        return accepted_by(creator) | {"max_episode_steps"}


@contextmanager
def _named(env_id: str) -> Iterator[None]:
    """What goes wrong with an id, as one sentence."""
    try:
        yield
    except (gym.error.Error, ImportError, AttributeError, TypeError, ValueError) as error:
        raise CollectionError(f"the environment {env_id} cannot be made: {error}") from error


def accepted_by(creator: Callable[..., Any]) -> set[str]:
    """The names of the arguments a callable takes, without ``**kwargs``."""
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name for name, one in inspect.signature(creator).parameters.items() if one.kind not in variadic}


def set_attributes(env: gym.Env, values: Mapping[str, Any]) -> None:
    """Set attributes of the bare environment that exist already, and derive again what depends on them.

    Raises:
        CollectionError: no such attribute (its numbers are listed), or a value of another kind or shape.
    """
    for name, value in values.items():
        _set_attribute(env, name, value)
    _derive(env.unwrapped)


def _set_attribute(env: gym.Env, name: str, value: Any) -> None:
    bare = env.unwrapped
    if name.startswith("_") or not hasattr(bare, name) or callable(getattr(bare, name)):
        numbers = sorted(key for key, old in vars(bare).items() if _is_number(old) and not key.startswith("_"))
        raise CollectionError(
            f"{env_name(env)} has neither an argument nor an attribute {name!r}; its numbers are {', '.join(numbers)}."
        )
    old = getattr(bare, name)
    if _is_number(old) and not _is_number(value):
        raise CollectionError(f"{name} of {env_name(env)} is {value!r}; it must be a number.")
    if isinstance(old, np.ndarray) and np.shape(value) != old.shape:
        raise CollectionError(f"{name} of {env_name(env)} is {value!r}; its shape must be {list(old.shape)}.")
    setattr(bare, name, np.asarray(value, old.dtype) if isinstance(old, np.ndarray) else value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _derive(bare: gym.Env) -> None:
    """CartPole computes two attributes from others when it is made."""
    if all(hasattr(bare, name) for name in ("masspole", "masscart", "length", "total_mass", "polemass_length")):
        bare.total_mass = bare.masspole + bare.masscart
        bare.polemass_length = bare.masspole * bare.length
