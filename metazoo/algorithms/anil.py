"""ANIL, almost no inner loop: MAML that adapts the head only (Raghu et al. 2020, arXiv 1909.09157, section 4).

θ ← θ − β ∇_θ Σᵢ L(θᵢ'; Dᵢ'),   θᵢ' = (body, head − α ∇_head L(θ; Dᵢ)),   θ = (body, head),

where the head is the network's last layer; the body still learns in the outer loop.

Differs from the paper: a Gaussian's standard deviation belongs to the head; step sizes may be learned; the outer step
is Adam on the policy gradient or on PPO's clipped ratio, with advantages from GAE on the linear time-feature baseline.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

from metazoo.algorithms.common.bilevel import BilevelConfig, BilevelLearner
from metazoo.algorithms.common.config import Config, setting
from metazoo.policies.networks import Scale


@dataclass(frozen=True)
class ANILConfig(BilevelConfig):
    """Settings of ``ANIL``; each field's metadata holds its range and meaning."""

    step_sizes: str = setting("fixed", ("fixed", "scalar", "parameter"), "what the inner step sizes belong to")


@final
class ANIL(BilevelLearner):
    """Learns features that serve all tasks, and a head to adapt to each by gradient steps."""

    name_in_registry: ClassVar[str] = "anil"
    about: ClassVar[str] = (
        "ANIL ([Raghu et al. 2020](https://arxiv.org/abs/1909.09157)): MAML whose steps move the last layer only."
    )
    config_class: ClassVar[type[Config]] = ANILConfig
    config: ANILConfig

    def __init__(self, policy, family, config: ANILConfig | None = None, seed: int = 0):
        super().__init__(policy, family, config, seed)

    @property
    def frozen(self) -> int:
        """The weights before the last layer; behind that there may be a Gaussian's ``Scale``."""
        head = 0
        for layer in reversed(self.network.layers):
            head += sum(math.prod(variable.shape) for variable in layer.trainable_variables)
            if head and not isinstance(layer, Scale):
                break
        return self.policy.size - head
