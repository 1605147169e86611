"""Calls from Python into compiled programs, as short as they can be: environments on the host wait for them.

TensorFlow's public call of a program takes about as long as a small policy's step. The two private names used here,
``ConcreteFunction._call_flat`` and ``Tensor._shape_tuple``, are tried once against the public way; where they are
missing or answer otherwise, the public way is taken.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import tensorflow as tf

from metazoo.policies.weights import Tensors
from metazoo.types import StepInputs, StepOutputs


@cache
def _private_call_works() -> bool:
    """Whether ``_call_flat`` answers as the public call does, on a small program with a captured tensor."""
    held = tf.constant([2.0, 3.0])
    program = tf.function(lambda x: [x * held, x + 1.0], autograph=False).get_concrete_function(
        tf.TensorSpec((2,), tf.float32)
    )
    given = tf.constant([5.0, 7.0])
    try:
        private = program._call_flat([given], program.captured_inputs)
        return [one.numpy().tolist() for one in private] == [one.numpy().tolist() for one in program(given)]
    except Exception:  # whatever a private name does in another version, the public way stands  # noqa: BLE001
        return False


@cache
def _private_shape_works() -> bool:
    return getattr(tf.zeros((2, 3)), "_shape_tuple", lambda: None)() == (2, 3)


def _shape(tensor: tf.Tensor) -> tuple[int, ...]:
    return tensor._shape_tuple() if _private_shape_works() else tuple(tensor.shape)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
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
        signature = (*others, *[(_shape(tensor), tensor.dtype) for tensor in tensors])
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
    call, pack = _direct_call(program), _packer(like[-1])
    return lambda tensors: pack(iter(call(tensors)))


def _direct_call(program: Any) -> Callable[[list[tf.Tensor]], Any]:
    """The program without its checks of each argument in Python, which take as long again as a policy's step."""
    if not _private_call_works():
        return lambda tensors: program(*tensors)
    captured = program.captured_inputs
    return lambda tensors: program._call_flat(tensors, captured)


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


def with_memory_apart(step: Callable[..., StepOutputs]) -> Callable[..., StepOutputs]:
    """A ``step`` that leaves the memory alone, compiled without it among the results: fast weights are megabytes."""
    program = compiled(lambda *args: step(*args)._replace(memory=()))

    def call(weights: Tensors, inputs: StepInputs, memory: tf.Tensor, *rest: Any) -> StepOutputs:
        return program(weights, inputs, memory, *rest)._replace(memory=memory)

    return call
