"""A visitor's task, played: explore, adapt, and the same episodes before and after. Milliseconds, once compiled.

The protocol is that of ``metazoo.evaluation``: gradient-based policies play rounds and make an inner step after each;
policies that remember play one trial, the memory carried through. Then both memories, the first and the last, play
equal episodes: same start states, same draws.

Compiling takes seconds, so there is one shape of each program: ``ROWS`` episodes side by side, of which a round uses as
many as it needs. That changes none of them: an episode depends on its own key alone.
"""

import time
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.gallery import beliefs, bodies, pictures
from metazoo.pretrained import Pretrained, family_of, load
from metazoo.rollouts.agent import random_agent
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks import catalogue
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.types import Episodes

ROWS: Final = 20
"""Episodes before, and as many after."""
ROWS_ON_THE_HOST: Final = 5
"""There an episode takes a tenth of a second."""
TEST_KEY: Final = 1_000
"""Apart from the keys of exploring, which count from 0."""


class Played(NamedTuple):
    """What one play gave, time-major with one task: ``explored``, a round each (of a trial one for all its episodes);
    ``memories``, the first and one after each round; ``before`` and ``after`` with ``ROWS`` episodes."""

    explored: list[Episodes]
    memories: list[tf.Tensor]
    before: Episodes
    after: Episodes


@final
class Player:
    """Plays one policy on tasks of its family."""

    def __init__(self, policy: Pretrained, family: AnyFamily):
        self._agent, self._family, adapt = policy.agent(), family, policy.metadata["adapt"]
        self._steps, self._episodes = adapt["steps"], adapt["episodes"]
        self.rows = ROWS_ON_THE_HOST if isinstance(family, HostFamily) else ROWS
        agent, supervised = self._agent, family.supervised

        def side_by_side(task: Any, memory: tf.Tensor, key: tf.Tensor, count: int) -> Episodes:
            return rollout(family, task, agent.step, memory, key, count, supervised)

        def trials(tasks: Any, memory: tf.Tensor, keys: tf.Tensor) -> tuple[Episodes, tf.Tensor]:
            return trial(family, tasks, agent.step, memory, keys, self._episodes)

        def at_random(task: Any, key: tf.Tensor) -> Episodes:
            return rollout(family, task, random_agent(family).step, tf.zeros([1, 1, 0]), key, self.rows)

        self._adapt, self._at_random = tf.function(agent.adapt, autograph=False), _compiled(family, at_random)
        self._side_by_side, self._trials = _compiled(family, side_by_side), _compiled(family, trials)

    @property
    def before_is(self) -> str:
        """What plays the episodes before, where it is not the policy with its first memory."""
        return "random actions" if self._agent.online and self._episodes == 1 else ""

    def play(self, task: Any, key: tf.Tensor) -> Played:
        """``task [1]``; ``key`` decides all draws."""
        return self._one_trial(task, key) if self._agent.online else self._rounds(task, key)

    def trials(self, tasks: Any, key: tf.Tensor) -> tuple[Episodes, tf.Tensor]:
        """A trial of each of ``tasks [rows]`` from the policy's own memory, and the memories ``[rows, 1, S]``."""
        return self._trials(tasks, tf.repeat(self._first(), self.rows, 0), self._keys(key))

    def _first(self) -> tf.Tensor:
        return self._agent.initial_memory()[None, None]

    def _keys(self, key: tf.Tensor) -> tf.Tensor:
        return random.fold(key, tf.range(self.rows))

    def _rounds(self, task: Any, key: tf.Tensor) -> Played:
        memories, explored = [self._first()], []
        for made in range(self._steps):
            if not (self._family.supervised and explored):  # one support set for all steps
                explored.append(self._round(task, memories[-1], random.fold(key, made)))
            memories.append(self._adapt(memories[-1], explored[-1]))
        return Played(explored, memories, *(self._test(task, one, key) for one in (memories[0], memories[-1])))

    def _round(self, task: Any, memory: tf.Tensor, key: tf.Tensor) -> Episodes:
        on_host = isinstance(self._family, HostFamily)
        played = self._side_by_side(task, memory, key, self._episodes if on_host else max(self._episodes, self.rows))
        return _episodes_to(played, self._episodes)

    def _test(self, task: Any, memory: tf.Tensor, key: tf.Tensor) -> Episodes:
        on_host = isinstance(self._family, HostFamily)
        count = self.rows if on_host or self._agent.online else max(self._episodes, self.rows)
        return _episodes_to(self._side_by_side(task, memory, random.fold(key, TEST_KEY), count), self.rows)

    def _one_trial(self, task: Any, key: tf.Tensor) -> Played:
        """Tests are first episodes of trials. Where a trial is one episode (a bandit), the last memory is held, to show
        what it knows without learning any more, and stands beside random actions, as in ``metazoo list``: the first
        memory held would still react to the reward before."""
        many = tf.nest.map_structure(lambda field: tf.repeat(field, self.rows, 0), task)
        played, memories = self.trials(many, random.fold(key, 0))
        first, last = self._first(), memories[:1]
        fields = played._asdict().items()
        explored = Episodes(*(field[:1] if name == "final_observations" else field[:, :1] for name, field in fields))

        def carried(memory: tf.Tensor) -> Episodes:
            keys = self._keys(random.fold(key, TEST_KEY))
            return _episodes_to(self._trials(many, tf.repeat(memory, self.rows, 0), keys)[0], 1)

        if self._episodes > 1:
            return Played([explored], [first, last], carried(first), carried(last))
        test_key = random.fold(key, TEST_KEY)
        return Played([explored], [first, last], self._at_random(task, test_key), self._test(task, last, key))


def _compiled(family: AnyFamily, play: Any) -> Any:
    return play if isinstance(family, HostFamily) else tf.function(play, jit_compile=True, autograph=False)


def _episodes_to(played: Episodes, count: int) -> Episodes:
    """The first ``count`` episodes of each task."""
    fields = played._asdict().items()
    return Episodes(
        *(field[:, :count] if name == "final_observations" else field[:, :, :count] for name, field in fields)
    )


@final
class Stage:
    """A policy ready to be watched: its family, its compiled player, and what reads its memory."""

    def __init__(self, policy: Pretrained, family: AnyFamily):
        self.policy, self.family = policy, family
        self._player = Player(policy, family)
        self._reader = beliefs.Reader(policy, family, self._player.trials, self._player.rows)

    def play(self, task: Any, seed: int) -> dict[str, Any]:
        """Everything that the browser draws, as plain data. ``task [1]`` of the family; ``seed`` decides all draws."""
        started = time.perf_counter()
        played = self._player.play(task, random.key(seed))
        picture = bodies.painter(self.family, task) or pictures.plain
        show = pictures.Shown(picture, self.family.supervised, self.family.horizon)
        explored = [show.round(one) for one in played.explored]
        before, after = show.tests(played.before, played.after)
        answer = {
            "task": {name: np.asarray(field)[0].tolist() for name, field in task._asdict().items()},
            "horizon": self.family.horizon,
            "explored": explored,
            "before": before,
            "after": after,
            "adapts": bool(self.policy.metadata["memory"]["size"]),
            "before_is": self._player.before_is,
            **self._reader.read(played.explored, played.memories),
        }
        if self.family.supervised:
            answer["curves"] = pictures.curves(self.policy, self.family, played.memories)
        if pictures.is_of_the_plane(self.family) and not self.policy.metadata["memory"]["online"]:
            answer["field"] = pictures.field(self.policy, played.memories)
        return answer | {"milliseconds": round(1e3 * (time.perf_counter() - started), 1)}


def stage_of(version: str | Path) -> Stage:
    """The stage of a policy in a version directory; families on the host are stepped in this process.

    Raises:
        ValueError: its family is not known here.
        store.StoreError: it is damaged.
    """
    policy = load(version)
    alone = {"workers": 0} if policy.metadata["family"] in catalogue.ON_THE_HOST else {}
    return Stage(policy, family_of(policy.metadata, **alone))
