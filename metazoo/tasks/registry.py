"""The task families by name. A new family is one file and one line here."""

from metazoo.tasks.acrobot import Acrobot
from metazoo.tasks.cartpole import CartPole, CartPoleGoal
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.mountain_car import MountainCarContinuous
from metazoo.tasks.navigation import Navigation
from metazoo.tasks.pendulum import Pendulum

FAMILIES: dict[str, type[TaskFamily]] = {
    family.name: family for family in (CartPole, CartPoleGoal, Navigation, Pendulum, Acrobot, MountainCarContinuous)
}
