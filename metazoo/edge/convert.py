"""An exported policy as one LiteRT model: its signatures for one row, ``K`` episodes and ``T`` steps, builtins only."""

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from metazoo.artefact import signatures
from metazoo.edge.compact import compact
from metazoo.edge.errors import ConversionError
from metazoo.edge.retrace import Graph

SERVED: Final = (signatures.ACT, signatures.INITIAL_MEMORY, signatures.STEP, signatures.ADAPT)
ROWS: Final = 1
WEIGHTS: Final = ("float32", "float16", "int8")


class Sizes(NamedTuple):
    """What is fixed: ``episodes`` K of one ``adapt``, and ``steps`` T of each."""

    episodes: int
    steps: int

    def of(self, axis: str) -> int:
        return {"B": ROWS, "K": self.episodes, "T": self.steps}[axis]


def to_litert(
    model: Any, memory: np.ndarray, sizes: Sizes, names: Sequence[str] = SERVED, weights: str = "float32"
) -> bytes:
    """The flatbuffer of a loaded SavedModel with the policy's ``memory [S]``: the signatures ``names`` that it has.

    ``weights``: how constants are stored, one of ``WEIGHTS``; of ``int8`` those of 1,024 numbers or more, by rows.

    Raises:
        metazoo.edge.retrace.RetraceError: an operation cannot be traced with fixed shapes.
        ConversionError: an operation has no LiteRT builtin.
    """
    once = weights == "float32"
    functions = {name: fixed(model, memory, sizes, name, once) for name in names if name in model.signatures}
    module = tf.Module()
    module.functions = functions
    with tempfile.TemporaryDirectory() as work:
        tf.saved_model.save(module, work, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(work, signature_keys=list(functions))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.optimizations = [] if weights == "float32" else [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16] if weights == "float16" else []
        try:
            return compact(converter.convert())
        except Exception as error:  # the converter's own, of several kinds
            raise ConversionError(f"LiteRT's converter refuses the policy: {_first_line(error)}") from error


def fixed(model: Any, memory: np.ndarray, sizes: Sizes, name: str, memory_once: bool = False) -> Any:
    """The signature ``name`` as a concrete function with fixed shapes, and its variables as constants.

    ``memory_once``: the memory is taken apart when ``act`` runs, so that the file holds it once: fast weights are
    transposed in ``act``, and would be another constant than ``initial_memory``'s. That costs microseconds.
    """
    signature = model.signatures[name]
    definition = signature.function_def
    functions = {one.signature.name: one for one in signature.graph.as_graph_def().library.function}
    graph = Graph({**functions, definition.signature.name: definition})
    captured = [_value(signature, given, model, memory) for given, _ in signature.graph.captures]
    own = [place for place, (given, _) in enumerate(signature.graph.captures) if given is model.memory.handle]
    arguments = [one.name for one in definition.signature.input_arg][
        : len(definition.signature.input_arg) - len(captured)
    ]
    specs = specs_of(signature, name, sizes)
    outputs = sorted(signature.structured_outputs)

    def traced(*tensors: Any) -> dict[str, tf.Tensor]:
        given = dict(zip(specs, tensors, strict=True))
        constants = list(captured)
        if memory_once and name == signatures.ACT:
            constants = [_hidden(one, tensors[0]) if place in own else one for place, one in enumerate(captured)]
        made = graph.call(definition.signature.name, [*(given[one] for one in arguments), *constants])
        return {output: tf.identity(value) for output, value in zip(outputs, made, strict=True)}

    function = tf.function(traced, input_signature=list(specs.values()), autograph=False)
    return function.get_concrete_function()


def _hidden(memory: np.ndarray, observations: tf.Tensor) -> tf.Tensor:
    """Hides from the converter that the memory is known: nothing is added to it, which depends on an input."""
    return memory + tf.reduce_sum(tf.cast(observations, tf.float32)) * 0.0


def specs_of(signature: Any, name: str, sizes: Sizes) -> dict[str, tf.TensorSpec]:
    """The fixed shapes of a signature's arguments, in the contract's order."""
    known = signature.structured_input_signature[1]
    specs = {}
    for argument in signatures.INPUTS[name]:
        spec = known[argument.name]
        shape = [size if size is not None else sizes.of(argument.axes[place]) for place, size in enumerate(spec.shape)]
        specs[argument.name] = tf.TensorSpec(shape, spec.dtype, argument.name)
    return specs


def _value(signature: Any, captured: Any, model: Any, memory: np.ndarray) -> np.ndarray:
    """A captured tensor's value; the policy's own memory may be another than the SavedModel's."""
    if captured.dtype != tf.resource:
        return captured.numpy()
    if captured is model.memory.handle:
        return np.asarray(memory, np.float32)
    return next(variable.numpy() for variable in signature.variables if variable.handle is captured)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if "error" in line] or str(error).splitlines() or [""]
    return f"{lines[0][:300]}"


def builtin_operations(content: bytes) -> Mapping[str, int]:
    """How often each operation stands in a model, by LiteRT's names; what is no builtin is called ``CUSTOM``."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    counts: dict[str, int] = {}
    for graph in model.subgraphs:
        for one in graph.operators:
            name = names[model.operatorCodes[one.opcodeIndex].builtinCode]
            counts[name] = counts.get(name, 0) + 1
    return counts
