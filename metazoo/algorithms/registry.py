"""The learners by name. A new learner is one file and one line here."""

from metazoo.algorithms.anil import ANIL
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.distillation import Distillation, RecurrentDistillation
from metazoo.algorithms.domain_randomised import DomainRandomised
from metazoo.algorithms.maml import MAML
from metazoo.algorithms.meta_sgd import MetaSGD
from metazoo.algorithms.promp import ProMP
from metazoo.algorithms.reptile import Reptile
from metazoo.algorithms.rl2 import RL2

_ALL: tuple[type[Learner], ...] = (
    *(MAML, ANIL, MetaSGD, ProMP, Reptile),
    *(DomainRandomised, RL2),
    *(Distillation, RecurrentDistillation),
)

LEARNERS: dict[str, type[Learner]] = {learner.name_in_registry: learner for learner in _ALL}
