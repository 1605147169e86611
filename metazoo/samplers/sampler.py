"""What a task sampler is: it proposes the tasks of an update, and hears what the adapted policies earned on them.

A sampler runs between updates, in NumPy, whoever plays the episodes: one compiled program, processes, Ray's workers.
All that it knows is ``state``, arrays of fixed shapes that are saved with the weights; all that is random derives from
(seed, update). So a training that was killed goes on with the tasks it would have had.

No sampler plays a candidate: tasks are data, drawn for nothing, and every task that is played is trained on. So at
equal updates all samplers cost equally many environment steps.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from metazoo.tasks.host_family import AnyFamily

REFERENCE = 1000
"""Training tasks by which parameters are scaled."""
REFERENCE_SEED = 2**31 - 2


class Sampler(ABC):
    """Proposes ``count`` tasks of ``family`` for each update.

    Raises:
        ValueError: all tasks of the family are alike, so there is nothing to choose.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """What it is, with the paper, in a sentence."""

    def __init__(self, family: AnyFamily, count: int, seed: int = 0):
        self.family, self.count, self.seed = family, count, seed
        columns = _flat(family.sample(REFERENCE, "train", REFERENCE_SEED))
        self._varies = np.ptp(columns, 0) > 0
        if not self._varies.any():
            raise ValueError(f"sampler is {self.name!r}; the tasks of {family.name} are all alike: use 'uniform'.")
        self._sorted = np.sort(columns[:, self._varies], 0)
        self.state: dict[str, np.ndarray] = {}

    @property
    def dimensions(self) -> int:
        """D, how many numbers of a task vary."""
        return self._sorted.shape[1]

    @abstractmethod
    def propose(self, update: int) -> Any:
        """The tasks ``[count, ...]`` of an update, as NumPy arrays."""

    @abstractmethod
    def learn(self, update: int, tasks: Any, returns: np.ndarray) -> None:
        """Takes in ``returns [count, E]``: of the last round's episodes (of a trial: of all its episodes), by task."""

    def drawn(self, update: int, count: int, purpose: int = 0) -> Any:
        """``count`` tasks of the training distribution, others at every update and for every purpose."""
        number = int(self.rng(update, purpose).integers(2**31 - 3))
        return tf.nest.map_structure(np.asarray, self.family.sample(count, "train", number))

    def rng(self, update: int, purpose: int) -> np.random.Generator:
        """Random numbers of an update, others for every purpose."""
        return np.random.default_rng([self.seed, update, purpose])

    def points(self, tasks: Any) -> np.ndarray:
        """What varies of ``tasks``, ``[N, D]``, each entry from 0 to 1 over the training distribution."""
        low, high = self._sorted[0], self._sorted[-1]
        return np.clip((_flat(tasks)[:, self._varies] - low) / (high - low), 0.0, 1.0)

    def ranks(self, tasks: Any) -> np.ndarray:
        """The same, each entry as the share of training tasks below it: uniform in (0, 1) over these."""
        values = _flat(tasks)[:, self._varies]
        below = [np.searchsorted(known, column) for known, column in zip(self._sorted.T, values.T, strict=True)]
        return (np.stack(below, 1) + 0.5) / (len(self._sorted) + 1)


def rows(tasks: Any, which: np.ndarray) -> Any:
    """Some of ``tasks [N, ...]``."""
    return tf.nest.map_structure(lambda field: np.asarray(field)[which], tasks)


def joined(first: Any, second: Any) -> Any:
    """Tasks ``[N, ...]`` and ``[M, ...]`` as ``[N + M, ...]``."""
    return tf.nest.map_structure(lambda one, other: np.concatenate([one, other]), first, second)


def _flat(tasks: Any) -> np.ndarray:
    fields = [np.asarray(field, np.float64) for field in tf.nest.flatten(tasks)]
    return np.concatenate([field.reshape(len(field), -1) for field in fields], 1)
