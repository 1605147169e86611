"""Families of other people's environments, as a user writes them: ``metazoo train --family families.py:carl``."""

import gymnasium as gym
import numpy as np

from metazoo.tasks.gym.family import GymFamily

HORIZON = 20


def _family(make, tasks, name: str) -> GymFamily:
    return GymFamily(make, tasks, horizon=HORIZON, name=name)


def highway() -> GymFamily:
    """Traffic of an unknown density."""
    import highway_env

    gym.register_envs(highway_env)

    def make(density=1.0):
        return gym.make(
            "highway-fast-v0", config={"vehicles_density": density, "vehicles_count": 5, "duration": HORIZON}
        )

    return _family(make, {"density": (0.5, 2.0)}, "highway")


def minigrid() -> GymFamily:
    """An empty room with the start anywhere; only the picture is shown, since the mission is a text."""
    import minigrid
    from minigrid.wrappers import ImgObsWrapper

    gym.register_envs(minigrid)

    def make(direction=0):
        env = gym.make("MiniGrid-Empty-6x6-v0", agent_start_pos=(1, 1), agent_start_dir=int(direction))
        return ImgObsWrapper(env)

    return _family(make, _one_of("direction", 4), "minigrid")


def anytrading() -> GymFamily:
    """A market with unknown fees."""
    import gym_anytrading  # noqa: F401  registers
    from gym_anytrading.datasets import STOCKS_GOOGL

    def make(fee=0.01):
        env = gym.make("stocks-v0", df=STOCKS_GOOGL, window_size=5, frame_bound=(5, 5 + HORIZON))
        env.unwrapped.trade_fee_bid_percent = env.unwrapped.trade_fee_ask_percent = fee
        return env

    return _family(make, {"fee": (0.0, 0.05)}, "anytrading")


def deep_sea() -> GymFamily:
    """What two goals are worth is the task; without weights its rewards are vectors, which are refused."""
    import mo_gymnasium

    def make(treasure=0.5):
        env = mo_gymnasium.make("deep-sea-treasure-v0", float_state=True)
        return mo_gymnasium.wrappers.LinearReward(env, weight=np.array([treasure, 1.0 - treasure]))

    return _family(make, {"treasure": (0.1, 0.9)}, "deep_sea")


def popgym() -> GymFamily:
    """A pole seen without its velocities."""
    from popgym.envs.position_only_cartpole import PositionOnlyCartPoleEasy

    def make(force=10.0):
        env = PositionOnlyCartPoleEasy()
        env.unwrapped.force_mag = force
        return env

    return _family(make, {"force": (-10.0, 10.0)}, "popgym")


def flappy_bird() -> GymFamily:
    """Gaps of an unknown height."""
    import flappy_bird_gymnasium  # noqa: F401  registers

    def make(gap=100.0):
        return gym.make("FlappyBird-v0", use_lidar=False, pipe_gap=int(gap))

    return _family(make, {"gap": (80.0, 140.0)}, "flappy_bird")


def lunar_lander() -> GymFamily:
    """Gravity and wind."""
    return _family("LunarLander-v3", {"gravity": (-11.0, -2.0), "wind_power": (0.0, 15.0)}, "lunar_lander")


def frozen_lake() -> GymFamily:
    """A map that is another one in each task."""
    from gymnasium.envs.toy_text.frozen_lake import generate_random_map

    def make(layout=0):
        return gym.make("FrozenLake-v1", desc=generate_random_map(4, seed=int(layout)), is_slippery=False)

    return _family(make, _one_of("layout", 1000), "frozen_lake")


def blackjack() -> GymFamily:
    """With the casino's rules or with those of the book."""
    return _family(lambda sab=0: gym.make("Blackjack-v1", sab=bool(sab)), _one_of("sab", 2), "blackjack")


def carl() -> GymFamily:
    """CARL's cart-pole with an unknown motor and length. It shows a task's context as numbers where its space says
    arrays of one, so the state alone is taken."""
    from carl.envs import CARLCartPole

    def make(force_mag=10.0, length=0.5):
        env = CARLCartPole(contexts={0: {"force_mag": force_mag, "length": length}})
        return gym.wrappers.TransformObservation(env, lambda seen: seen["obs"], env.observation_space["obs"])

    return _family(make, {"force_mag": (5.0, 20.0), "length": (0.3, 1.0)}, "carl")


def atari_ram() -> GymFamily:
    """Pong by its 128 bytes, of either difficulty."""
    import ale_py

    gym.register_envs(ale_py)

    def make(difficulty=0):
        env = gym.make("ALE/Pong-v5", obs_type="ram", difficulty=int(difficulty), frameskip=4)
        box = gym.spaces.Box(0.0, 1.0, (128,), np.float32)
        return gym.wrappers.TransformObservation(env, lambda seen: (seen / 255.0).astype(np.float32), box)

    return _family(make, _one_of("difficulty", 2), "atari_ram")


def point_maze() -> GymFamily:
    """A goal in one of the corners."""
    import gymnasium_robotics

    gym.register_envs(gymnasium_robotics)
    corners = ((1, 1), (1, 3), (3, 3), (3, 1))

    def make(corner=0):
        row, column = corners[int(corner)]
        maze = [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, "r", 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
        maze[row][column] = "g"
        return gym.make("PointMaze_UMaze-v3", maze_map=maze, reward_type="dense")

    return _family(make, _one_of("corner", 4), "point_maze")


def _one_of(name: str, choices: int):
    """A whole number below ``choices``, drawn."""

    def draw(generator, split):
        return {name: int(generator.integers(choices))}

    return draw
