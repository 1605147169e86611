"""What every learner is: a Keras model whose ``train_step`` collects episodes and applies a meta-gradient."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import keras
import tensorflow as tf

from metazoo import random
from metazoo.algorithms.common import side_by_side
from metazoo.policies.distributions import Parameters
from metazoo.policies.policy import Policy
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.types import Episodes, StepInputs, StepOutputs

Tensors = Sequence[tf.Tensor]


def setting(default: Any, allowed: Any, doc: str) -> Any:
    """A config field: ``allowed`` is ``(low, high)``, both included, or a tuple of strings to choose from."""
    return field(default=default, metadata={"allowed": allowed, "doc": doc})


@dataclass(frozen=True)
class Config:
    """Base of the learners' configs: refuses values that ``setting`` does not allow, naming the field and its range."""

    def __post_init__(self):
        for item in fields(self):
            allowed, value = item.metadata.get("allowed"), getattr(self, item.name)
            if allowed is None:
                continue
            if isinstance(allowed[0], str):
                if value not in allowed:
                    raise ValueError(f"{item.name} is {value!r}; choose one of {', '.join(allowed)}.")
                continue
            whole = isinstance(item.default, int)
            number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            if not number or not allowed[0] <= value <= allowed[1]:
                must = "be a whole number" if whole else "lie"
                raise ValueError(f"{item.name} is {value!r}; it must {must} in [{allowed[0]}, {allowed[1]}].")


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
    config_class: ClassVar[type[Config]]
    memory_kind: ClassVar[str]
    """``fast_weights``, ``recurrent`` or ``none``."""
    online: ClassVar[bool]
    """Whether ``step`` changes the memory."""
    config: Any
    """Settings of type ``config_class``; ``tasks`` is one of every learner's."""
    parts = 1
    """Into how many an update's batch is cut for outer steps, each with a thread of its own; ``compile`` decides."""

    def __init__(self, policy: Policy, family: AnyFamily, config: Config | None = None, seed: int = 0):
        super().__init__(name=self.name_in_registry)
        self.policy: Any = policy
        self.network = policy.model  # tracked by Keras: its variables are the learner's
        self.family = family
        self.config = config or self.config_class()
        self.seed = seed
        self.on_host = isinstance(family, HostFamily)
        if self.on_host:
            self._compile_pieces()

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
    def collect(self, weights: Tensors, tasks: Any, key: tf.Tensor) -> list[Episodes]:
        """The episodes of all rounds of one update, on ``tasks [M, ...]``."""

    def prepare(self, weights: Tensors, rounds: list[Episodes]) -> Any:
        """What ``meta_gradient`` takes of the episodes and of the ``weights`` that played them, once an update.

        The episodes themselves, where a learner does not say otherwise.
        """
        return rounds

    @abstractmethod
    def meta_gradient(self, weights: Tensors, batch: Any) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Gradients of the meta-objective with respect to ``weights``, and scalar metrics, from ``prepare``'s batch."""

    @property
    def epochs(self) -> int:
        """Outer steps made on the same episodes: 1 where the config does not say."""
        return getattr(self.config, "epochs", 1)

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
        """The training tasks ``[M, ...]`` of one update."""
        return self.family.sample(self.config.tasks, "train", key)

    def train_step(self, update: tf.Tensor) -> dict[str, tf.Tensor]:
        """One meta-update; everything random in it derives from (seed, ``update``), so that resume is exact."""
        weights = self.current_weights()
        if self.parts > 1:

            def batch(weights: Tensors, update: tf.Tensor) -> Any:
                return self.prepare(weights, self._rounds(weights, update))

            return self._outer_steps(side_by_side.compiled(batch)(weights, update))
        return self._update(weights, self._rounds(weights, update))

    def _rounds(self, weights: Tensors, update: tf.Tensor) -> list[Episodes]:
        key = random.fold(random.key(self.seed), tf.cast(update, tf.int32))
        tasks = self.sample_tasks(random.fold(key, 0))
        return self.collect(weights, tasks, random.fold(key, 1))

    def compile(self, *args: Any, threads: int | None = None, **settings: Any) -> None:
        """As Keras' ``compile``; where ``train_step`` cannot be one program of XLA's, only its pieces are compiled.

        That is so over a family on the host, and with ``jit_compile=True`` where several ``threads`` (by default
        TensorFlow's) share the outer steps.
        """
        changed: dict[str, Any] = {"jit_compile": False, "run_eagerly": True} if self.on_host else {}
        cut = settings.get("jit_compile") is True and not settings.get("run_eagerly") and not self.on_host
        self.parts = self.parts_for(threads or side_by_side.threads()) if cut else 1
        if self.parts > 1:
            changed = {"jit_compile": False}
        super().compile(*args, **{**settings, **changed})

    def parts_for(self, threads: int) -> int:
        """``parts`` for so many threads: 1 where a learner does not say otherwise."""
        return 1

    def _compile_pieces(self) -> None:
        """Replaces the methods that an eager ``train_step`` calls by compiled ones; graphs still get the originals."""
        step = _compiled(self.step) if self.online else _with_memory_apart(self.step)
        self.__dict__.update(step=step, adapt=_compiled(self.adapt), _update=_compiled(self._update))

    def _update(self, weights: Tensors, rounds: list[Episodes]) -> dict[str, tf.Tensor]:
        return self._outer_steps(self.prepare(weights, rounds))

    def _outer_steps(self, batch: Any) -> dict[str, tf.Tensor]:
        """``epochs`` outer steps on one batch; the metrics of the last."""

        def outer_step() -> dict[str, tf.Tensor]:
            gradients, metrics = self.meta_gradient(self.current_weights(), batch)
            self.optimizer.apply(gradients, self.meta_variables)
            return metrics

        metrics = outer_step()
        if self.epochs > 1:  # a loop of the graph: unrolled, XLA would compile the gradient once an epoch
            body = lambda epoch, _: (epoch + 1, outer_step())  # noqa: E731
            start = (tf.constant(1), metrics)
            _, metrics = tf.while_loop(lambda epoch, _: epoch < self.epochs, body, start, parallel_iterations=1)
        return metrics


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as XLA programs, one for each shape, when it is called eagerly; itself when a graph is being built.

    A plain function: a ``tf.function`` would be tracked by Keras and saved with the policy. It takes programs of flat
    arguments apart, because TensorFlow spends several times as long on their structure as on a policy's step.
    """
    programs: dict[Any, Callable[[list[Any]], Any]] = {}

    def call(*args: Any) -> Any:
        if not tf.executing_eagerly():
            return function(*args)
        flat = tf.nest.flatten(args)
        tensors = [value for value in flat if isinstance(value, tf.Tensor)]
        others = [None if isinstance(value, tf.Tensor) else value for value in flat]
        signature = (*others, *[(tensor._shape_tuple(), tensor.dtype) for tensor in tensors])
        if signature not in programs:
            programs[signature] = _program(function, args, flat)
        return programs[signature](tensors)

    return call


def _program(function: Callable[..., Any], args: Any, flat: list[Any]) -> Callable[[list[tf.Tensor]], Any]:
    """The function compiled for arguments like ``args``: takes their tensors; what is no tensor stays as it is."""
    like: list[Any] = []

    def run(*tensors: tf.Tensor) -> list[tf.Tensor]:
        given = iter(tensors)
        result = function(*tf.nest.pack_sequence_as(args, [next(given) if tf.is_tensor(x) else x for x in flat]))
        like.append(tf.nest.map_structure(lambda _: 0, result))
        return tf.nest.flatten(result)

    specs = [tf.TensorSpec(value.shape, value.dtype) for value in flat if tf.is_tensor(value)]
    program = tf.function(run, jit_compile=True, autograph=False).get_concrete_function(*specs)
    # calling the program itself checks each argument in Python, which takes as long again as a policy's step
    call = getattr(program, "_call_flat", lambda tensors, _: program(*tensors))
    captured, pack = program.captured_inputs, _packer(like[-1])
    return lambda tensors: pack(iter(call(tensors, captured)))


def _packer(like: Any) -> Callable[[Iterator[tf.Tensor]], Any]:
    """Packs tensors like ``tf.nest.pack_sequence_as``, which takes a quarter as long as a policy's step."""
    if isinstance(like, dict):
        items = [(name, _packer(like[name])) for name in sorted(like)]
        return lambda tensors: {name: pack(tensors) for name, pack in items}
    if isinstance(like, tuple | list):
        parts = [_packer(part) for part in like]
        make = (lambda made: type(like)(*made)) if hasattr(like, "_fields") else type(like)
        return lambda tensors: make([pack(tensors) for pack in parts])
    return next


def _with_memory_apart(step: Callable[..., StepOutputs]) -> Callable[..., StepOutputs]:
    """A ``step`` that leaves the memory alone, compiled without it among the results: fast weights are megabytes."""
    compiled = _compiled(lambda *args: step(*args)._replace(memory=()))

    def call(weights: Tensors, inputs: StepInputs, memory: tf.Tensor, *rest: Any) -> StepOutputs:
        return compiled(weights, inputs, memory, *rest)._replace(memory=memory)

    return call


def clip(gradients: list[tf.Tensor], norm: float) -> tuple[list[tf.Tensor], tf.Tensor]:
    """The gradients scaled down to a global norm of at most ``norm`` (0: as they are), and their norm before."""
    before = tf.linalg.global_norm(gradients)
    return (tf.clip_by_global_norm(gradients, norm, before)[0] if norm else gradients), before


def updates(start: int, stop: int) -> tf.data.Dataset:
    """The indices ``start … stop − 1`` of the updates to make, for ``Learner.fit``.

    Without tf.data's autotuning: there is nothing to tune, and ``fit`` would wait for its thread at the end.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.range(start, stop).with_options(options)
