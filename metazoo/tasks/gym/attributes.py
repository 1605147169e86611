"""A Gymnasium environment changed by name: constructor arguments where its constructor takes them, else attributes."""

import importlib
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator

from metazoo.artefact.answers import describe
from metazoo.artefact.spaces import CollectionError, env_name

_log = logging.getLogger(__name__)


class Constructor:
    """Makes environments, and knows which values it takes as arguments; the others are attributes.

    A creator that hands ``**kwargs`` on is asked by being called, as nothing else tells what becomes of them: a name it
    refuses is an attribute, and so is one that exists as an attribute and is the same whether the argument is given or
    not.
    """

    def __init__(self, creator: Callable[..., Any], call: Callable[..., gym.Env] | None = None, also: Iterable = ()):
        """``call``: what makes the environment, if not ``creator`` itself; ``also``: further names that it takes."""
        self._call = call or creator
        self._named, self._hands_on = accepted_by(creator)
        self._named |= set(also)
        self._hands_on &= not hasattr(creator, "set_task")  # which is how it is told of tasks
        self._attributes: set[str] = set()

    def takes(self, name: str) -> bool:
        return name in self._named or (self._hands_on and name not in self._attributes)

    def build(self, values: Mapping[str, Any]) -> gym.Env:
        """An environment made with those of the values that are arguments. Raises what the creator raises."""
        while True:
            arguments = {name: value for name, value in values.items() if self.takes(name)}
            try:
                env = self._call(**arguments)
                break
            except TypeError as error:
                refused = _refused(error) & arguments.keys() - self._named
                if not refused:
                    raise
                self._attributes |= refused
        for name in arguments.keys() - self._named:
            if self._without_effect(env, name, arguments):
                self._attributes.add(name)
        return env

    def _without_effect(self, env: gym.Env, name: str, arguments: Mapping[str, Any]) -> bool:
        missing = object()
        now = getattr(env.unwrapped, name, missing)
        if now is missing or callable(now) or _equal(now, arguments[name]):
            return False
        try:
            other = self._call(**{key: value for key, value in arguments.items() if key != name})
        except Exception:  # it cannot do without  # noqa: BLE001
            return False
        before = getattr(other.unwrapped, name, missing)
        close(other)
        return _equal(before, now)


def make(env_id: str, values: Mapping[str, Any], **options: Any) -> gym.Env:
    """The environment ``env_id``, changed by ``values``; ``options`` go to ``gym.make`` as they are.

    A value is passed to the constructor (or to ``gym.make``: ``max_episode_steps``) if that takes it, else set as an
    attribute of the bare environment. Attributes that the environment derived from others are derived again.

    Raises:
        CollectionError: an unknown environment, a missing package, a constructor that raises, a value it has no place
            for, a wrong type.
    """
    constructor = by_id(env_id, **options)
    with named(env_id):
        env = constructor.build(values)
    set_attributes(env, {name: value for name, value in values.items() if not constructor.takes(name)})
    return env


def by_id(env_id: str, **options: Any) -> Constructor:
    """What ``gym.make`` makes of an id with those options.

    ``package.module:Id`` registers its environments when the module is imported, as for ``gym.make``; what was not
    registered may be a class or a function of the module.

    Raises:
        CollectionError: an unknown id, a missing package.
    """
    with named(env_id):
        module, colon, name = env_id.rpartition(":")
        creator = getattr(importlib.import_module(module), name, None) if colon else None
        if callable(creator) and name not in gym.registry:
            taken, _ = accepted_by(creator)
            given = {key: value for key, value in options.items() if key in {*taken, "max_episode_steps"}}
            return Constructor(creator, partial(_limited, creator, **given), {"max_episode_steps"})
        spec = gym.spec(name)  # unlike make, spec knows no module prefix
        creator = spec.entry_point if callable(spec.entry_point) else load_env_creator(str(spec.entry_point))
    return Constructor(creator, partial(gym.make, env_id, **options), {"max_episode_steps"})


def _limited(creator: Callable[..., gym.Env], max_episode_steps: int | None = None, **arguments: Any) -> gym.Env:
    env = creator(**arguments)
    return env if max_episode_steps is None else gym.wrappers.TimeLimit(env, int(max_episode_steps))


@contextmanager
def named(env_id: str) -> Iterator[None]:
    """What goes wrong with an environment's id, or in its constructor, as one sentence."""
    try:
        yield
    except CollectionError:
        raise
    except Exception as error:  # the user's code: whatever it raises
        plain = isinstance(error, gym.error.Error | ImportError)
        text = " ".join(str(error).split()) if plain else describe(error)
        raise CollectionError(f"the environment {env_id} cannot be made: {text}") from error


def accepted_by(creator: Callable[..., Any]) -> tuple[set[str], bool]:
    """The names of the arguments a callable takes, and whether it takes others too (``**kwargs``)."""
    try:
        parameters = inspect.signature(creator).parameters.values()
    except (TypeError, ValueError):  # of some callables nobody knows
        return set(), True
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {one.name for one in parameters if one.kind in by_name}
    return names, any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)


def _refused(error: TypeError) -> set[str]:
    """The arguments that a call did not take, by Python's own words."""
    return set(re.findall(r"(?:unexpected keyword|multiple values for(?: keyword)?) argument '(\w+)'", str(error)))


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(np.array_equal(one, other))
    except Exception:  # things that do not compare  # noqa: BLE001
        return one is other


def close(env: gym.Env) -> None:
    """Close an environment that is needed no more; that it fails to is no reason to stop."""
    try:
        env.close()
    except Exception as error:  # the user's code  # noqa: BLE001
        _log.warning("%s failed to close: %s", env_name(env), describe(error))


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
    try:
        setattr(bare, name, np.array(value, old.dtype) if isinstance(old, np.ndarray) else value)
    except Exception as error:  # the user's code
        raise CollectionError(f"{name} of {env_name(env)} cannot be set to {value!r}: {describe(error)}.") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _derive(bare: Any) -> None:
    """CartPole computes two attributes from others when it is made."""
    if all(hasattr(bare, name) for name in ("masspole", "masscart", "length", "total_mass", "polemass_length")):
        bare.total_mass = bare.masspole + bare.masscart
        bare.polemass_length = bare.masspole * bare.length
