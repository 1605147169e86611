"""Operations that LiteRT has no builtin for, made of those that it has; shapes are fixed throughout."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import tensorflow as tf

from metazoo.edge.einsum import einsum
from metazoo.edge.loops import put, take


def of_shapes(node: Any, inputs: list[Any]) -> Any:
    """The answer of an operation that looks at shapes alone, as a constant; None for any other."""
    if node.op == "Shape":
        return np.array(inputs[0].shape, tf.as_dtype(node.attr["out_type"].type or tf.int32).as_numpy_dtype)
    if node.op == "Size":
        return np.array(np.prod(inputs[0].shape), np.int32)
    if node.op == "Rank":
        return np.array(len(inputs[0].shape), np.int32)
    if node.op in ("ZerosLike", "OnesLike"):
        dtype = getattr(inputs[0].dtype, "as_numpy_dtype", inputs[0].dtype)
        return np.full(inputs[0].shape, node.op == "OnesLike", dtype)
    return None


def _strided_slice(node: Any, values: Any, begin: Any, end: Any, strides: Any) -> list[Any]:
    """LiteRT knows no new axes, and a position that is only known at run time as one index of the first axis."""
    if not isinstance(begin, np.ndarray) or not isinstance(end, np.ndarray):
        if begin.shape[0] != 1 or node.attr["shrink_axis_mask"].i != 1:
            raise ValueError("its range is not known before it runs")
        return [take(values, tf.reshape(begin, []))]
    index = _index_of_slice(node, begin, end, strides)
    shape = np.empty(values.shape, np.bool_)[tuple(index)].shape
    return [tf.reshape(values[tuple(parts_of_slice(node, len(values.shape), begin, end, strides))], shape)]


def parts_of_slice(node: Any, rank: int, begin: Any, end: Any, strides: Any) -> list[slice]:
    """What a strided slice takes of each axis of a tensor; axes that it adds or drops are none of this."""
    kept = [one for one in _index_of_slice(node, begin, end, strides) if one is not None]
    if Ellipsis in kept:
        place = kept.index(Ellipsis)
        kept[place : place + 1] = [slice(None)] * (rank - len(kept) + 1)
    return [slice(one, one + 1 or None) if isinstance(one, int) else one for one in kept]


def _index_of_slice(node: Any, begin: Any, end: Any, strides: Any) -> list[Any]:
    masks = {name: node.attr[f"{name}_mask"].i for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    return [_part(place, begin, end, strides, masks) for place in range(len(begin))]


def _part(place: int, begin: Any, end: Any, strides: Any, masks: dict[str, int]) -> Any:
    """One entry of the index that a strided slice stands for."""
    bit = 1 << place
    if masks["ellipsis"] & bit:
        return Ellipsis
    if masks["new_axis"] & bit:
        return None
    if masks["shrink_axis"] & bit:
        return int(begin[place])
    first = None if masks["begin"] & bit else int(begin[place])
    last = None if masks["end"] & bit else int(end[place])
    return slice(first, last, int(strides[place]))


def _cross_entropy(node: Any, logits: Any, labels: Any) -> list[Any]:
    """The loss, and its gradient with respect to the logits."""
    chosen = tf.one_hot(labels, logits.shape[-1], dtype=tf.float32)
    return [-tf.reduce_sum(chosen * tf.nn.log_softmax(logits), -1), tf.nn.softmax(logits) - chosen]


def _cholesky(node: Any, matrix: Any) -> list[Any]:
    """L with L·Lᵀ = ``matrix [..., n, n]``, one column a turn: what a column explains is taken away from the rest."""
    size = matrix.shape[-1]
    rest = tf.reshape(matrix, [size, size])
    places = np.arange(size, dtype=np.int32)

    def column(i, rest, columns):
        row = tf.gather(rest, i)
        made = tf.where(places < i, 0.0, row / tf.sqrt(tf.gather(row, i)))
        return i + 1, rest - made[:, None] * made[None], put(columns, i, made)

    start = (0, rest, tf.zeros([size, size]))
    _, _, columns = tf.while_loop(lambda i, *_: i < size, column, start, parallel_iterations=1)
    return [tf.reshape(tf.transpose(columns), matrix.shape)]


def _triangular_solve(node: Any, matrix: Any, right: Any) -> list[Any]:
    """x with ``matrix``·x = ``right [..., n, m]`` (or its transpose), one entry of x a turn."""
    shape = right.shape
    size, columns = shape[-2:]
    matrix = tf.reshape(matrix, [size, size])
    right = tf.reshape(right, [size, columns])
    backwards = node.attr["lower"].b == node.attr["adjoint"].b
    if node.attr["adjoint"].b:
        matrix = tf.transpose(matrix)

    def entry(turn, solved):
        i = size - 1 - turn if backwards else turn
        row = tf.gather(matrix, i)
        rest = tf.gather(right, i) - tf.reshape(tf.matmul(row[None], solved), [columns])
        return turn + 1, put(solved, i, rest / tf.gather(row, i))

    _, solved = tf.while_loop(lambda turn, _: turn < size, entry, (0, tf.zeros([size, columns])), parallel_iterations=1)
    return [tf.reshape(solved, shape)]


def _bitwise_and(node: Any, word: Any, mask: Any) -> list[Any]:
    """The lowest bits of unsigned words, which is what the generator of random numbers asks for."""
    low = int(mask) + 1 if isinstance(mask, np.ndarray) and mask.size == 1 else 0
    if low & (low - 1) or not low:
        raise ValueError("its mask is not one of the lowest bits")
    bits = low.bit_length() - 1
    high = tf.bitwise.right_shift(word, tf.constant(bits, word.dtype)) * tf.constant(low, word.dtype)
    return [tf.bitwise.bitwise_xor(word, high)]


REPLACEMENTS: Final[dict[str, Callable[..., list[Any]]]] = {
    "Einsum": lambda node, *operands: [einsum(node.attr["equation"].s.decode(), *operands)],
    "StridedSlice": _strided_slice,
    "SparseSoftmaxCrossEntropyWithLogits": _cross_entropy,
    "BitwiseAnd": _bitwise_and,
    "Cholesky": _cholesky,
    "MatrixTriangularSolve": _triangular_solve,
    "TanhGrad": lambda node, y, dy: [dy * (1.0 - y * y)],
    "SigmoidGrad": lambda node, y, dy: [dy * y * (1.0 - y)],
    "ReluGrad": lambda node, gradients, features: [gradients * tf.cast(features > 0.0, tf.float32)],
    "BiasAddGrad": lambda node, gradients: [tf.reduce_sum(gradients, list(range(len(gradients.shape) - 1)))],
    "Reciprocal": lambda node, x: [1.0 / x],
    "IsFinite": lambda node, x: [tf.equal(x - x, 0.0)],
}
