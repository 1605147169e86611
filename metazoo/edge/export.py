"""``metazoo export``: a policy as one file for devices, checked against the SavedModel before it is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from gymnasium.spaces import Box

from metazoo.artefact import signatures
from metazoo.artefact.spaces import clip_to_box, space_from_metadata
from metazoo.artefact.whole import write_whole
from metazoo.edge import check, file

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


def litert(source: Source, path: Path, episodes: int | None = None, steps: int | None = None) -> Path:
    """Writes the ``.tflite`` file of a policy for ``episodes`` K and ``steps`` T, by default as it was trained.

    Raises:
        ValueError: K or T below 1, or a policy without ``adapt``'s sizes.
        metazoo.edge.errors.ConversionError: it has no form of builtins alone, or would answer otherwise.
    """
    from metazoo.edge import convert

    sizes = convert.Sizes(*sizes_of(source.metadata, episodes, steps))
    model = convert.to_litert(source.model, source.memory, sizes)
    check.require_equal(compare(source, model, INPUTS))
    write_whole(path, file.packed(model, source.metadata, source.version, sizes))
    return path


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
