"""``metazoo export``: a policy as one file for devices, checked against the SavedModel before it is written."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from gymnasium.spaces import Box

from metazoo.artefact import device_file, signatures
from metazoo.artefact.spaces import clip_to_box, space_from_metadata
from metazoo.artefact.whole import write_whole
from metazoo.edge import check
from metazoo.edge.errors import ConversionError

INPUTS: Final = 5
"""So many random inputs of every signature are compared at every export."""


class Source(NamedTuple):
    """What is exported: a loaded SavedModel, and the policy's own memory ``[S]``, which may be another than in it."""

    model: Any
    memory: np.ndarray
    metadata: Mapping[str, Any]
    version: int

    def answer(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The SavedModel's answer, with this memory."""
        if signature == signatures.INITIAL_MEMORY:
            return {"memory": self.memory[None]}
        if signature == signatures.ACT and not np.array_equal(self.memory, self._own):
            return self._act(inputs["observations"])
        return self._run(signature, inputs)

    @property
    def _own(self) -> np.ndarray:
        """The memory that is in the SavedModel, and in its ``act``."""
        return self._run(signatures.INITIAL_MEMORY, {"rows": np.zeros(1, np.int32)})["memory"][0]

    def _act(self, observations: np.ndarray) -> dict[str, np.ndarray]:
        """``act`` with another memory, by ``step``: the mode, clipped."""
        specs = self.model.signatures[signatures.STEP].structured_input_signature[1]
        inputs = {name: np.zeros([1, *spec.shape[1:]], spec.dtype.as_numpy_dtype) for name, spec in specs.items()}
        given = {"observations": observations, "memory": self.memory[None], "deterministic": np.array([True])}
        answer = self._run(signatures.STEP, {**inputs, **given})
        space = space_from_metadata(self.metadata["action_space"])
        answer["actions"] = clip_to_box(space, answer["actions"]) if isinstance(space, Box) else answer["actions"]
        return {name: value for name, value in answer.items() if name not in ("memory", "log_probs")}

    def _run(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        import tensorflow as tf

        answer = self.model.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in answer.items()}


def litert(
    source: Source, path: Path, episodes: int | None = None, steps: int | None = None, inputs: int = INPUTS
) -> Path:
    """Writes the ``.tflite`` file of a policy for ``episodes`` K and ``steps`` T, by default as it was trained.

    ``inputs``: so many random inputs of every signature are compared.

    Raises:
        ValueError: K or T below 1, or a policy without ``adapt``'s sizes.
        metazoo.edge.errors.ConversionError: it has no form of builtins alone, or would answer otherwise.
    """
    from metazoo.edge import convert

    sizes = convert.Sizes(*sizes_of(source.metadata, episodes, steps))
    model = convert.to_litert(source.model, source.memory, sizes)
    check.require_equal(compare(source, model, inputs))
    write_whole(path, device_file.packed(model, source.metadata, source.version, sizes, inputs))
    return path


def act_alone(source: Source, path: Path, weights: str) -> Path:
    """Writes a ``.tflite`` file that has ``act`` and nothing else, with smaller ``weights`` (``convert.WEIGHTS``).

    Its answers are others than the SavedModel's; what that costs, ``metazoo.bench.edge_tasks.lost`` measures.

    Raises:
        ValueError: a recurrent policy, which has no ``act``.
        metazoo.edge.errors.ConversionError: LiteRT's converter refuses it.
    """
    from metazoo.edge import convert

    if signatures.ACT not in source.model.signatures:
        raise ValueError(f"{source.metadata['name']} has no act: its memory changes at every step.")
    sizes = convert.Sizes(*sizes_of(source.metadata, None, None))
    model = convert.to_litert(source.model, source.memory, sizes, [signatures.ACT], weights)
    write_whole(path, device_file.packed(model, source.metadata, source.version, sizes, 0, weights))
    return path


def onnx(source: Source, path: Path, inputs: int = INPUTS) -> list[Path]:
    """Writes ``act`` and ``step`` as ONNX models: of ``robot.onnx``, ``robot.act.onnx`` and ``robot.step.onnx``.

    Their metadata holds ``metazoo`` (JSON) and ``memory``, the policy's own, float32 in base64. Both are run by
    ONNX Runtime and compared with the SavedModel first.

    Raises:
        metazoo.edge.errors.ConversionError: an operation has no form in ONNX, a package is missing, or answers differ.
    """
    from metazoo.edge import convert, onnx_graph

    kept = {name: source.metadata[name] for name in device_file.KEPT if name in source.metadata}
    memory = base64.b64encode(np.asarray(source.memory, "<f4").tobytes()).decode()
    about = {"metazoo": json.dumps(kept), "memory": memory}
    models, base = {}, path.with_suffix("") if path.suffix == ".onnx" else path
    for name in (signatures.ACT, signatures.STEP):
        if name in source.model.signatures:
            function = convert.fixed(source.model, source.memory, convert.Sizes(1, 1), name)
            models[name] = onnx_graph.to_onnx(function, about)
    check.require_equal(compare_onnx(source, models, inputs))
    written = {name: base.with_name(f"{base.name}.{name}.onnx") for name in models}
    for name, model in models.items():
        write_whole(written[name], model)
    return list(written.values())


def compare_onnx(source: Source, models: Mapping[str, bytes], inputs: int, seed: int = 0) -> dict[str, check.Found]:
    """As ``compare``, of ONNX models by signature. Raises ConversionError."""
    try:
        import onnxruntime

        from metazoo.edge import onnx_graph
    except ImportError as error:
        raise ConversionError("checking an ONNX model needs onnxruntime: pip install onnxruntime.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {name: onnxruntime.InferenceSession(model, options) for name, model in models.items()}

    contract = {new: old for old, new in onnx_graph.RENAMED.items()}

    def answer(name: str, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [one.name for one in sessions[name].get_outputs()]
        usual = [contract.get(one, one) for one in names]
        return dict(zip(usual, sessions[name].run(names, dict(given)), strict=True))

    specs = {name: specs_of_session(session) for name, session in sessions.items()}
    return check.differences(answer, source.answer, specs, source.metadata, inputs, seed)


def specs_of_session(session: Any) -> dict[str, Any]:
    """Shapes and dtypes of the inputs."""
    dtypes = {
        "tensor(float)": np.float32,
        "tensor(int32)": np.int32,
        "tensor(bool)": np.bool_,
        "tensor(uint8)": np.uint8,
    }
    return {one.name: (tuple(one.shape), np.dtype(dtypes[one.type])) for one in session.get_inputs()}


def sizes_of(metadata: Mapping[str, Any], episodes: int | None, steps: int | None) -> tuple[int, int]:
    """K and T: as asked for, else as the policy was trained. Raises ValueError."""
    trained = metadata["adapt"]["episodes"], metadata["horizon"]
    for name, value, usual in zip(("episodes", "steps"), (episodes, steps), trained, strict=True):
        if (usual if value is None else value) is None:
            raise ValueError(f"this policy does not say how many steps an episode has; give {name}.")
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1.")
    return tuple(usual if value is None else value for value, usual in zip((episodes, steps), trained, strict=True))


def compare(source: Source, model: bytes, inputs: int, seed: int = 0) -> dict[str, check.Found]:
    """How far it is from the SavedModel on random inputs, by signature. Raises ConversionError."""
    runners = interpreted(model)
    specs = {name: {k: (tuple(one["shape"]), np.dtype(one["dtype"])) for k, one in runner.get_input_details().items()}
             for name, runner in runners.items()}  # fmt: skip
    answer = lambda name, given: runners[name](**given)  # noqa: E731
    return check.differences(answer, source.answer, specs, source.metadata, inputs, seed)


def interpreted(model: bytes) -> dict[str, Any]:
    """The model's signatures as functions: by the package ``ai-edge-litert`` where it is there, else by TensorFlow."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite.python.interpreter import Interpreter
    interpreter = Interpreter(model_content=model, num_threads=1)
    return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
