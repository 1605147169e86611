"""One version of a model as the data plane knows it.

A policy that differs from a loaded one only in its memory shares that one's program (session): ``initial_memory`` and
``act`` are answered with the policy's own memory through signatures that take it as an input. A thousand adapted
policies need one graph, and publishing one makes it live in milliseconds. To clients there is no difference.
"""

import os
import time
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from metazoo.artefact import signatures, store
from metazoo.collect import space_from_metadata
from serving.engine import saved_model
from serving.engine.batch_parameters import Limits
from serving.engine.program import Program, ProgramCache
from serving.engine.signature import DEFAULT_SIGNATURE, Feeds, Immediate, Outputs, Runner, Signature
from serving.errors import Code, ServingError
from serving.metrics import LOAD_COUNT, LOAD_LATENCY, WARMUP_LATENCY, WARMUP_RECORDS, Metrics


class Servable:
    """A loaded version. Immutable; requests that hold it may finish after it was unloaded."""

    def __init__(
        self, name: str, version: int, path: Path, program: Program, own: Mapping[str, Signature], metadata: Any
    ):
        self.name, self.version, self.path, self.program, self.metadata = name, version, path, program, metadata
        self.signatures = {**program.signatures, **own}

    @property
    def signature_defs(self) -> Mapping[str, Any]:
        """As ``saved_model.pb`` has them, ``__saved_model_init_op`` included."""
        return self.program.signature_defs


class Loader:
    """Turns version directories into servables; equal graphs are loaded once."""

    def __init__(self, metrics: Metrics | None = None, limits: Limits | None = None) -> None:
        self._limits, self._metrics = limits or Limits(), metrics or Metrics()
        self._programs = ProgramCache(self._limits)
        self._tried: weakref.WeakKeyDictionary[Program, bool] = weakref.WeakKeyDictionary()

    def __call__(self, name: str, version: int, path: str | os.PathLike[str]) -> Servable:
        """Load one version.

        Raises:
            ServingError: whatever stops it from being served.
        """
        started = time.perf_counter()
        try:
            servable = self._load(name, version, Path(path))
        except ServingError:
            self._metrics.count(LOAD_COUNT, os.fspath(path), "fail")
            raise
        self._metrics.count(LOAD_COUNT, os.fspath(path), "success")
        self._metrics.count(LOAD_LATENCY, os.fspath(path), by=(time.perf_counter() - started) * 1e6)
        program = servable.program
        if program.warmup_records and program.path == servable.path:  # not a shared one, which was warm
            self._metrics.count(WARMUP_RECORDS, os.fspath(path), Code.OK.name, by=program.warmup_records)
            self._metrics.observe(WARMUP_LATENCY, program.warmup_seconds * 1e6, os.fspath(path), Code.OK.name)
        return servable

    def _load(self, name: str, version: int, path: Path) -> Servable:
        saved_model.verify(path)
        metadata = _metadata(path)
        variables = None if metadata is None else _variables(path)
        if metadata is None or variables is None:
            program = Program(path, self._limits, merges=metadata is not None or self._limits.strict)
            return Servable(name, version, path, program, {}, metadata)
        memory = variables.pop(signatures.MEMORY_CHECKPOINT_KEY)
        program = self._programs.get(path, variables, memory)
        if program.memory is not None and np.array_equal(program.memory, memory):
            return Servable(name, version, path, program, {}, metadata)
        own = own_signatures(program, memory, metadata)
        if own is None or not self._lets_memory_in(program, own.keys(), metadata):
            return Servable(name, version, path, Program(path, self._limits, merges=True), {}, metadata)
        return Servable(name, version, path, program, own, metadata)

    def _lets_memory_in(self, program: Program, own: Collection[str], metadata: Mapping[str, Any]) -> bool:
        """Whether a policy with a memory of its own may share the program: nothing reads the program's own memory but
        what is answered in another way, and that way gives the same answers."""
        readers = program.memory_readers
        if readers is None or not readers <= set(own):
            return False
        if program not in self._tried:
            self._tried[program] = _answers_alike(program, metadata)
        return self._tried[program]


def _answers_alike(program: Program, metadata: Mapping[str, Any]) -> bool:
    """Whether ``own_signatures`` with the program's own memory answer what the program itself does, on an example."""
    assert program.memory is not None
    own = own_signatures(program, program.memory, metadata) or {}
    try:
        for name, signature in own.items():
            feeds = {key: _example(info) for key, info in signature.definition.inputs.items()}
            expected, answer = (one.run(feeds) for one in (program.signatures[name], signature))
            if not all(_close(answer[key], value) for key, value in expected.items()):
                return False
    except ServingError:
        return False
    return bool(own)


def _example(info: Any) -> np.ndarray:
    """Some input of the shape and dtype that a signature declares, three rows of it."""
    shape = [3, *(max(dim.size, 1) for dim in info.tensor_shape.dim[1:])]
    dtype = np.dtype(tf.as_dtype(info.dtype).as_numpy_dtype)
    drawn = np.random.default_rng(0).standard_normal(shape)
    return drawn.astype(dtype) if dtype.kind == "f" else np.abs(100 * drawn).astype(dtype)


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return np.allclose(one, other, 1e-4, 1e-5) if one.dtype.kind == "f" else np.array_equal(one, other)


def own_signatures(program: Program, memory: np.ndarray, metadata: Mapping[str, Any]) -> dict[str, Signature] | None:
    """The signatures whose answer depends on the policy's own memory; None if ``program`` cannot give them.

    ``act`` is ``step`` without sampling: the same distribution, and the mode, which ``act`` clips to the space.
    """
    shared = program.signatures
    initial, step, act = (shared.get(name) for name in (signatures.INITIAL_MEMORY, signatures.STEP, signatures.ACT))
    if initial is None or step is None:
        return None
    own = {initial.name: initial.replaced(_initial_memory_runner(memory))}
    if act is None:
        return own
    if not set(act.outputs) <= set(step.outputs) or set(step.input_types) != _STEP_INPUTS:
        return None
    runner = _ActByStep(step, memory, metadata)
    own[act.name] = act.replaced(runner)
    default = shared.get(DEFAULT_SIGNATURE)
    if default is not None and program.default_is_act:
        own[default.name] = default.replaced(runner)
    return own


_STEP_INPUTS = {argument.name for argument in signatures.STEP_INPUTS}


def _initial_memory_runner(memory: np.ndarray) -> Runner:
    def call(feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs:
        return {name: np.tile(memory, (feeds["rows"].size, 1)) for name in outputs}

    return Immediate(call)


class _ActByStep(Runner):
    """``act`` with a memory of its own, through the shared ``step``: so that the calls of all policies of one parent
    meet in the queue of that ``step``, and run as one batch with a memory per row."""

    def __init__(self, step: Signature, memory: np.ndarray, metadata: Mapping[str, Any]):
        self._step, self._memory = step, memory
        previous = step.definition.inputs["previous_actions"]
        self._action_shape = tuple(dim.size for dim in previous.tensor_shape.dim[1:])
        self._action_dtype = tf.as_dtype(previous.dtype).as_numpy_dtype
        self._bounds = None
        if metadata["action_space"]["type"] == "Box":
            box: Any = space_from_metadata(metadata["action_space"])
            self._bounds = box.low, box.high

    def __call__(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs:
        return self._clip(self._step.run(self._inputs(feeds), outputs, timeout_ms))

    async def start(self, feeds: Feeds, outputs: Sequence[str], timeout_ms: int) -> Outputs:
        return self._clip(await self._step.start(self._inputs(feeds), outputs, timeout_ms))

    def _inputs(self, feeds: Feeds) -> dict[str, np.ndarray]:
        observations, memory = feeds["observations"], self._memory
        rows = observations.shape[0] if observations.ndim else 1
        return {
            "observations": observations,
            "previous_actions": np.zeros((rows, *self._action_shape), self._action_dtype),
            "previous_rewards": np.zeros(rows, np.float32),
            "previous_done": np.zeros(rows, bool),
            "memory": np.broadcast_to(memory, (rows, memory.size)) if rows != 1 else memory[None],
            "seed": np.zeros(rows, np.int32),
            "deterministic": np.ones(rows, bool),
        }

    def _clip(self, answer: Outputs) -> Outputs:
        if self._bounds is not None and "actions" in answer:
            answer["actions"] = np.clip(answer["actions"], *self._bounds)
        return answer


def _variables(path: Path) -> dict[str, Any] | None:
    """The checkpoint's tensors, the policy's memory among them; None for graphs without one."""
    try:
        variables = store.read_checkpoint(path)
    except store.CorruptedError as error:
        raise ServingError(Code.DATA_LOSS, str(error)) from error
    except store.StoreError:
        return None
    return variables if np.size(variables[signatures.MEMORY_CHECKPOINT_KEY]) else None


def _metadata(path: Path) -> dict[str, Any] | None:
    try:
        return store.read_metadata(path)
    except store.CorruptedError as error:
        raise ServingError(Code.DATA_LOSS, str(error)) from error
