"""From a trained learner to a SavedModel that stock TF Serving can act with and adapt (``docs/architecture.md``)."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from metazoo import axes, random
from metazoo.algorithms.common.learner import Learner
from metazoo.artefact import graphs, signatures, store
from metazoo.artefact.scratch import whole_directory
from metazoo.artefact.spaces import space_to_metadata
from metazoo.tasks.images import pictures
from metazoo.tasks.images.image_set import SIDE
from metazoo.tasks.views.gym_view import gym_spaces_of
from metazoo.types import Box, Episodes, StepInputs

Signature = Callable[..., dict[str, tf.Tensor]]
WARMUP_ROWS, WARMUP_STEPS = 1, 4


class ExportError(Exception):
    """The graph holds something that TF Serving refuses; one sentence."""


class Exported(tf.Module):
    """The object that is saved: the policy's own ``memory``, whatever else it needs, and one function a signature.

    Keras variables are tracked as ``v.value``: as Keras objects TF Serving would not restore them.
    """

    def __init__(self, learner: Learner):
        super().__init__()
        memory = learner.initial_memory(learner.current_weights())
        self.memory = tf.Variable(memory, name=signatures.MEMORY_VARIABLE)
        self.parameters = [variable.value for variable in learner.exported_variables]
        self._get_learner = lambda: learner  # as an attribute it would be tracked, and its variables saved again
        feed_forward = [] if learner.memory_kind == "recurrent" else [signatures.ACT]
        images = [signatures.ACT_IMAGES] if feed_forward and _sees_pictures(learner) else []
        names = [*feed_forward, *images, signatures.INITIAL_MEMORY, signatures.STEP, signatures.ADAPT]
        self.functions = {name: self._function(name) for name in names}

    @property
    def _learner(self) -> Learner:
        return self._get_learner()

    def _weights(self) -> list[tf.Tensor]:
        return self._learner.exported_weights(tf.convert_to_tensor(self.memory), [*map(tf.identity, self.parameters)])

    def _function(self, name: str) -> Any:
        method = getattr(self, f"_{name}")
        specs = [tensor_spec(self._learner, argument) for argument in _inputs(name)]
        return tf.function(method, input_signature=specs, autograph=False)

    def _act(self, observations):
        parameters = self._learner.act(self._weights(), tf.convert_to_tensor(self.memory), observations)
        distribution = self._learner.policy.distribution
        return {"actions": distribution.clip(distribution.mode(parameters)), **parameters}

    def _act_images(self, image_bytes):
        return self._act(tf.map_fn(pictures.from_bytes, image_bytes, fn_output_signature=tf.uint8))

    def _initial_memory(self, rows):
        return {"memory": tf.broadcast_to(self.memory, [tf.shape(rows)[0], self._learner.memory_size])}

    def _step(self, observations, previous_actions, previous_rewards, previous_done, memory, seed, deterministic):
        inputs = StepInputs(observations, previous_actions, previous_rewards, previous_done)
        inputs = StepInputs(*(field[:, None] for field in inputs))
        key = random.key(seed)[:, None]
        out = self._learner.step(self._weights(), inputs, memory[:, None], key, deterministic[:, None])
        parameters = {name: value[:, 0] for name, value in out.parameters.items()}
        return {
            "actions": out.actions[:, 0],
            **parameters,
            "log_probs": out.log_probs[:, 0],
            "memory": tf.identity(out.memory[:, 0]),
        }

    def _adapt(self, memory, *episodes):
        timed = axes.time_major(Episodes(*episodes))
        after, diagnostics = self._learner.adapt(self._weights(), memory[:, None], timed)
        finite = {name: tf.where(tf.math.is_finite(value), value, 0.0) for name, value in diagnostics.items()}
        return {"memory": tf.identity(after[:, 0]), **finite}


def _inputs(name: str) -> tuple[signatures.Argument, ...]:
    return signatures.IMAGE_INPUTS if name == signatures.ACT_IMAGES else signatures.INPUTS[name]


def _sees_pictures(learner: Learner) -> bool:
    """Whether observations are what ``pictures.from_bytes`` makes."""
    space = learner.family.observation_space
    return space.dtype == "uint8" and space.shape == (SIDE, SIDE)


def tensor_spec(learner: Learner, argument: signatures.Argument) -> tf.TensorSpec:
    """The TensorSpec of one signature argument for this learner's spaces and memory."""
    family = learner.family
    inner: tuple[int, ...] = ()
    dtype = argument.dtype
    if argument.name.endswith("observations"):
        inner, dtype = family.observation_space.shape, family.observation_space.dtype
    elif argument.name.endswith("actions"):
        inner = family.action_space.shape
        dtype = "float32" if isinstance(family.action_space, Box) else "int32"
    lead = [learner.memory_size if axis == "S" else None for axis in argument.axes]
    return tf.TensorSpec([*lead, *inner], dtype, argument.name)


def export(learner: Learner, directory: Path, metadata: Mapping[str, Any]) -> Path:
    """Writes the SavedModel of a trained learner to ``directory``, which must not exist.

    ``metadata`` is merged over what the learner itself tells (``describe``). The graph is checked, warm-up records and
    checksums are written, and the finished directory is renamed into place.

    Raises:
        FileExistsError: ``directory`` exists.
        ExportError: the graph holds an op that TF Serving refuses.
    """
    directory = Path(directory)
    if directory.exists():
        raise FileExistsError(f"{directory} exists already; versions are never overwritten, so choose another.")
    with whole_directory(directory) as work:
        _write(learner, work, metadata)
    return directory


def _write(learner: Learner, work: Path, metadata: Mapping[str, Any]) -> None:
    """The whole version, checked, in the directory ``work``."""
    module = Exported(learner)
    default = signatures.ACT if signatures.ACT in module.functions else signatures.STEP
    served = {**module.functions, signatures.SERVING_DEFAULT: module.functions[default]}
    tf.saved_model.save(module, str(work), signatures=served)
    check_graph(work)
    store.write_metadata(work, {**describe(learner), **metadata})
    _write_warmup(learner, list(module.functions), work / signatures.WARMUP_FILE)
    store.write_checksums(work)


def describe(learner: Learner) -> dict[str, Any]:
    """What ``metazoo.json`` says of any export of this learner."""
    family = learner.family
    observation_space, action_space = gym_spaces_of(family)
    return {
        "format": signatures.FORMAT,
        "name": learner.name_in_registry,
        "family": family.name,
        "algorithm": learner.name_in_registry,
        "config": dict(vars(learner.config)),
        "observation_space": space_to_metadata(observation_space),
        "action_space": space_to_metadata(action_space),
        "distribution": learner.policy.distribution.kind,
        "memory": {"kind": learner.memory_kind, "size": learner.memory_size, "online": learner.online},
        "parameters": _weights(learner),
        "horizon": family.horizon,
        "supervised": family.supervised,
        **({"example": family.example} if family.supervised else {}),
    }


def _weights(learner: Learner) -> int:
    """How many the network that acts has; fast weights are the memory, with a counter of steps."""
    if learner.memory_kind == "fast_weights":
        return learner.memory_size - 1
    return sum(math.prod(variable.shape) for variable in learner.exported_variables)


def check_graph(directory: Path) -> None:
    """Refuses graphs that Python runs and TF Serving does not: forced XLA, calls back into Python, foreign ops."""
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    model = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    outside, functions = graphs.reachable(model.meta_graphs[0])
    known = {function.signature.name for function in functions}
    nodes = [*outside, *(node for function in functions for node in function.node_def)]
    for node in [*nodes, *functions]:
        if "_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b:
            raise ExportError("the graph demands XLA (jit_compile=True), which TF Serving does not run.")
    for op in sorted({node.op for node in nodes} - known):
        if "PyFunc" in op or op_def_registry.get(op) is None:
            raise ExportError(f"the graph holds the op {op}, which TF Serving does not have.")


def _write_warmup(learner: Learner, names: list[str], path: Path) -> None:
    """One real request per signature, played by TF Serving before the version takes traffic."""
    sizes = {"B": WARMUP_ROWS, "K": 1, "T": WARMUP_STEPS}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name in names:
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = name
            for argument in _inputs(name):
                spec = tensor_spec(learner, argument)
                shape = [size if size is not None else sizes[argument.axes[i]] for i, size in enumerate(spec.shape)]
                value = np.full(shape, _warmup_value(learner, argument.name))
                request.inputs[argument.name].CopyFrom(tf.make_tensor_proto(value.astype(spec.dtype.as_numpy_dtype)))
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())


def _warmup_value(learner: Learner, argument: str) -> Any:
    """Something valid: an action that the space has, steps that count, a picture."""
    if argument == "image_bytes":
        return tf.io.encode_png(tf.zeros((SIDE, SIDE, 1), tf.uint8)).numpy()
    if argument.endswith("actions"):
        return getattr(learner.family.action_space, "start", 0)
    return float(argument == "mask")
