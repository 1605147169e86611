"""Returns, baselines and advantages over padded, time-major episodes (``[T, ...]``; rows after the time axis).

The horizon is part of the task: values are those of the finite-horizon problem, so at its end nothing is left and
nothing is bootstrapped. An episode truncated *earlier* (a time limit that is not ours) is bootstrapped with the
baseline of its final observation; a terminated one never is.
"""

from typing import Any

import tensorflow as tf

from metazoo.types import Episodes

MOST = 512
"""Numbers of an observation that a linear baseline is fitted to: the fit takes the cube of them."""


def scan_back(carry: tf.Tensor, decay: tf.Tensor, terms: tf.Tensor) -> tf.Tensor:
    """``y_t = terms_t + decay_t · y_{t+1}`` for ``t = T−1 … 0`` with ``y_T = carry``; all ``[T, ...]``."""
    horizon = tf.shape(terms)[0]
    out = tf.TensorArray(terms.dtype, horizon, element_shape=terms.shape[1:])

    def body(t, y, out):
        y = terms[t] + decay[t] * y
        return t - 1, y, out.write(t, y)

    _, _, out = tf.while_loop(lambda t, *_: t >= 0, body, (horizon - 1, carry, out), parallel_iterations=1)
    result = out.stack()
    result.set_shape(terms.shape)
    return result


def discounted(rewards: tf.Tensor, mask: tf.Tensor, gamma: float) -> tf.Tensor:
    """Discounted sums of the masked rewards to the end of each episode, ``[T, ...]``."""
    rewards = rewards * mask
    return scan_back(tf.zeros_like(rewards[0]), gamma * tf.ones_like(rewards), rewards)


def episode_returns(episodes: Episodes) -> tf.Tensor:
    """Undiscounted return of each time-major episode, ``[M, E]``."""
    return tf.reduce_sum(episodes.rewards * episodes.mask, 0)


def time_features(observations: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
    """``[o, o², τ, τ², τ³, 1]`` with τ = steps/100 (Duan et al. 2016, rllab's ``LinearFeatureBaseline``).

    ``observations [..., D]``; ``steps`` broadcasts against ``observations[..., 0]``.
    """
    flat = tf.clip_by_value(observations, -10.0, 10.0)
    tau = tf.broadcast_to(tf.cast(steps, flat.dtype) / 100.0, tf.shape(flat)[:-1])[..., None]
    return tf.concat([flat, flat**2, tau, tau**2, tau**3, tf.ones_like(tau)], -1)


def linear_baseline(episodes: Episodes, targets: tf.Tensor, ridge: float = 1e-3) -> tuple[tf.Tensor, tf.Tensor]:
    """Least-squares values on time features, one fit per task.

    ``targets [T, M, E]`` are fitted over a task's valid steps by ridge regression (``ridge`` per sample). Returns the
    values ``[T, M, E]`` and those of the final observations, ``[M, E]``.
    """
    dtype = targets.dtype
    observations = tf.cast(_as_vectors(episodes.observations, 3), dtype)
    final = tf.cast(_as_vectors(episodes.final_observations, 2), dtype)
    mask = tf.cast(episodes.mask, dtype)
    horizon = tf.shape(mask)[0]
    features = time_features(observations, tf.range(horizon)[:, None, None])
    masked = features * mask[..., None]
    gram = tf.einsum("tmei,tmej->mij", masked, features)
    moment = tf.einsum("tmei,tme->mi", masked, targets)
    count = tf.reduce_sum(mask, [0, 2])[:, None, None]
    gram += (ridge * count + 1e-6) * tf.eye(features.shape[-1], dtype=dtype)
    weights = tf.linalg.cholesky_solve(tf.linalg.cholesky(gram), moment[..., None])[..., 0]
    lengths = tf.reduce_sum(mask, 0)
    values = tf.einsum("tmei,mi->tme", features, weights)
    return values, tf.einsum("mei,mi->me", time_features(final, lengths), weights)


def advantages(episodes: Episodes, gamma: float, lam: float, horizon: int | None = None) -> tf.Tensor:
    """Generalised advantage estimates with the linear time-feature baseline, ``[T, M, E]`` (Schulman et al. 2016).

    ``lam = 1`` gives discounted return minus baseline. ``horizon`` is the task's, by default the padded length.
    Padding gets 0; not normalised.
    """
    rewards = tf.stop_gradient(episodes.rewards)
    mask = tf.cast(episodes.mask, rewards.dtype)
    values, final = linear_baseline(episodes, discounted(rewards, mask, gamma))
    last = mask - tf.concat([mask[1:], tf.zeros_like(mask[:1])], 0)
    following = tf.concat([values[1:], tf.zeros_like(values[:1])], 0)
    early = tf.cast(episodes.truncated, mask.dtype) * last * _before(horizon or tf.shape(mask)[0], mask)
    following = following * (1.0 - last) + final[None] * early
    deltas = (rewards + gamma * following - values) * mask
    return scan_back(tf.zeros_like(deltas[0]), gamma * lam * (1.0 - last), deltas) * mask


def trial_advantages(
    rewards: tf.Tensor, values: tf.Tensor, mask: tf.Tensor, gamma: float, lam: float, bootstrap: tf.Tensor
) -> tf.Tensor:
    """Generalised advantage estimates over whole trials ``[L, B]`` with a critic's ``values`` (Schulman et al. 2016).

    A trial is one long sequence: the step after an episode's last one is the next episode's first, whether the episode
    was terminated or truncated, because what it taught is still worth something. Steps whose ``mask`` is 0 are skipped.
    ``bootstrap [B]`` is the value after the trial's last step, 0 where nothing can follow. Padding gets 0.
    """
    mask = tf.cast(mask, values.dtype)
    reached = scan_back(bootstrap, 1.0 - mask, mask * values)  # the first value at or after each step
    following = tf.concat([reached[1:], bootstrap[None]], 0)
    deltas = mask * (rewards + gamma * following - values)
    return mask * scan_back(tf.zeros_like(bootstrap), 1.0 - mask + gamma * lam * mask, deltas)


def ridge_in_time(
    features: tf.Tensor, time: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor, penalty: float = 1e-3
) -> tf.Tensor:
    """Least-squares values ``[L, B]`` of ``targets [L, B]``: linear in ``features [L, B, D]``, with weights that are
    linear in ``time [L, K]``. One fit for all valid entries.

    That is a regression on all D·K products, but costs hardly more than one on D features: time is the same for all B,
    so the Gram matrix of the products comes from those of each step. ``penalty`` per sample, on products scaled to unit
    mean square; a constant among them is not spared.
    """
    mask = tf.cast(mask, targets.dtype)[..., None]
    size = features.shape[-1] * time.shape[-1]
    count = tf.maximum(tf.reduce_sum(mask), 1.0)
    masked = mask * features
    grams = tf.einsum("tbi,tbj->tij", masked, features)
    gram = tf.reshape(tf.einsum("tij,tk,tl->ikjl", grams, time, time), [size, size]) / count
    moment = tf.reshape(tf.einsum("ti,tk->ik", tf.einsum("tbi,tb->ti", masked, targets), time), [size, 1]) / count
    scale = tf.sqrt(tf.linalg.diag_part(gram))[:, None] + 1e-6
    gram = gram / (scale * tf.transpose(scale)) + penalty * tf.eye(size, dtype=targets.dtype)
    weights = tf.linalg.cholesky_solve(tf.linalg.cholesky(gram), moment / scale) / scale
    weights = tf.reshape(weights, [features.shape[-1], -1])
    return tf.einsum("tbk,tk->tb", tf.einsum("tbi,ik->tbk", features, weights), time)


def normalise(values: tf.Tensor, mask: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """Zero mean and unit variance over the valid entries along ``axes``; padding gets 0."""
    mask = tf.cast(mask, values.dtype)
    count = tf.maximum(tf.reduce_sum(mask, axes, keepdims=True), 1.0)
    centred = (values - tf.reduce_sum(values * mask, axes, keepdims=True) / count) * mask
    deviation = tf.sqrt(tf.reduce_sum(centred**2, axes, keepdims=True) / count)
    return centred / (deviation + 1e-6)


def _before(horizon: Any, like: tf.Tensor) -> tf.Tensor:
    """1 on the steps before the horizon's last one, ``[T, 1, ...]`` to broadcast against ``like [T, ...]``."""
    steps = tf.cast(tf.range(tf.shape(like)[0]) < horizon - 1, like.dtype)
    return tf.reshape(steps, [-1] + [1] * (like.shape.rank - 1))


def _as_vectors(observations: tf.Tensor, lead: int) -> tf.Tensor:
    """Observations ``[..., D]`` with one axis of their own after ``lead`` others; bytes in [0, 1].

    Of images (uint8), and of what has more than ``MOST`` numbers, only the mean of each channel.
    """
    shape, image = observations.shape[lead:], observations.dtype == tf.uint8
    if image:
        observations = tf.cast(observations, tf.float32) / 255.0
    size = shape.num_elements()
    if len(shape) == 1 and size <= MOST:
        return observations
    channels = shape[2] if len(shape) == 3 else 1
    kept = channels if image and len(shape) > 1 or size > MOST else size
    parts = tf.reshape(observations, tf.concat([tf.shape(observations)[:lead], [size // kept, kept]], 0))
    return tf.reduce_mean(parts, -2)
