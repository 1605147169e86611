"""The learners by name. A new learner is one file and one line here."""

from metazoo.algorithms.baselines import DomainRandomised
from metazoo.algorithms.learner import Learner
from metazoo.algorithms.maml import MAML

_ALL: tuple[type[Learner], ...] = (MAML, DomainRandomised)

LEARNERS: dict[str, type[Learner]] = {learner.name_in_registry: learner for learner in _ALL}
