"""The families that come with metazoo: a new one is its file, its page with a picture, and a line here.

Without TensorFlow, so that Gymnasium can be given their ids before anything is loaded. That is why the horizon stands
here too; a test compares it, and the name, with the family's own.
"""

import pkgutil
from typing import Any, Final, NamedTuple


class Line(NamedTuple):
    """Where a family is, and how long its episodes are."""

    module: str
    class_name: str
    horizon: int = 200

    @property
    def gym_id(self) -> str:
        """Of the environments that Gymnasium makes of a family in the graph."""
        return f"metazoo/{self.class_name}-v0"

    def load(self) -> Any:
        """The family's class; imports TensorFlow."""
        return pkgutil.resolve_name(f"metazoo.tasks.{self.module}:{self.class_name}")


IN_THE_GRAPH: Final[dict[str, Line]] = {
    "cartpole": Line("families.cartpole", "CartPole"),
    "cartpole_goal": Line("families.cartpole", "CartPoleGoal"),
    "navigation": Line("families.navigation", "Navigation", 100),
    "navigation_sparse": Line("families.navigation", "NavigationSparse", 100),
    "pendulum": Line("families.pendulum", "Pendulum"),
    "pendulum_hidden": Line("families.pendulum_hidden", "PendulumHidden"),
    "acrobot": Line("families.acrobot", "Acrobot"),
    "mountain_car_continuous": Line("families.mountain_car", "MountainCarContinuous"),
    "bandit": Line("families.bandit", "Bandit", 100),
    "gaussian_bandit": Line("families.bandit", "GaussianBandit", 100),
    "tabular_mdp": Line("families.tabular_mdp", "TabularMDP", 10),
    "gridworld": Line("families.gridworld", "Gridworld", 15),
    "darkroom": Line("families.darkroom", "DarkRoom", 100),
    "sinusoid": Line("families.sinusoid", "Sinusoid", 10),
    "glyphs": Line("images.glyphs", "Glyphs", 5),
    "omniglot": Line("images.omniglot", "Omniglot", 5),
    "pendulum_dynamics": Line("dynamics.families", "PendulumDynamics", 50),
    "cartpole_dynamics": Line("dynamics.families", "CartPoleDynamics", 50),
    "half_cheetah_dynamics": Line("dynamics.half_cheetah", "HalfCheetahDynamics", 50),
}

ON_THE_HOST: Final[dict[str, Line]] = {
    "half_cheetah_dir": Line("mujoco.families", "HalfCheetahDir"),
    "half_cheetah_vel": Line("mujoco.families", "HalfCheetahVel"),
    "half_cheetah_vel3": Line("mujoco.families", "HalfCheetahVel3"),
    "half_cheetah_mass": Line("mujoco.cheetah_bodies", "HalfCheetahMass"),
    "half_cheetah_body": Line("mujoco.cheetah_bodies", "HalfCheetahBody"),
    "ant_dir": Line("mujoco.families", "AntDir"),
    "ant_goal": Line("mujoco.families", "AntGoal"),
    "hopper_params": Line("mujoco.families", "HopperParams"),
    "walker2d_params": Line("mujoco.families", "Walker2dParams"),
    "metaworld_reach": Line("metaworld.families", "Reach", 500),
    "metaworld_push": Line("metaworld.families", "Push", 500),
    "metaworld_pick_place": Line("metaworld.families", "PickPlace", 500),
    "metaworld_door_open": Line("metaworld.families", "DoorOpen", 500),
    "metaworld_drawer_close": Line("metaworld.families", "DrawerClose", 500),
    "metaworld_button_press_topdown": Line("metaworld.families", "ButtonPressTopdown", 500),
    "metaworld_peg_insert_side": Line("metaworld.families", "PegInsertSide", 500),
    "metaworld_window_open": Line("metaworld.families", "WindowOpen", 500),
    "metaworld_sweep": Line("metaworld.families", "Sweep", 500),
    "metaworld_basketball": Line("metaworld.families", "Basketball", 500),
    "metaworld_drawer_open": Line("metaworld.families", "DrawerOpen", 500),
    "metaworld_door_close": Line("metaworld.families", "DoorClose", 500),
    "metaworld_shelf_place": Line("metaworld.families", "ShelfPlace", 500),
    "metaworld_sweep_into": Line("metaworld.families", "SweepInto", 500),
    "metaworld_lever_pull": Line("metaworld.families", "LeverPull", 500),
    "metaworld_button_press": Line("metaworld.families", "ButtonPress", 500),
    "metaworld_ml10": Line("metaworld.families", "ML10", 500),
    "metaworld_ml45": Line("metaworld.families", "ML45", 500),
}
