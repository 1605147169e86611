"""Convolutional networks whose kernels differ from task to task: convolutions as matrix products.

XLA's CPU code for the gradients of a convolution is a plain loop, and the second derivatives of an inner step consist
of little else. As a product of patches ``[N·h·w, 9 C]`` and a kernel ``[9 C, F]``, all derivatives are products, too.
"""

import math

import keras

from metazoo.policies.networks import inputs_of, with_head
from metazoo.types import Box, Space, require_usable

SIDE = 3
"""Rows and columns of a kernel."""


@keras.saving.register_keras_serializable("metazoo")
class Patches(keras.layers.Layer):
    """``[N, H, W, C] → [N, ⌈H/2⌉, ⌈W/2⌉, 9 C]``: what a 3 × 3 kernel of stride 2 sees, padded as by ``same``."""

    def call(self, x):
        ops, (height, width) = keras.ops, x.shape[1:3]
        rows, columns = -(-height // 2), -(-width // 2)
        pads = [2 * (out - 1) + SIDE - size for out, size in ((rows, height), (columns, width))]
        x = ops.pad(x, [[0, 0], *([pad // 2, pad - pad // 2] for pad in pads), [0, 0]])
        seen = [x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2] for i in range(SIDE) for j in range(SIDE)]
        return ops.concatenate(seen, -1)


@keras.saving.register_keras_serializable("metazoo")
class ImageNorm(keras.layers.Layer):
    """Layer normalisation (Ba et al. 2016, arXiv 1607.06450) of ``[N, H, W, C]`` over each image's H, W and C, then a
    scale and an offset for each channel.

    No statistics of a batch: an image's label depends on no other image that is asked about.
    """

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")
        self.offset = self.add_weight((input_shape[-1],), "zeros", name="offset")

    def call(self, x):
        ops = keras.ops
        centred = x - ops.mean(x, (1, 2, 3), keepdims=True)
        spread = ops.rsqrt(ops.mean(ops.square(centred), (1, 2, 3), keepdims=True) + 1e-5)
        return centred * (spread * self.scale) + self.offset


def conv(
    observation_space: Box,
    action_space: Space,
    blocks: int = 4,
    filters: int = 32,
    head: bool = True,
    output_gain: float = 1.0,
    seed: int = 0,
    dtype: str = "float32",
) -> keras.Model:
    """The network of few-shot classification (Vinyals et al. 2016; Finn et al. 2017, section 5.2): ``blocks`` of 3 × 3
    convolutions of stride 2 with ``filters``, each normalised and followed by ReLU, and a linear ``head``.

    ``[N, H, W]`` images of bytes → ``{"logits"}``, or without a head ``{"features"}``. Differs from the paper: layer
    normalisation instead of a batch's statistics, so that answers do not depend on what else is asked.

    Raises:
        ValueError: spaces that policies cannot have, or observations that are no images ``[height, width]``.
    """
    require_usable(observation_space, action_space)
    shape = observation_space.shape
    if len(shape) not in (2, 3):
        raise ValueError(f"observations have shape {list(shape)}; conv takes [height, width, channels], use mlp.")
    inputs, x = inputs_of(observation_space, dtype)
    if len(shape) == 2:
        x = keras.layers.Reshape((*shape, 1), dtype=dtype, name="channel")(x)
    for i in range(blocks):
        kernel = keras.initializers.HeNormal(seed=seed + i)
        x = Patches(dtype=dtype, name=f"patches_{i}")(x)
        x = keras.layers.Dense(filters, kernel_initializer=kernel, dtype=dtype, name=f"convolution_{i}")(x)
        x = keras.layers.ReLU(dtype=dtype, name=f"relu_{i}")(ImageNorm(dtype=dtype, name=f"norm_{i}")(x))
    x = keras.layers.Reshape((math.prod(x.shape[1:]),), dtype=dtype, name="vector")(x)
    if not head:
        return keras.Model(inputs, {"features": x}, name="features")
    kernel = keras.initializers.Orthogonal(output_gain, seed=seed + blocks)
    return with_head(inputs, x, action_space, kernel, dtype=dtype)
