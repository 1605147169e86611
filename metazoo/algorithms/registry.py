"""The learners by name. A new learner is one file and one line here; other packages add theirs by the entry point
``metazoo.learners``, whose value is a ``Learner`` subclass."""

from metazoo.algorithms.anil import ANIL
from metazoo.algorithms.common.learner import Learner
from metazoo.algorithms.distillation import Distillation, RecurrentDistillation
from metazoo.algorithms.domain_randomised import DomainRandomised
from metazoo.algorithms.maml import MAML
from metazoo.algorithms.meta_sgd import MetaSGD
from metazoo.algorithms.mpc import MPC
from metazoo.algorithms.pretraining import Pretraining
from metazoo.algorithms.promp import ProMP
from metazoo.algorithms.prototypical import Prototypical
from metazoo.algorithms.rebal import ReBAL
from metazoo.algorithms.reptile import Reptile
from metazoo.algorithms.rl2 import RL2
from metazoo.plugins import subclass_of, with_entry_points

_ALL: tuple[type[Learner], ...] = (
    *(MAML, ANIL, MetaSGD, ProMP, Reptile),
    *(DomainRandomised, RL2, Prototypical, Pretraining, ReBAL, MPC),
    *(Distillation, RecurrentDistillation),
)


def load_learners() -> dict[str, type[Learner]]:
    """The built-in learners and those of entry points; an unusable entry point is left out with a warning."""
    return with_entry_points(
        "metazoo.learners", "learner", _ALL, lambda one: one.name_in_registry, subclass_of(Learner)
    )


LEARNERS: dict[str, type[Learner]] = load_learners()
