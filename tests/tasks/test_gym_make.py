"""Environments from command-line arguments: constructor, attribute, derived attributes."""

import gymnasium as gym
import pytest
from gymnasium import spaces

from metazoo.collect import CollectionError
from metazoo.tasks.views import make as gym_make


def test_an_attribute_is_set_and_those_derived_from_it_follow():
    cart = gym_make.make(
        "CartPole-v1", {"length": "0.8", "masspole": "0.3", "masscart": "2", "force_mag": "-9"}
    ).unwrapped
    assert (cart.length, cart.masspole, cart.masscart, cart.force_mag) == (0.8, 0.3, 2, -9)
    assert cart.total_mass == pytest.approx(2.3)
    assert cart.polemass_length == pytest.approx(0.24)


def test_changed_physics_move_differently_as_the_equations_say():
    env = gym_make.make("CartPole-v1", {"length": "0.8"})
    env.reset(seed=3)
    x, v, angle, rate = env.unwrapped.state
    following = env.step(1)[0]
    from numpy import cos, sin

    temp = (10.0 + 0.1 * 0.8 * rate**2 * sin(angle)) / 1.1
    turn = (9.8 * sin(angle) - cos(angle) * temp) / (0.8 * (4.0 / 3.0 - 0.1 * cos(angle) ** 2 / 1.1))
    assert following[3] == pytest.approx(rate + 0.02 * turn, abs=1e-6)


def test_constructor_arguments_go_to_the_constructor():
    env = gym_make.make("CartPole-v1", {"sutton_barto_reward": "true", "max_episode_steps": "7"})
    assert env.spec.max_episode_steps == 7
    env.reset(seed=0)
    assert env.step(0)[1] == 0.0  # Sutton and Barto's reward is -1 at the fall and 0 before
    task = gym_make.make("metazoo/CartPole-v0", {"task": '{"force": -9.0}'})
    assert task.unwrapped.task["force"] == -9.0


def test_text_that_is_not_json_stays_text():
    assert gym_make.make("CartPole-v1", {"render_mode": "rgb_array"}).render_mode == "rgb_array"


@pytest.mark.parametrize("name", ["moons", "_np_random", "step", "reset"])
def test_what_is_no_argument_is_refused(name):
    with pytest.raises(CollectionError, match=f"neither an argument nor an attribute '{name}'.*force_mag"):
        gym_make.make("CartPole-v1", {name: "1"})


def test_a_constructor_that_refuses_its_argument_is_quoted():
    with pytest.raises(CollectionError, match="metazoo/CartPole-v0 cannot be made.*'moons'"):
        gym_make.make("metazoo/CartPole-v0", {"task": '{"moons": 1}'})


def test_a_task_of_the_policys_own_family():
    env = gym_make.make_task({"family": "cartpole_goal", "horizon": 3}, {"target": "1.25"})
    assert env.task["target"] == 1.25
    assert env.task["force"] == 10.0
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


def test_the_familys_own_arguments_are_kept():
    metadata = {"family": "cartpole_goal", "family_args": {"reveal_target": True}, "horizon": 200}
    env = gym_make.make_task(metadata, {"target": "0.5"})
    assert env.reset(seed=0)[0][-1] == 0.5


def test_a_module_prefix_imports_the_module_that_registers_the_environment(tmp_path, monkeypatch):
    (tmp_path / "users_envs.py").write_text(
        "import gymnasium as gym\n"
        "gym.register('users/Pole-v0', entry_point='gymnasium.envs.classic_control.cartpole:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    env = gym_make.make("users_envs:users/Pole-v0", {"length": "0.8"})
    assert env.unwrapped.length == 0.8


def test_a_class_or_a_function_of_a_module_need_not_be_registered():
    env = gym_make.make(f"{__name__}:Sized", {"size": "3", "max_episode_steps": "7"})
    assert env.observation_space.shape == (3,) and env._max_episode_steps == 7
    assert gym_make.make(f"{__name__}:windy", {"wind": "0.5"}).wind == 0.5
    for name in ("Sizes", "spaces"):
        with pytest.raises(CollectionError, match=f"the environment {__name__}:{name} cannot be made: .*{name}"):
            gym_make.make(f"{__name__}:{name}", {})


class Sized(gym.Env):
    def __init__(self, size=5, wind=0.0):
        self.size, self.wind = size, wind
        self.observation_space, self.action_space = spaces.Box(-1, 1, (size,)), spaces.Discrete(2)


def windy(wind: float = 0.0) -> gym.Env:
    return Sized(wind=wind)


class Parent(Sized):
    def __init__(self, *, wind=0.0, **more):
        super().__init__(wind=wind, **more)


class Child(Parent):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)


def test_a_constructor_that_hands_its_arguments_on_gets_them():
    for entry in (Child, lambda **more: gym.wrappers.TimeLimit(Child(**more), 7), f"{__name__}:Child"):
        gym.register("Child-v0", entry_point=entry)
        try:
            env = gym_make.make("Child-v0", {"size": "3", "wind": "0.5"})
            assert env.observation_space.shape == (3,) and (env.unwrapped.size, env.unwrapped.wind) == (3, 0.5)
            with pytest.raises(CollectionError, match="neither an argument nor an attribute 'moons'"):
                gym_make.make("Child-v0", {"moons": "3"})
        finally:
            del gym.registry["Child-v0"]
