"""Recorded topics, as a rosbag has them: ``{"/odom": [(seconds, message), ...], ...}``.

A message is a dict, or an object with attributes, as ROS' are. The map says where each field is, as
``TOPIC.FIELD.FIELD`` (numbers are indices): ``{"observations": ["/odom.pose.x", "/odom.twist.x"], "actions":
["/cmd.force"], "rewards": "/reward.data", "terminated": "/end.fell", "truncated": "/end.timeout"}``. A field may be a
vector; several are put one behind the other.

- Each message of the first action's topic is a step.
- What was seen before it: the newest message of each observation's topic up to that time.
- Its reward: the sum of the rewards after it, up to the time of the next action or of the end.
- A message of ``terminated`` or ``truncated`` that is true, after it and up to the next action, ends the episode; what
  is newest then was seen last. A recording that stops without one counts as truncated.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from metazoo.artefact.logs.record import Record
from metazoo.artefact.spaces import CollectionError
from metazoo.words import meant

FIELDS = ("observations", "actions", "rewards", "terminated", "truncated")


class Signal:
    """One field of a topic's messages over time."""

    def __init__(self, bag: Mapping[str, Any], path: str):
        topic, _, inside = path.partition(".")
        if topic not in bag:
            raise CollectionError(f"the recording has no topic {topic!r}: {meant(topic, bag).rstrip('.?')}")
        self.path, self.topic = path, topic
        try:
            messages = sorted(((float(time), message) for time, message in bag[topic]), key=lambda one: one[0])
        except (TypeError, ValueError) as error:
            raise CollectionError(f"topic {topic!r} is not a list of (seconds, message): {error}") from error
        self.times = [time for time, _ in messages]
        self.values = [_inside(path, message, inside.split(".") if inside else []) for _, message in messages]

    def at(self, time: float) -> np.ndarray:
        """The newest value up to that time. Raises CollectionError where there is none."""
        index = bisect_right(self.times, time) - 1
        if index < 0:
            raise CollectionError(f"{self.path} has no message up to {time:g} s, when an action was taken")
        return self.values[index]

    def between(self, after: float, until: float) -> list[tuple[float, np.ndarray]]:
        """Times and values after one time, up to the other."""
        first, last = bisect_right(self.times, after), bisect_right(self.times, until)
        return list(zip(self.times[first:last], self.values[first:last], strict=True))


def records(bag: Any, topic_map: Mapping[str, Any]) -> Iterator[Record]:
    """The episodes of a recording.

    Raises:
        CollectionError: the map or the recording lacks something; names the topic, the field and the time.
    """
    if not isinstance(bag, Mapping):
        raise CollectionError(f"a {type(bag).__name__} is no recording: need {{topic: [(seconds, message), ...]}}")
    signals = _signals(bag, topic_map)
    times = signals["actions"][0].times
    episode: list[float] = []
    for time, following in zip(times, [*times[1:], np.inf], strict=True):
        episode.append(time)
        end = _end(signals, time, following)
        if end is not None or following == np.inf:
            yield _record(signals, episode, *(end or (np.inf, False)))
            episode = []


def _signals(bag: Mapping[str, Any], topic_map: Mapping[str, Any]) -> dict[str, list[Signal]]:
    """The signals of each field."""
    wrong = [name for name in topic_map if name not in FIELDS]
    if wrong:
        raise CollectionError(f"the map has {wrong[0]!r}; {meant(wrong[0], FIELDS).rstrip('.?')}")
    missing = [name for name in FIELDS[:3] if not topic_map.get(name)]
    if missing:
        raise CollectionError(f"the map lacks {missing[0]!r}: it must say where observations, actions and rewards are")
    paths = {name: [given] if isinstance(given, str) else list(given) for name, given in topic_map.items()}
    return {name: [Signal(bag, path) for path in paths.get(name, [])] for name in FIELDS}


def _end(signals: Mapping[str, Sequence[Signal]], after: float, until: float) -> tuple[float, bool] | None:
    """When the episode ended in that time, and whether by itself."""
    said = [
        (time, name == "terminated")
        for name in ("terminated", "truncated")
        for signal in signals[name]
        for time, value in signal.between(after, until)
        if np.any(value)
    ]
    return min(said, key=lambda one: (one[0], not one[1])) if said else None


def _record(signals: Mapping[str, Sequence[Signal]], times: Sequence[float], end: float, terminated: bool) -> Record:
    if not any(signal.between(times[-1], end) for signal in signals["observations"]):
        raise CollectionError(
            f"no observation follows the action at {times[-1]:g} s, the last of its episode: a policy must know how an "
            "episode ended"
        )
    seen = [_together(signals["observations"], time) for time in [*times, end]]
    actions = [_together(signals["actions"], time) for time in times]
    spans = zip(times, [*times[1:], end], strict=True)
    rewards = [
        sum(float(value.sum()) for one in signals["rewards"] for _, value in one.between(*span)) for span in spans
    ]
    return Record(seen, actions, rewards, terminated)


def _together(signals: Sequence[Signal], time: float) -> np.ndarray:
    """The newest values up to that time, one behind the other; a single one keeps its shape."""
    values = [signal.at(time) for signal in signals]
    return values[0] if len(values) == 1 and values[0].ndim else np.concatenate([value.ravel() for value in values])


def _inside(path: str, message: Any, names: Sequence[str]) -> np.ndarray:
    """The numbers at a field of a message."""
    value = message
    for name in names:
        value = _part(path, value, name)
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise CollectionError(
            f"{path} is a {type(value).__name__}: it must be a number, or a vector of them"
        ) from error


def _part(path: str, value: Any, name: str) -> Any:
    try:
        if isinstance(value, Mapping):
            return value[name]
        return value[int(name)] if name.isdigit() else getattr(value, name)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise CollectionError(f"{path}: a message has no {name!r}") from error
