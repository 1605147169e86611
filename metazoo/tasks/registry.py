"""The task families by name. A new family is one file and one line here; other packages add theirs by the entry point
``metazoo.families``, whose value is a ``TaskFamily`` or ``HostFamily`` subclass that can be made without arguments."""

from metazoo.plugins import subclass_of, with_entry_points
from metazoo.tasks.families.acrobot import Acrobot
from metazoo.tasks.families.bandit import Bandit, GaussianBandit
from metazoo.tasks.families.cartpole import CartPole, CartPoleGoal
from metazoo.tasks.families.gridworld import Gridworld
from metazoo.tasks.families.mountain_car import MountainCarContinuous
from metazoo.tasks.families.navigation import Navigation, NavigationSparse
from metazoo.tasks.families.pendulum import Pendulum
from metazoo.tasks.families.sinusoid import Sinusoid
from metazoo.tasks.families.tabular_mdp import TabularMDP
from metazoo.tasks.family import TaskFamily
from metazoo.tasks.host_family import AnyFamily, HostFamily
from metazoo.tasks.mujoco.families import MUJOCO

BUILT_IN: tuple[type[TaskFamily], ...] = (
    CartPole,
    CartPoleGoal,
    Navigation,
    NavigationSparse,
    Pendulum,
    Acrobot,
    MountainCarContinuous,
    Bandit,
    GaussianBandit,
    TabularMDP,
    Gridworld,
    Sinusoid,
)


ON_THE_HOST: tuple[type[HostFamily], ...] = MUJOCO


def load_families() -> dict[str, type[AnyFamily]]:
    """The built-in families and those of entry points; an unusable entry point is left out with a warning."""
    check = subclass_of(TaskFamily, HostFamily)
    return with_entry_points("metazoo.families", "family", (*BUILT_IN, *ON_THE_HOST), lambda one: one.name, check)


FAMILIES: dict[str, type[AnyFamily]] = load_families()
IN_GRAPH: dict[str, type[TaskFamily]] = {name: one for name, one in FAMILIES.items() if issubclass(one, TaskFamily)}
