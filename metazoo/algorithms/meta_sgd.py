"""Meta-SGD: initial weights and a step size for each of them, learned together (Li et al. 2017, arXiv 1707.09835).

(θ, α) ← (θ, α) − β ∇_(θ, α) Σᵢ L(θᵢ'; Dᵢ'),   θᵢ' = θ − α ∘ ∇_θ L(θ; Dᵢ),

where α has an entry of either sign for each weight, so that it sets the direction of the inner step as well.

Differs from the paper: there may be several inner steps, each with an α of its own or all with one; the outer step is
Adam on the policy gradient or on PPO's clipped ratio, with advantages from GAE on the linear time-feature baseline; the
inner loss is the likelihood ratio by default, whose curvature is unbiased.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import keras
import tensorflow as tf

from metazoo.algorithms.common import inner_loop
from metazoo.algorithms.common.bilevel import BilevelConfig, BilevelLearner
from metazoo.algorithms.common.config import Config, setting
from metazoo.policies.weights import Tensors


@dataclass(frozen=True)
class MetaSGDConfig(BilevelConfig):
    """Settings of ``MetaSGD``; each field's metadata holds its range and meaning."""

    inner_rate: float = setting(0.005, (0.0, 100.0), "smallest initial step size", (1e-3, 1e-2))
    inner_rate_high: float = setting(
        0.1, (0.0, 100.0), "largest initial step size; they are drawn uniformly", (1e-2, 1.0)
    )
    step_sizes: ClassVar[str] = "parameter"  # type: ignore[misc]
    step_size_gain: ClassVar[float] = 1.0  # type: ignore[misc]

    def __post_init__(self):
        super().__post_init__()
        if self.inner_rate > self.inner_rate_high:
            raise ValueError(
                f"inner_rate is {self.inner_rate}; it must not be above inner_rate_high ({self.inner_rate_high})."
            )


@final
class MetaSGD(BilevelLearner):
    """Learns initial weights and the vector of inner step sizes, ``rates`` ``[inner steps or 1, P]``."""

    name_in_registry: ClassVar[str] = "meta_sgd"
    about: ClassVar[str] = (
        "Meta-SGD ([Li et al. 2017](https://arxiv.org/abs/1707.09835)): MAML that also learned the size and "
        "sign of every single weight's step."
    )
    config_class: ClassVar[type[Config]] = MetaSGDConfig
    config: MetaSGDConfig

    def __init__(self, policy, family, config: MetaSGDConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)

    @property
    def initial_rates(self) -> Any:
        return keras.initializers.RandomUniform(self.config.inner_rate, self.config.inner_rate_high, self.seed)

    def step_sizes(self, weights: Tensors, made: tf.Tensor) -> tf.Tensor:
        return inner_loop.row_of(weights[-1], made)
