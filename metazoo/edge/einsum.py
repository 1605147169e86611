"""Einstein sums of one or two tensors as one matrix product, which LiteRT has; its own way knows few equations."""

import math
import string
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def einsum(equation: str, *operands: Any) -> tf.Tensor:
    """``tf.einsum`` of at most two tensors whose shapes are known. Axes of length 1 vanish.

    Raises:
        ValueError: an equation of more tensors, or with an axis named twice in one.
    """
    left, _, out = equation.replace(" ", "").partition("->")
    ranks = [len(tensor.shape) for tensor in operands]
    labels = [_without_dots(names, rank) for names, rank in zip(left.split(","), ranks, strict=True)]
    hidden = max(rank - len(names.replace(".", "")) for names, rank in zip(left.split(","), ranks, strict=True))
    out = _without_dots(out, hidden + len(out.replace(".", "")))
    if len(labels) > 2 or any(len(set(one)) < len(one) for one in labels):
        raise ValueError(f"the equation {equation!r} is not one of two tensors with every axis named once")
    sizes: dict[str, int] = {}
    for names, tensor in zip(labels, operands, strict=True):
        sizes |= {label: max(size, sizes.get(label, 1)) for label, size in zip(names, tensor.shape, strict=True)}
    others = [out + "".join(labels[:i] + labels[i + 1 :]) for i in range(len(labels))]
    short = [_without_ones(*one) for one in zip(operands, labels, others, strict=True)]
    kept = "".join(label for label in out if sizes[label] > 1)
    result = _ordered(*short[0], kept) if len(short) == 1 else _product(short, kept, sizes)
    return tf.reshape(result, [sizes[label] for label in out])


def _without_dots(names: str, rank: int) -> str:
    """Capital letters for the axes that dots stand for, the last of them always Z."""
    hidden = rank - len(names.replace(".", ""))
    return names.replace("...", string.ascii_uppercase[26 - hidden :] if hidden else "")


def _without_ones(tensor: Any, names: str, others: str) -> tuple[Any, str]:
    """Without axes of length 1, and summed over those that nothing else has."""
    sizes = [size for size in tensor.shape if size > 1]
    kept = "".join(label for label, size in zip(names, tensor.shape, strict=True) if size > 1)
    tensor = tf.reshape(tensor, sizes)
    alone = [place for place, label in enumerate(kept) if label not in others]
    if alone:
        tensor = tf.reduce_sum(tensor, alone)
    return tensor, "".join(label for label in kept if label in others)


def _product(operands: Sequence[tuple[Any, str]], out: str, sizes: dict[str, int]) -> Any:
    (one, first), (other, second) = operands
    both = [label for label in first if label in second]
    batch = [label for label in both if label in out]
    summed = [label for label in both if label not in out]
    left, right = ([label for label in names if label not in both] for names in (first, second))
    count = lambda names: math.prod(sizes[label] for label in names)  # noqa: E731
    one, turned = _matrix(one, first, batch, summed, left)
    other, straight = _matrix(other, second, batch, summed, right)
    lead = [count(batch)] if batch else []
    one = tf.reshape(one, [*lead, *((count(summed), count(left)) if turned else (count(left), count(summed)))])
    other = tf.reshape(other, [*lead, *((count(summed), count(right)) if straight else (count(right), count(summed)))])
    made = tf.matmul(one, other, transpose_a=turned, transpose_b=not straight)
    names = [*batch, *left, *right]
    return _ordered(tf.reshape(made, [sizes[label] for label in names]), "".join(names), out)


def _matrix(tensor: Any, names: str, batch: list[str], summed: list[str], free: list[str]) -> tuple[Any, bool]:
    """The tensor with its axes as ``batch``, ``summed`` and ``free``, and whether ``summed`` comes before ``free``."""
    if names == "".join([*batch, *free, *summed]):
        return tensor, False
    return _ordered(tensor, names, "".join([*batch, *summed, *free])), True


def _ordered(tensor: Any, names: str, wanted: str) -> Any:
    return tensor if names == wanted else tf.transpose(tensor, [names.index(label) for label in wanted])
