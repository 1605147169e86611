"""ProMP: proximal meta-policy search (Rothfuss et al. 2018, arXiv 1810.06784, algorithm 1).

θ ← θ + β ∇_θ Σᵢ J_clip(θᵢ') − η KL(π_θₒ ‖ π_θ),   θᵢ' = θ + α ∇_θ mean(π_θ / π_θₒ · A),

several outer steps on the episodes that θₒ and its inner steps played. The inner objective is the low-variance
curvature surrogate (there: equation 10), J_clip is PPO's clipped ratio between the adapted policies.

Differs from the paper: Adam's step size decays and its gradient may be clipped; advantages come from GAE, inside and
outside; the outer loss may count the rounds after every inner step; inner step sizes may be learned.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import keras
import tensorflow as tf

from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.bilevel import Batch, BilevelConfig, BilevelLearner, Round
from metazoo.algorithms.common.config import Config, setting
from metazoo.policies.weights import Tensors


@dataclass(frozen=True)
class ProMPConfig(BilevelConfig):
    """Settings of ``ProMP``; each field's metadata holds its range and meaning."""

    surrogate: ClassVar[str] = "likelihood_ratio"  # type: ignore[misc]
    first_order: ClassVar[int] = 0  # type: ignore[misc]
    outer: ClassVar[str] = "ppo"  # type: ignore[misc]
    step_sizes: str = setting("fixed", ("fixed", "scalar", "parameter"), "what the inner step sizes belong to")
    epochs: int = setting(5, (1, 100), "outer steps on the same episodes")
    clip: float = setting(0.3, (0.0, 10.0), "how far the likelihood ratio may move from 1 and still gain")
    kl_weight: float = setting(
        5e-4, (0.0, 1e3), "η, weight of the KL penalty on the unadapted policy, or its first value"
    )
    kl_target: float = setting(0.0, (0.0, 10.0), "KL an update should make, to which η adapts; 0: η stays")


@final
class ProMP(BilevelLearner):
    """Learns initial weights by proximal outer steps through the low-variance inner step."""

    name_in_registry: ClassVar[str] = "promp"
    about: ClassVar[str] = (
        "ProMP ([Rothfuss et al. 2018](https://arxiv.org/abs/1810.06784)): MAML trained by several proximal "
        "outer steps on the same episodes."
    )
    config_class: ClassVar[type[Config]] = ProMPConfig
    measured = ("inner_kl",)
    config: ProMPConfig

    def __init__(self, policy, family, config: ProMPConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)
        start = keras.initializers.Constant(self.config.kl_weight)
        self.kl_weight = self.add_weight(
            shape=(), initializer=start, name="kl_weight", dtype=self.rates.dtype, trainable=False
        )

    def penalty(self, played: Round) -> Any:
        """η KL(π_θₒ ‖ π_θ) on the samples of an inner step, averaged over the inner steps."""
        return self.kl_weight.value * self._divergence(played) / max(1, self.config.inner_steps)

    def measure(self, weights: Tensors, batch: Batch) -> dict[str, tf.Tensor]:
        """How far the update went."""
        return {"inner_kl": self.inner_kl(weights, batch)}

    def settle(self, found: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Where ``kl_target`` is set, doubles or halves η."""
        kl, target = found["inner_kl"], self.config.kl_target
        if target:
            factor = tf.where(kl > 1.5 * target, 2.0, tf.where(kl < target / 1.5, 0.5, 1.0))
            self.kl_weight.assign(self.kl_weight.value * tf.cast(factor, kl.dtype))
        return {"kl_weight": tf.identity(self.kl_weight.value)}

    def inner_kl(self, weights: Tensors, batch: Batch) -> tf.Tensor:
        """KL(π_θₒ ‖ π_θ) on the samples of the inner steps, mean over steps and tasks."""

        def of_task(pairs):
            steps = [self._divergence(played) for played in self.replay(weights, pairs)]
            return tf.add_n(steps) / max(1, self.config.inner_steps)

        return tf.reduce_mean(tf.map_fn(of_task, batch.pairs, fn_output_signature=weights[0].dtype))

    def _divergence(self, played: Round) -> tf.Tensor:
        if not played.parameters:  # the last round: no inner step follows
            return tf.zeros([], played.fast.dtype)
        return inner_loop.kl(self.policy, played.inner.old, played.parameters, played.inner.mask)
