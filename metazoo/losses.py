"""Policy losses as pure functions of log-probabilities, advantages and masks. All return a scalar."""

import tensorflow as tf


def masked_mean(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean over the valid entries (0 where there are none)."""
    mask = tf.cast(mask, values.dtype)
    return tf.reduce_sum(values * mask) / tf.maximum(tf.reduce_sum(mask), 1.0)


def _ratio(log_probs: tf.Tensor, old_log_probs: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """π(a|s) / ⊥π_old(a|s), and 1 where nothing was played: there it may overflow, and 0 · ∞ would spoil the mean."""
    return tf.exp(tf.where(mask > 0, log_probs - tf.stop_gradient(old_log_probs), 0.0))


def policy_gradient(log_probs: tf.Tensor, advantages: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """−mean(log π(a|s) · A): REINFORCE (Williams 1992; Finn et al. 2017, equation 4)."""
    return -masked_mean(log_probs * tf.stop_gradient(advantages), mask)


def likelihood_ratio(
    log_probs: tf.Tensor, old_log_probs: tf.Tensor, advantages: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """−mean(π(a|s) / ⊥π_old(a|s) · A), ⊥ stopping the gradient: the low-variance curvature surrogate.

    Where π_old is π its gradient is ``policy_gradient``'s; its Hessian also holds E[∇log π ∇log πᵀ A], without which
    the meta-gradient ignores how the inner step depends on the sampling (Rothfuss et al. 2018, equation 10).
    """
    ratio = _ratio(log_probs, old_log_probs, mask)
    return -masked_mean(ratio * tf.stop_gradient(advantages), mask)


def clipped_ratio(
    log_probs: tf.Tensor, old_log_probs: tf.Tensor, advantages: tf.Tensor, mask: tf.Tensor, clip: float
) -> tf.Tensor:
    """−mean(min(r·A, clip(r, 1−ε, 1+ε)·A)) with r = π(a|s) / π_old(a|s) (Schulman et al. 2017, equation 7)."""
    advantages = tf.stop_gradient(advantages)
    ratio = _ratio(log_probs, old_log_probs, mask)
    clipped = tf.clip_by_value(ratio, 1.0 - clip, 1.0 + clip)
    return -masked_mean(tf.minimum(ratio * advantages, clipped * advantages), mask)


def squared_error(predictions: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """mean(‖ŷ − y‖²) of ``[..., n]``: the regression loss of Finn et al. 2017, equation 2, averaged over the shots."""
    errors = tf.reduce_sum(tf.square(predictions - tf.cast(targets, predictions.dtype)), -1)
    return masked_mean(errors, mask)


def cross_entropy(log_probs: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """−mean(log p(y|x)) of the right labels' log-probabilities: the classification loss of Finn et al. 2017, equation
    3, averaged over the shots; of numbers under a density, their negative log-likelihood."""
    return -masked_mean(log_probs, mask)
