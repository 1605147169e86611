"""Whether a LiteRT model answers as the SavedModel does that it was made from."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from metazoo.artefact import signatures
from metazoo.edge.errors import ConversionError

ANSWERS: Final = 1e-5
ADAPTED: Final = 1e-4
"""How far a number of an answer (of ``adapt``) may be from the SavedModel's, relative to it; from 1 down, absolutely:
a loss is a mean of terms of about 1 that may cancel out."""
NUDGES: Final = 5
WOBBLE: Final = 3.0
"""Where the SavedModel's own ``adapt`` moves further than that when its inputs' last bits change (the regression of a
handful of steps on as many features), it may be so many times that move: no arithmetic in float32 is nearer."""


class Found(NamedTuple):
    """``largest`` difference on any input; the largest part of what was allowed that one made up, ``of_allowed``."""

    largest: float
    of_allowed: float


def differences(
    answer: Any, expected: Any, specs: Mapping[str, Mapping[str, Any]], metadata: Mapping[str, Any], inputs: int, seed=0
) -> dict[str, Found]:
    """By signature, how far answers to ``inputs`` random inputs differ, relative to numbers above 1.

    ``answer`` and ``expected``: functions of a signature and its inputs. ``specs``: its inputs' shapes and dtypes.

    Raises:
        ConversionError: an integer differs: a chosen action is another one.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for name in specs:
        pairs = []
        for _ in range(inputs):
            given = random_inputs(name, specs[name], metadata, rng, expected)
            right = expected(name, given)
            difference = _difference(name, answer(name, given), right)
            pairs.append((difference, difference / _allowed(name, difference, given, right, expected, rng)))
        found[name] = Found(*(max(column) for column in zip(*pairs, strict=True)))
    return found


def require_equal(found: Mapping[str, Found]) -> None:
    """Raises ConversionError where a difference is larger than it may be."""
    for name, one in found.items():
        if not one.of_allowed <= 1.0:
            limit = ADAPTED if name == signatures.ADAPT else ANSWERS
            raise ConversionError(f"{name} differs from the SavedModel's by {one.largest:.1e}; {limit:.0e} is allowed.")


def _allowed(name: str, difference: float, given: Any, right: Any, expected: Any, rng: np.random.Generator) -> float:
    if name != signatures.ADAPT:
        return ANSWERS
    if difference <= ADAPTED:
        return ADAPTED
    moves = [_difference(name, expected(name, _nudged(given, rng)), right) for _ in range(NUDGES)]
    return max(ADAPTED, WOBBLE * max(moves))


def _nudged(given: Mapping[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Observations and rewards whose last bits are others."""
    nudge = lambda value: value * (1 + rng.choice([-1, 0, 1], value.shape) * 2.0**-23).astype(np.float32)  # noqa: E731
    changed = {name: nudge(given[name]) for name in ("observations", "rewards") if given[name].dtype == np.float32}
    return {**given, **changed}


def _difference(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    if ours.keys() != theirs.keys():
        raise ConversionError(f"{name} answers {sorted(ours)}; the SavedModel answers {sorted(theirs)}.")
    worst = 0.0
    for output, right in theirs.items():
        given = np.asarray(ours[output])
        if given.shape != right.shape:
            raise ConversionError(
                f"{name} answers {output} of shape {given.shape}; the SavedModel's has {right.shape}."
            )
        if right.dtype.kind != "f":
            if not np.array_equal(given, right):
                raise ConversionError(
                    f"{name} answers {output} {given.tolist()}; the SavedModel answers {right.tolist()}."
                )
        elif right.size:
            worst = max(worst, float(np.max(np.abs(given - right) / np.maximum(np.abs(right), 1.0))))
    return worst


def random_inputs(
    name: str, specs: Mapping[str, Any], metadata: Mapping[str, Any], rng: np.random.Generator, expected: Any
) -> dict[str, np.ndarray]:
    """Inputs as a policy may get them: valid actions, episodes of unequal lengths, a memory near its own."""
    given = {argument: _random(argument, spec, metadata, rng) for argument, spec in specs.items()}
    if "memory" in specs:
        given["memory"] = _memory(specs["memory"][0], metadata, rng, expected)
    if name == signatures.ADAPT:
        _, episodes, steps = given["mask"].shape
        lengths = rng.integers(1, steps + 1, (1, episodes))
        given["mask"] = (np.arange(steps) < lengths[..., None]).astype(np.float32)
        last = np.arange(steps) == lengths[..., None] - 1
        given["terminated"] = last & (rng.random((1, episodes, 1)) < 0.5)
        given["truncated"] = last & ~given["terminated"]
    return given


def _random(argument: str, spec: Any, metadata: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    shape, dtype = spec
    if argument.endswith("actions") and metadata["action_space"]["type"] != "Box":
        space = metadata["action_space"]
        return (rng.integers(space.get("n", space.get("nvec")), size=shape) + space.get("start", 0)).astype(np.int32)
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if dtype == np.uint8:
        return rng.integers(256, size=shape).astype(np.uint8)
    if dtype == np.int32:
        return rng.integers(-(2**31), 2**31, shape).astype(np.int32)
    return rng.standard_normal(shape).astype(np.float32)


def _memory(shape: Any, metadata: Mapping[str, Any], rng: np.random.Generator, expected: Any) -> np.ndarray:
    """Around the policy's own; fast weights have made a whole number of steps."""
    own = expected(signatures.INITIAL_MEMORY, {"rows": np.zeros(1, np.int32)})["memory"]
    scale = 0.1 if metadata["memory"]["kind"] == "fast_weights" else 0.5
    memory = (own + scale * rng.standard_normal(shape)).astype(np.float32)
    if metadata["memory"]["kind"] == "fast_weights":
        memory[:, -1] = rng.integers(0, 4)
    return memory
