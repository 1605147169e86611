"""What every learner is: a Keras model whose ``train_step`` collects episodes and applies a meta-gradient."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common import side_by_side
from metazoo.algorithms.common.config import Config
from metazoo.algorithms.common.host_calls import compiled, with_memory_apart
from metazoo.algorithms.common.outer_step import optimize
from metazoo.algorithms.common.sampling import BetweenUpdates, Sampling
from metazoo.keras_settings import require_for_training
from metazoo.policies.distributions import Parameters
from metazoo.policies.policy import Policy
from metazoo.policies.weights import Tensors
from metazoo.rollouts.agent import Agent
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.types import Episodes, StepInputs, StepOutputs, one_line


class Learner(keras.Model, ABC):
    """A meta-policy in training.

    ``collect`` and ``meta_gradient`` are pure functions of explicit weights (the tensors of ``meta_variables``);
    ``train_step`` only composes them. ``initial_memory``, ``step`` and ``adapt`` are what rollouts, evaluation and
    export use. Train with ``compile(optimizer, jit_compile=True)`` and ``fit(updates(...))``.

    Over a family in the graph the whole ``train_step`` is one program, or where several threads share the outer steps
    a few of them. Over one on the host it runs eagerly, and ``step``, ``adapt`` and the update, each compiled on its
    own, are called from it.
    """

    name_in_registry: ClassVar[str]
    about: ClassVar[str] = ""
    """What it is, in a sentence or two with the paper, for the cards of its policies."""
    config_class: ClassVar[type[Config]]
    memory_kind: ClassVar[str]
    """``fast_weights``, ``recurrent`` or ``none``."""
    online: ClassVar[bool]
    """Whether ``step`` changes the memory."""
    config: Any
    """Settings of type ``config_class``; ``tasks`` is one of every learner's."""
    apply_step: Any = staticmethod(optimize)
    """How what ``meta_gradient`` answers changes ``meta_variables``: an ``OuterStep``'s ``apply``."""
    parts = 1
    """Into how many an update's batch is cut for outer steps, each with a thread of its own; ``compile`` decides."""
    elsewhere: "MakeUpdate | None" = None
    """What makes the updates where this process does not make them alone; ``compile`` is told."""
    sampling: Sampling | None = None
    """Who chooses an update's tasks, where they are not drawn alike."""
    measured: ClassVar[tuple[str, ...]] = ()
    """What ``measure`` finds after an update's outer steps."""

    def __init__(self, policy: Policy, family: AnyFamily, config: Config | None = None, seed: int = 0):
        super().__init__(name=self.name_in_registry, dtype="float32")  # not what Keras is set to
        _require_fit(policy, family, self.network_spaces(family))
        self.policy: Any = policy
        self.network = policy.model  # tracked by Keras: its variables are the learner's
        self.family = family
        self.config = config or self.config_class()
        self.seed = seed
        self.on_host = isinstance(family, HostFamily)
        if self.on_host:
            self._compile_pieces()

    @classmethod
    def network_spaces(cls, family: AnyFamily) -> tuple[Any, Any]:
        """Spaces of what the network sees and answers: the family's own, where a learner does not say otherwise."""
        return family.observation_space, family.action_space

    @property
    def judge(self) -> "Learner":
        """Whose figures on validation tasks choose the checkpoint: its own, or those of a part that is judged in less
        time."""
        return self

    @property
    @abstractmethod
    def memory_size(self) -> int:
        """S, the number of floats a policy carries about its task."""

    @abstractmethod
    def initial_memory(self, weights: Tensors) -> tf.Tensor:
        """Memory ``[S]`` of a policy that has seen nothing of its task."""

    @property
    @abstractmethod
    def exported_variables(self) -> list[keras.Variable]:
        """What an export stores besides the policy's own memory: no weight twice."""

    @abstractmethod
    def exported_weights(self, memory: tf.Tensor, variables: Tensors) -> list[tf.Tensor]:
        """``weights`` as the methods below take them, from an export's own memory ``[S]`` and stored variables."""

    def act(self, weights: Tensors, memory: tf.Tensor, observations: tf.Tensor) -> Parameters:
        """Distribution parameters of ``observations [B, ...]`` under the policy's own memory ``[S]``.

        Feed-forward policies only; recurrent ones have no ``act``.
        """
        raise NotImplementedError(f"{self.name_in_registry} policies act through step, with their memory.")

    @abstractmethod
    def step(
        self, weights: Tensors, inputs: StepInputs, memory: tf.Tensor, key: tf.Tensor, deterministic: Any
    ) -> StepOutputs:
        """Acts in ``[M, E]`` episodes with memory ``[M, E', S]`` and keys ``[M, E]``.

        ``deterministic`` is a bool or a bool tensor ``[M, E]``: the distribution's mode instead of a sample.
        """

    @abstractmethod
    def adapt(self, weights: Tensors, memory: tf.Tensor, episodes: Episodes) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """One inner step on time-major episodes ``[T, M, E]``: the new memory; ``loss`` and ``kl``, each ``[M]``."""

    @abstractmethod
    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor, first: Any = 0) -> list[Episodes]:
        """The episodes of all rounds of one update, on ``tasks [M, ...]``.

        Where others play the rest of the update's tasks, ``first`` is the number of the first of these: every task's
        episodes are those that it has when all are played together.
        """

    def prepare(self, weights: Tensors, rounds: list[Episodes]) -> Any:
        """What ``meta_gradient`` takes of the episodes and of the ``weights`` that played them, once an update.

        The episodes themselves, where a learner does not say otherwise.
        """
        return rounds

    @property
    def whole_batch(self) -> bool:
        """Whether ``prepare`` needs the episodes of all tasks at once, because it compares tasks with one another."""
        return False

    def cut(self, batch: Any, parts: int) -> list[Any]:
        """``prepare``'s batch in so many equal parts, by tasks; where ``whole_batch``."""
        raise NotImplementedError(f"{self.name_in_registry} prepares the tasks of an update each by itself.")

    def weight_of(self, batch: Any) -> tf.Tensor:
        """How much a part of an update's tasks counts in the mean over all, to which gradients and metrics belong."""
        return tf.constant(1.0)

    @abstractmethod
    def meta_gradient(self, weights: Tensors, batch: Any) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Gradients of the meta-objective with respect to ``weights``, and scalar metrics, from ``prepare``'s batch."""

    @property
    def epochs(self) -> int:
        """Outer steps made on the same episodes: 1 where the config does not say."""
        return getattr(self.config, "epochs", 1) * getattr(self.config, "minibatches", 1)

    def minibatch(self, batch: Any, index: tf.Tensor) -> Any:
        """The part of a batch that the ``index``-th of its outer steps uses: all, where a learner does not say."""
        return batch

    def learn_statistics(self, batch: Any) -> None:
        """Weights that no gradient moves, brought up to date after the outer steps; none by default."""

    def measure(self, weights: Tensors, batch: Any) -> dict[str, tf.Tensor]:
        """The scalars that ``measured`` names, means over the tasks, of the weights after the outer steps."""
        return {}

    def settle(self, found: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes in what ``measure`` found over all tasks; further metrics."""
        return {}

    @property
    @abstractmethod
    def env_steps_per_update(self) -> int:
        """Nominal environment steps of all rollouts of one update: tasks × episodes × horizon × rounds."""

    @property
    def meta_variables(self) -> list[keras.Variable]:
        """The network's trainable variables, then whatever else the learner trains."""
        network = self.network.trainable_variables
        ours = {id(variable) for variable in network}
        return network + [variable for variable in self.trainable_variables if id(variable) not in ours]

    def current_weights(self) -> list[tf.Tensor]:
        """The tensors of ``meta_variables``: the ``weights`` that the pure pieces take."""
        return [tf.convert_to_tensor(variable.value) for variable in self.meta_variables]

    def sample_tasks(self, key: tf.Tensor) -> Any:
        """The training tasks ``[M, ...]`` of one update; each ``replicas`` times in a row, where the config says so."""
        replicas = getattr(self.config, "replicas", 1)
        if self.sampling:
            tasks = self.sampling.tasks
        else:
            tasks = self.family.sample(self.config.tasks // replicas, "train", key)
        return tf.nest.map_structure(lambda field: tf.repeat(field, replicas, 0), tasks) if replicas > 1 else tasks

    def train_step(self, update: tf.Tensor) -> dict[str, tf.Tensor]:
        """One meta-update; everything random in it derives from (seed, ``update``), so that resume is exact."""
        if self.elsewhere:
            return self.elsewhere(update)
        weights = self.current_weights()
        if self.parts > 1:

            def batch(weights: Tensors, update: tf.Tensor) -> Any:
                return self.prepare(weights, self._rounds(weights, update))

            return self._outer_steps(side_by_side.compiled(batch)(weights, update))
        return self._update(weights, self._rounds(weights, update))

    def drawn(self, update: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """The tasks ``[M, ...]`` of an update and the key of its episodes, from (seed, ``update``)."""
        update, pool = tf.cast(update, tf.int32), getattr(self.config, "pool", 0)
        key = random.fold(random.key(self.seed), update % pool if pool else update)
        return self.sample_tasks(random.fold(key, 0)), random.fold(key, 1)

    def _rounds(self, weights: Tensors, update: tf.Tensor) -> list[Episodes]:
        rounds = self.collect(weights, *self.drawn(update))
        if self.sampling:
            self.sampling.hear(rounds)
        return rounds

    def fit(self, *args: Any, **settings: Any) -> Any:
        """As Keras' ``fit``; a task sampler comes before the other callbacks.

        Raises:
            KerasSettingsError: under settings that would train other weights.
        """
        require_for_training(self.optimizer)
        if self.sampling:
            settings["callbacks"] = [BetweenUpdates(self), *(settings.get("callbacks") or [])]
        return super().fit(*args, **settings)

    def compile(
        self, *args: Any, threads: int | None = None, elsewhere: "MakeUpdate | None" = None, **settings: Any
    ) -> None:
        """As Keras' ``compile``; where ``train_step`` cannot be one program of XLA's, only its pieces are compiled.

        That is so over a family on the host, and with ``jit_compile=True`` where several ``threads`` (by default
        TensorFlow's) share the outer steps. ``elsewhere`` makes the updates in place of this learner.
        """
        self.elsewhere = elsewhere
        eager = self.on_host or elsewhere is not None
        changed: dict[str, Any] = {"jit_compile": False, "run_eagerly": True} if eager else {}
        cut = settings.get("jit_compile") is True and not settings.get("run_eagerly") and not eager
        self.parts = self.parts_for(threads or side_by_side.threads()) if cut else 1
        if self.parts > 1:
            changed = {"jit_compile": False}
        super().compile(*args, **{**settings, **changed})
        require_for_training(self.optimizer)

    def parts_for(self, threads: int) -> int:
        """``parts`` for so many threads: 1 where a learner does not say otherwise."""
        return 1

    def _compile_pieces(self) -> None:
        """Replaces the methods that an eager ``train_step`` calls by compiled ones; graphs still get the originals."""
        step = compiled(self.step) if self.online else with_memory_apart(self.step)
        self.__dict__.update(step=step, adapt=compiled(self.adapt), _update=compiled(self._update))

    def _update(self, weights: Tensors, rounds: list[Episodes]) -> dict[str, tf.Tensor]:
        return self._outer_steps(self.prepare(weights, rounds))

    def _outer_steps(self, batch: Any) -> dict[str, tf.Tensor]:
        """``epochs`` outer steps on one batch; the metrics of the last."""

        def outer_step(index: tf.Tensor) -> dict[str, tf.Tensor]:
            gradients, metrics = self.meta_gradient(self.current_weights(), self.minibatch(batch, index))
            self.apply_step(self.optimizer, gradients, self.meta_variables)
            return metrics

        metrics = outer_step(tf.constant(0))
        if self.epochs > 1:  # a loop of the graph: unrolled, XLA would compile the gradient once an epoch
            body = lambda index, _: (index + 1, outer_step(index))  # noqa: E731
            start = (tf.constant(1), metrics)
            _, metrics = tf.while_loop(lambda index, _: index < self.epochs, body, start, parallel_iterations=1)
        self.learn_statistics(batch)
        found = self.measure(self.current_weights(), batch) if self.measured else {}
        return {**metrics, **found, **self.settle(found)}


MakeUpdate = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""The update of this number, made: its metrics. It changes the learner's weights and its optimizer."""


def _require_fit(policy: Any, family: AnyFamily, spaces: tuple[Any, Any]) -> None:
    """Refuse a policy for other spaces than the learner needs on the family."""
    for role, others in zip(("observation_space", "action_space"), spaces, strict=True):
        mine = getattr(policy, role)
        if (type(mine), mine.shape, mine.dtype) != (type(others), others.shape, others.dtype):
            needed = f"the family {family.name} needs {one_line(others)}"
            raise ValueError(f"the policy's {role} is {one_line(mine)}; {needed}.")


def updates(start: int, stop: int) -> tf.data.Dataset:
    """The indices ``start … stop − 1`` of the updates to make, for ``Learner.fit``.

    Without tf.data's autotuning: there is nothing to tune, and ``fit`` would wait for its thread at the end.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.range(start, stop).with_options(options)


def agent_of(learner: Learner) -> Agent:
    """A learner with its current weights."""
    return Agent(
        lambda: learner.initial_memory(learner.current_weights()),
        lambda *args: learner.step(learner.current_weights(), *args),
        lambda memory, episodes: learner.adapt(learner.current_weights(), memory, episodes)[0],
        learner.online,
    )
