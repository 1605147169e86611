"""N-way K-shot classification as a family: N classes of a set of images, K labelled drawings of each to learn from.

The protocol is that of Vinyals et al. 2016 (arXiv 1606.04080, section 4.1), except that the classes of training,
validation and test come from different *alphabets*, not only from different characters.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo import random
from metazoo.tasks.family import Reference, TaskFamily, Transition
from metazoo.tasks.images.image_set import SIDE, ImageSet
from metazoo.types import Box, Discrete, Episodes

_CHUNK = 50
"""Tasks compared pixel by pixel at once."""


class ClassesTask(NamedTuple):
    """Which character of the set each label means, ``[M, N]``, and by how many quarter turns its drawings are turned,
    ``[M, N]``: whole numbers."""

    characters: Any
    turns: Any


class ClassesState(NamedTuple):
    """The label and the drawing that are shown, ``[M, E]`` int32."""

    label: Any
    drawing: Any


class ImageClasses(TaskFamily, ABC):
    """``ways`` N, ``shots`` K of each class in the support set, ``queries`` of each in the query set.

    Support and query sets of one key hold different drawings. Episodes that are played step by step show one drawing
    after another, each of a class of its own drawing. Training characters turned by a quarter are other characters
    (Santoro et al. 2016); held-out ones are not turned.

    Raises:
        ValueError: fewer than two ways, no shots, no queries, or more of them than there are drawings.
    """

    hidden: ClassVar[str] = "which character each label means"
    reward_unit: ClassVar[str] = "1 where the label is right, else 0"
    metric: ClassVar[str] = "accuracy in %"
    example: ClassVar[str] = "image"
    Task: ClassVar[type] = ClassesTask
    supervised: ClassVar[bool] = True
    paired: ClassVar[bool] = True
    units: ClassVar[Mapping[str, str]] = {"characters": "", "turns": "quarter turns"}
    out_of_range = False
    observation_space = Box((SIDE, SIDE), 0, 255, "uint8")
    drawings: ClassVar[int] = 20
    """Of each character in the set."""
    known: int
    """How many characters the set has."""

    def __init__(self, ways: int = 5, shots: int = 1, queries: int = 5, turned: bool = True):
        for name, number, least in (("ways", ways, 2), ("shots", shots, 1), ("queries", queries, 1)):
            if number < least:
                raise ValueError(f"{name} is {number}; it must be at least {least}.")
        if shots + queries > self.drawings:
            raise ValueError(
                f"shots and queries are {shots} and {queries}; together they must be at most {self.drawings}, the"
                " drawings of a character."
            )
        self.ways, self.shots, self.queries, self.turned = ways, shots, queries, turned
        self.action_space = Discrete(ways)
        self.horizon = ways * shots
        self._only: tuple[str, ...] = ()
        self._tensors: dict[str, tf.Tensor] = {}

    @abstractmethod
    def image_set(self) -> ImageSet:
        """All images; called when the first is needed."""

    @abstractmethod
    def alphabets(self, split: str) -> tuple[str, ...]:
        """The alphabets of ``train``, ``validation`` or ``test``."""

    def within(self, alphabet: str) -> "ImageClasses":
        """The same family with all classes of one alphabet."""
        other = copy.copy(self)
        other._only = (alphabet,)
        other._tensors = {name: held for name, held in self._tensors.items() if name == "images"}
        return other

    def with_shots(self, shots: int) -> "ImageClasses":
        """The same family with another number of drawings of each class in the support set."""
        other = copy.copy(self)
        other.shots, other.horizon = shots, self.ways * shots
        return other

    def sample_task(self, key: tf.Tensor, split: str) -> ClassesTask:
        if split == "ood":
            raise ValueError(f"split is 'ood'; {self.name} has none, test holds alphabets that were never seen.")
        among = self._held(split, lambda: self.image_set().of(self._only or self.alphabets(split)))
        order = random.uniform(random.spread(random.fold(key, 0), among.shape[0]))
        chosen = tf.math.top_k(order, self.ways).indices
        turns = random.integers(random.spread(random.fold(key, 1), self.ways), 4)
        if split != "train" or not self.turned:
            turns = tf.zeros_like(turns)
        return ClassesTask(tf.cast(tf.gather(among, chosen), tf.float32), tf.cast(turns, tf.float32))

    def sets(self, task: ClassesTask, key: tf.Tensor) -> tuple[Episodes, Episodes]:
        """The support and the query set of tasks ``[M]`` with keys ``[M]``: one time-major episode of each.

        ``actions`` are the labels. Class after class takes its turn, and no drawing is in both.
        """
        keys = random.spread(key, self.ways, self.drawings)
        drawn = tf.argsort(random.uniform(keys), -1)
        support, query = drawn[..., : self.shots], drawn[..., self.shots : self.shots + self.queries]
        return self._set(task, support), self._set(task, query)

    def set_sizes(self) -> tuple[int, int]:
        return self.ways * self.shots, self.ways * self.queries

    def reset(self, task: ClassesTask, key: tf.Tensor) -> ClassesState:
        label, drawing = tf.unstack(random.spread(key, 2), axis=-1)
        return ClassesState(random.integers(label, self.ways), random.integers(drawing, self.drawings))

    def targets(self, task: ClassesTask, state: ClassesState) -> tf.Tensor:
        """The labels ``[M, E]``."""
        return state.label

    def step(self, task: ClassesTask, state: ClassesState, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        reward = tf.cast(tf.equal(actions, state.label), tf.float32)
        return Transition(self.reset(task, key), reward, tf.zeros_like(reward, tf.bool))

    def observe(self, task: ClassesTask, state: ClassesState) -> tf.Tensor:
        mine = tf.one_hot(state.label, self.ways)
        character, turns = (tf.reduce_sum(field * mine, -1) for field in task)
        return self._images(character, turns, state.drawing)

    def references(self, tasks: ClassesTask) -> dict[str, Reference]:
        """Without learning: the label of the nearest support image, pixel by pixel, on sets of their own."""
        nearest = tf.function(self._nearest_neighbour, jit_compile=True, autograph=False)
        rows = random.spread(random.key(0), len(tasks.characters))
        parts = [nearest(*(field[i : i + _CHUNK] for field in (*tasks, rows))) for i in range(0, len(rows), _CHUNK)]
        return {"nearest_neighbour": Reference(tf.concat(parts, 0), "the label of the nearest example, in pixels")}

    def _nearest_neighbour(self, characters: tf.Tensor, turns: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """Accuracies ``[M]`` in %."""
        support, query = self.sets(ClassesTask(characters, turns), keys)
        known, asked = (_rows(one.observations) for one in (support, query))
        squares = tf.reduce_sum(known**2, -1)[:, None] - 2.0 * tf.matmul(asked, known, transpose_b=True)
        found = tf.gather(tf.transpose(support.actions[..., 0]), tf.argmin(squares, -1), batch_dims=1)
        return 100.0 * tf.reduce_mean(tf.cast(found == tf.transpose(query.actions[..., 0]), tf.float32), -1)

    def _set(self, task: ClassesTask, drawn: tf.Tensor) -> Episodes:
        """Drawings ``[M, N, K]`` of the tasks' classes as time-major episodes ``[K·N, M, 1]``."""
        labels = tf.broadcast_to(tf.range(self.ways)[:, None], tf.shape(drawn))
        images = self._images(task.characters[..., None], task.turns[..., None], drawn)
        rows = drawn.shape[1] * drawn.shape[2]

        def timed(field: tf.Tensor) -> tf.Tensor:
            turned = tf.transpose(field, [2, 1, 0, *range(3, field.shape.rank)])
            return tf.reshape(turned, [rows, tf.shape(drawn)[0], 1, *field.shape[3:]])

        nothing = timed(tf.zeros(tf.shape(drawn)))
        never, images = tf.cast(nothing, tf.bool), timed(images)
        return Episodes(images, images[-1], timed(labels), nothing, never, never, tf.ones_like(nothing))

    def _images(self, character: tf.Tensor, turns: tf.Tensor, drawing: tf.Tensor) -> tf.Tensor:
        """uint8 ``[..., 28, 28]``: drawings of characters ``[...]``, turned counter-clockwise."""
        images = self._held("images", lambda: np.asarray(self.image_set().images).reshape(-1, SIDE, SIDE))
        place = tf.cast(character, tf.int32) * self.drawings + drawing
        upright = tf.gather(images, place)
        if not self.turned:
            return upright
        turns = tf.cast(tf.broadcast_to(turns, tf.shape(place)), tf.int32)[..., None, None]
        sides = list(range(place.shape.rank))
        turned = tf.transpose(upright, [*sides, len(sides) + 1, len(sides)])
        result = tf.where(turns == 1, turned[..., ::-1, :], upright)
        result = tf.where(turns == 2, upright[..., ::-1, ::-1], result)
        return tf.where(turns == 3, turned[..., ::-1], result)

    def _held(self, name: str, make: Any) -> tf.Tensor:
        """A tensor made once, outside of whatever graph is being built: programs take it as an argument, not as a
        constant of megabytes."""
        if name not in self._tensors:
            with tf.init_scope():
                self._tensors[name] = tf.constant(make())
        return self._tensors[name]


def _rows(images: tf.Tensor) -> tf.Tensor:
    """Time-major images ``[T, M, 1, 28, 28]`` as float ``[M, T, 784]``, in [0, 1]."""
    flat = tf.reshape(images, [*images.shape[:2], SIDE * SIDE])
    return tf.cast(tf.transpose(flat, [1, 0, 2]), tf.float32) / 255.0
