"""MAML: model-agnostic meta-learning for policies (Finn et al. 2017, arXiv 1703.03400, algorithm 3).

θ ← θ − β ∇_θ Σᵢ L(θᵢ'; Dᵢ'),   θᵢ' = θ − α ∇_θ L(θ; Dᵢ),

with the gradient taken through the inner step (second order) or not (first order), over one or several inner steps.

To read it in the paper's order:

1. line 3, tasks Tᵢ: ``Learner.sample_tasks``; lines 5 and 8, the episodes Dᵢ that θ plays and Dᵢ' that θᵢ' plays:
   ``FastWeightsLearner.collect``;
2. lines 6 and 7, the inner step: ``common/inner_loop.py``, the same for training, evaluation and export;
3. line 10, the outer loss and its gradient: ``common/bilevel.py``, ``meta_loss``;
4. how the outer step is made: ``common/outer_step.py``, and for the paper's TRPO ``common/trust_region.py``.

Differs from the paper: the outer step is Adam on the policy gradient, or on PPO's clipped ratio, where ``outer`` does
not say TRPO; step sizes may be learned, per parameter and per inner step (Meta-SGD, Li et al. 2017; MAML++, Antoniou et
al. 2019); the outer loss may count the return after every inner step instead of after the last alone, and credit
episodes for what was learned from them (E-MAML: ``common/credit.py``); advantages come from GAE on the linear
time-feature baseline.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from metazoo.algorithms.common.bilevel import BilevelConfig, BilevelLearner
from metazoo.algorithms.common.config import Config, setting
from metazoo.algorithms.common.credit import Credit
from metazoo.algorithms.common.trust_region import TrustRegion, outer_step


@dataclass(frozen=True)
class MAMLConfig(BilevelConfig):
    """Settings of ``MAML``; each field's metadata holds its range and meaning."""

    outer: str = setting("policy_gradient", ("policy_gradient", "ppo", "trpo"), "outer loss, or the paper's trpo")
    max_kl: float = setting(0.01, (1e-9, 100.0), "trpo: how far an outer step may take the adapted policies")
    cg_iterations: int = setting(10, (1, 1000), "trpo: conjugate gradient iterations")
    cg_damping: float = setting(1e-5, (0.0, 1e3), "trpo: what is added to the diagonal of the KL's Hessian")
    advantages: str = setting(
        "task", ("task", "update"), "outer advantages are scaled per task and round, or alike for all"
    )
    replicas: int = setting(1, (1, 1000), "how often each of an update's tasks is repeated; divides tasks")
    exploration: float = setting(0.0, (0.0, 100.0), "credit for episodes that later rounds did well on (E-MAML)")

    def __post_init__(self):
        super().__post_init__()
        if self.tasks % self.replicas or (self.exploration and self.replicas == 1):
            raise ValueError(
                f"replicas is {self.replicas}; it must divide tasks ({self.tasks}), and be at least 2 with exploration."
            )


@final
class MAML(BilevelLearner):
    """Learns initial weights (and inner step sizes) from which a gradient step adapts."""

    name_in_registry: ClassVar[str] = "maml"
    about: ClassVar[str] = (
        "MAML ([Finn et al. 2017](https://arxiv.org/abs/1703.03400)): the weights were trained so that one or "
        "a few gradient steps on a task's own data improve them most."
    )
    config_class: ClassVar[type[Config]] = MAMLConfig
    config: MAMLConfig

    def __init__(self, policy, family, config: MAMLConfig | None = None, seed: int = 0):
        config = config or MAMLConfig()
        region = TrustRegion(config.max_kl, config.cg_damping, config.cg_iterations)
        step = outer_step(region) if config.outer == "trpo" else None
        credit = Credit(config.exploration, config.replicas) if config.exploration else None
        super().__init__(policy, family, config, seed, step, credit)
