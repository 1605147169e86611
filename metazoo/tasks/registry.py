"""The task families by name. A new family is one file and one line here."""

from metazoo.tasks.cartpole import CartPole, CartPoleGoal
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.navigation import Navigation

FAMILIES: dict[str, type[TaskFamily]] = {family.name: family for family in (CartPole, CartPoleGoal, Navigation)}
