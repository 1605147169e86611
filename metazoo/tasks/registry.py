"""The task families by name. A new family is one file and one line here."""

from metazoo.tasks.acrobot import Acrobot
from metazoo.tasks.bandit import Bandit, GaussianBandit
from metazoo.tasks.cartpole import CartPole, CartPoleGoal
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.gridworld import Gridworld
from metazoo.tasks.mountain_car import MountainCarContinuous
from metazoo.tasks.navigation import Navigation
from metazoo.tasks.pendulum import Pendulum
from metazoo.tasks.tabular_mdp import TabularMDP

_ALL = (
    CartPole,
    CartPoleGoal,
    Navigation,
    Pendulum,
    Acrobot,
    MountainCarContinuous,
    Bandit,
    GaussianBandit,
    TabularMDP,
    Gridworld,
)
FAMILIES: dict[str, type[TaskFamily]] = {family.name: family for family in _ALL}
