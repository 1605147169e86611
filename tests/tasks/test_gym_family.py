"""Families over Gymnasium environments: declarations, tasks, spaces, rows; everything that is refused."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from metazoo.artefact.spaces import CollectionError
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.gym.rows import Recipe
from metazoo.tasks.testing import check_family
from metazoo.tasks.views import make as gym_make
from metazoo.tasks.views.gym_view import FamilyEnv
from metazoo.types import Box, Discrete, MultiDiscrete
from tests.host_envs import Odd, Point, SetPoint

BOX = spaces.Box(-1.0, 1.0, (2,), np.float32)


def goals(generator, split):
    return {"goal": generator.uniform(1.0, 2.0) if split == "ood" else generator.uniform(-1.0, 1.0)}


def seeds(count, start=0):
    return np.arange(start, start + count, dtype=np.uint32)


def play(family, count=6, steps=5, first=0, tasks=None):
    """Observations, rewards and ends of ``steps`` steps with fixed actions."""
    tasks = family.sample(count) if tasks is None else tasks
    playing, record = np.ones(count, bool), [family.reset(tasks, seeds(count, first)).copy()]
    for t in range(steps):
        after = family.step(np.full((count, 1), 0.1 * t, np.float32), playing)
        record += [field.copy() for field in after]
        playing &= ~(after.terminated | after.truncated)
    return record


def test_declarations_come_from_the_environment():
    family = GymFamily("CartPole-v1", {"length": (0.3, 0.8)})
    assert (family.name, family.horizon, family.Task._fields) == ("CartPole-v1", 500, ("length",))
    assert family.action_space == Discrete(2) and family.observation_space.shape == (4,)
    assert family.observation_space.high[0] == pytest.approx(4.8)
    named = GymFamily(Point, goals, 30, name="point", rows=7)
    assert (named.name, named.horizon, named.rows) == ("point", 30, 7)


def test_tasks_are_a_pure_function_of_split_and_seed_and_splits_are_disjoint():
    family = GymFamily(Point, goals, 10)
    one, two, longer = family.sample(5, "train", 3), family.sample(5, "train", 3), family.sample(8, "train", 3)
    np.testing.assert_array_equal(one.goal, two.goal)
    np.testing.assert_array_equal(one.goal, longer.goal[:5])
    every = np.concatenate(
        [family.sample(50, split, seed).goal for split in ("train", "validation", "test") for seed in (0, 1)]
    )
    assert len(set(every.tolist())) == 300
    assert np.all(family.sample(20, "ood").goal >= 1.0)
    with pytest.raises(ValueError, match="split is 'tests'; did you mean test"):
        family.sample(1, "tests")


def test_ranges_are_uniform_and_have_nothing_out_of_range():
    family = GymFamily("Pendulum-v1", {"g": (5.0, 15.0)})
    drawn = family.sample(2000).g.numpy()
    assert 5.0 <= drawn.min() < 5.1 and 14.9 < drawn.max() <= 15.0 and abs(drawn.mean() - 10.0) < 0.2
    with pytest.raises(ValueError, match="uniform in one range"):
        family.sample(1, "ood")


def test_a_tasks_parameters_reach_constructor_attributes_or_set_task():
    pendulum = GymFamily("Pendulum-v1", lambda rng, split: {"g": rng.uniform(1, 20), "m": rng.uniform(1, 2)}, 50)
    tasks = pendulum.sample(3)
    pendulum.reset(tasks, seeds(3))
    envs = pendulum._players._rows._envs
    np.testing.assert_allclose([env.unwrapped.g for env in envs], tasks.g)  # a constructor argument
    np.testing.assert_allclose([env.unwrapped.m for env in envs], tasks.m)  # an attribute
    later = pendulum.sample(3, seed=1)
    pendulum.reset(later, seeds(3))
    np.testing.assert_allclose([env.unwrapped.g for env in envs], later.g)
    cart = GymFamily("CartPole-v1", {"length": (0.3, 0.8)})
    cart.reset(cart.sample(1), seeds(1))
    bare = cart._players._rows._envs[0].unwrapped
    assert bare.polemass_length == pytest.approx(bare.masspole * bare.length)  # derived again
    point = GymFamily(SetPoint, lambda rng, split: {"target": rng.uniform(), "wall": rng.uniform(1, 2)}, 9)
    point.reset(point.sample(2), seeds(2))
    np.testing.assert_allclose([env.goal for env in point._players._rows._envs], point.sample(2).target)


def test_episodes_repeat_with_their_seeds_and_do_not_depend_on_their_row_or_on_earlier_ones():
    family = GymFamily(Point, goals, 10, env_args={"noise": 0.1})
    first = play(family)
    play(family, tasks=family.sample(6, "test"), first=50)
    for one, again in zip(first, play(family), strict=True):
        np.testing.assert_array_equal(one, again)
    tasks = family.sample(6)
    turned = family.Task(tasks.goal[::-1])
    family.reset(turned, seeds(6)[::-1])
    after = family.step(np.zeros((6, 1), np.float32), np.ones(6, bool))
    np.testing.assert_array_equal(after.rewards[::-1], first[2])


def test_rows_that_do_not_play_stand_still():
    family = GymFamily(Point, goals, 10)
    start = family.reset(family.sample(3), seeds(3)).copy()
    after = family.step(np.full((3, 1), 0.4, np.float32), np.array([True, False, True]))
    np.testing.assert_allclose(after.observations[:, 0] - start[:, 0], [0.4, 0.0, 0.4], atol=1e-6)
    assert after.rewards[1] == 0.0 and not after.terminated[1]


def test_actions_are_clipped_for_the_environment():
    family = GymFamily(Point, goals, 10)
    start = family.reset(family.sample(2), seeds(2)).copy()
    after = family.step(np.array([[7.0], [-7.0]], np.float32), np.ones(2, bool))
    np.testing.assert_allclose(after.observations - start, [[0.5], [-0.5]], atol=1e-6)


OBSERVATIONS = [
    (BOX, (2,), "float32"),
    (spaces.Discrete(3, start=2), (3,), "float32"),
    (spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 1, (2, 2))}), (6,), "float32"),
    (spaces.Tuple([spaces.MultiBinary(2), BOX]), (4,), "float32"),
    (spaces.Box(0, 255, (8, 6, 3), np.uint8), (8, 6, 3), "uint8"),
]


@pytest.mark.parametrize(("space", "shape", "dtype"), OBSERVATIONS, ids=lambda value: type(value).__name__)
def test_observations_are_flattened_as_gymnasium_does(space, shape, dtype):
    family = GymFamily(lambda: Odd(space, spaces.Discrete(2)), {"offset": (0.0, 1.0)}, 9)
    assert family.observation_space.shape == shape and family.observation_space.dtype == dtype
    seen = family.reset(family.sample(2), seeds(2))
    space.seed(1)
    expected = space.sample()
    expected = expected if isinstance(space, spaces.Box) else spaces.flatten(space, expected)
    assert seen.dtype == dtype
    np.testing.assert_array_equal(seen[1], expected)


ACTIONS = [
    (spaces.Discrete(3, start=4), Discrete(3, 4), np.array([4, 6], np.int32)),
    (spaces.MultiDiscrete([2, 3], start=[1, 0]), MultiDiscrete((2, 3), (1, 0)), np.array([[2, 0], [1, 2]], np.int32)),
    (BOX, None, np.array([[0.5, -0.5], [1.0, 0.0]], np.float32)),
]


@pytest.mark.parametrize(("space", "ours", "actions"), ACTIONS, ids=lambda value: type(value).__name__)
def test_actions_arrive_as_they_are(space, ours, actions):
    family = GymFamily(lambda: Odd(BOX, space), {"offset": (0.0, 0.0)}, 9)
    assert family.action_space == ours if ours else isinstance(family.action_space, Box)
    family.reset(family.sample(2), seeds(2))
    after = family.step(actions, np.ones(2, bool))
    np.testing.assert_allclose(after.rewards, actions.reshape(2, -1).sum(1))


def test_the_environments_own_time_limit_truncates():
    family = GymFamily(lambda: Odd(BOX, spaces.Discrete(2), 3), {"offset": (0.0, 0.0)}, 9)
    family.reset(family.sample(1), seeds(1))
    ends = [family.step(np.zeros(1, np.int32), np.ones(1, bool)).truncated[0] for _ in range(3)]
    assert ends == [False, False, True]


REFUSED = [
    (lambda: GymFamily(Point, goals), "Point has no time limit of its own: give a horizon"),
    (lambda: GymFamily(Point, goals, 0.5), "horizon is 0.5; it must be a whole number"),
    (lambda: GymFamily(Point, goals, 9, workers=-1), "workers is -1; it must be a whole number of at least 0"),
    (lambda: GymFamily(Point, lambda rng, split: {}, 9), "a task has no parameters"),
    (lambda: GymFamily(Point, lambda rng, split: {"goal": np.inf}, 9), "a task's goal is inf; it must be finite"),
    (lambda: GymFamily(Point, {"moons": (0, 1)}, 9), "Point has neither an argument nor an attribute 'moons'"),
    (lambda: GymFamily("NoSuchEnv-v0", goals, 9), "the environment NoSuchEnv-v0 cannot be made"),
    (lambda: GymFamily(lambda: 3, goals, 9), "<lambda> made a int; it must make a gymnasium.Env"),
    (lambda: GymFamily(lambda: 1 / 0, goals, 9), "<lambda> cannot be made: ZeroDivisionError"),
    (lambda: GymFamily(lambda: Odd(spaces.Text(3), BOX), {"offset": (0, 0)}, 9), "space Text.* is not supported"),
    (
        lambda: GymFamily(lambda: Odd(BOX, spaces.Box(0, 1, (2, 2))), {"offset": (0, 0)}, 9),
        "the action space of Odd is Box.* it must be Discrete, or Box or MultiDiscrete of one axis",
    ),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=[sentence[:30] for _, sentence in REFUSED])
def test_what_cannot_be_a_family_is_refused_in_a_sentence(make, sentence):
    with pytest.raises((CollectionError, ValueError), match=sentence):
        make()


def test_more_episodes_than_rows_are_refused():
    family = GymFamily(Point, goals, 9, rows=2)
    with pytest.raises(ValueError, match="there are 3 episodes; Point plays 2 side by side"):
        family.reset(family.sample(3), seeds(3))


def test_attributes_that_are_arrays_keep_their_shape():
    env = gym.make("Pendulum-v1").unwrapped
    env.target = np.zeros(2)
    from metazoo.tasks.gym.attributes import set_attributes

    set_attributes(env, {"target": [1, 2]})
    np.testing.assert_array_equal(env.target, [1.0, 2.0])
    with pytest.raises(CollectionError, match=r"target of Pendulum-v1 is \[1\]; its shape must be \[2\]"):
        set_attributes(env, {"target": [1]})


def test_a_right_family_passes_the_check_kit():
    check_family(GymFamily(Point, goals, 10, env_args={"noise": 0.1}))


class Unseeded(Point):
    def reset(self, *, seed=None, options=None):
        return super().reset()


class NotReset(Point):
    """Its goal stays where the last task put it, unless it was never moved."""

    goal = property(
        lambda self: self._goal, lambda self, value: setattr(self, "_goal", max(value, self.__dict__.get("_goal", -9)))
    )


BROKEN = {
    Unseeded: "episodes do not repeat",
    NotReset: "episodes do not repeat|an episode depends on its row",
}


@pytest.mark.parametrize("env", BROKEN)
def test_the_check_kit_notices(env):
    with pytest.raises(AssertionError, match=BROKEN[env]):
        check_family(GymFamily(env, goals, 10))


def test_the_check_kit_notices_tasks_that_do_not_follow_from_their_seed():
    free = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="tasks differ between two calls with one seed"):
        check_family(GymFamily(Point, lambda rng, split: {"goal": free.uniform()}, 10))
    with pytest.raises(AssertionError, match="in both splits"):
        check_family(
            GymFamily(Point, lambda rng, split: {"goal": np.random.default_rng(int(rng.integers(40))).uniform()}, 9)
        )


# --- parameters as a constructor call would bring them -------------------------------------------------------------


class Picky(Point):
    """Keeps its arguments as they came."""

    def __init__(self, size=3, flag=False, way=(0.0,), table=None, rate=1.0):
        super().__init__()
        self.came = {"size": size, "flag": flag, "way": way, "table": table, "rate": rate}


def picky(generator, split):
    return {
        "size": int(generator.integers(2, 9)), "flag": bool(generator.integers(2)), "way": [1, 2], "rate": 2.0,
        "table": np.arange(3),
    }  # fmt: skip


def test_whole_numbers_truth_values_lists_and_arrays_arrive_as_such():
    made = []
    family = GymFamily(lambda **given: made.append(Picky(**given)) or made[-1], picky, 5)
    family.reset(family.sample(4, "test"), seeds(4))
    asked = family.environment({"size": 4.0, "flag": 1}).unwrapped.came
    assert type(asked["size"]) is int and asked["size"] == 4 and asked["flag"] is True
    assert len(made) == 6
    for one in made:
        kinds = {name: type(value) for name, value in one.came.items()}
        assert kinds == {"size": int, "flag": bool, "way": list, "table": np.ndarray, "rate": float}
        assert one.came["way"] == [1, 2] and one.came["table"].dtype == np.arange(3).dtype
    drawn = [env.came["size"] for env in made[1:5]]
    assert drawn == family.sample(4, "test").size.numpy().tolist() and len(set(drawn)) > 1


def test_an_environment_may_change_what_it_is_given():
    class Greedy(Point):
        def set_task(self, task):
            task["goal"] += 1.0
            self.goal = float(task["goal"][0])

    class Plain(Point):
        def __init__(self, goal=None):
            super().__init__()
            goal += 1.0
            self.goal = float(goal[0])

    for make in (Greedy, Plain):
        family = GymFamily(make, lambda generator, split: {"goal": np.array([generator.uniform()])}, 5)
        tasks = family.sample(2)
        before = tasks.goal.numpy().copy()
        family.reset(tasks, seeds(2))
        one = family.step(np.zeros((2, 1), np.float32), np.ones(2, bool)).rewards.copy()
        family.reset(tasks, seeds(2))
        two = family.step(np.zeros((2, 1), np.float32), np.ones(2, bool)).rewards
        np.testing.assert_array_equal(tasks.goal, before)
        np.testing.assert_array_equal(one, two)
        recipe, task = Recipe(make, {}), {"goal": np.ones(1)}
        assert recipe.build(task).goal == 2.0 and task["goal"] == 1.0
        recipe.set_task(recipe.build(task), task)
        assert task["goal"] == 1.0


@pytest.mark.parametrize(
    ("draw", "why"),
    [
        (lambda g, s: {"wall": "wide"}, "wall is 'wide'; it must be a number"),
        (lambda g, s: {"wall": None}, "wall is nan; it must be finite"),
        (lambda g, s: {"wall": 2**24 + 1}, "wall is 16777217; float32.* cannot tell it"),
        (lambda g, s: {"wall": [1.0] * (1 + (s == "test"))}, r"shape \[2\]; that of the first task has \[1\]"),
        (lambda g, s: {"wall": 1.0} if s == "train" else {"goal": 1.0}, "a task has goal; the first one has wall"),
        (lambda g, s: [1.0], r"sample_task gave \[1.0\]; it must give at least one, by name"),
        ({"wall": 1.0}, r"range of wall is 1.0; it must be \(low, high\)"),
        ({"wall": (1.0, 2.0, 3.0)}, r"it must be \(low, high\)"),
        ({"wall": ("a", "b")}, r"it must be \(low, high\)"),
        ({"wall": (2.0, 1.0)}, "low not above high"),
        ({"wall": (0.0, np.inf)}, "must be finite"),
    ],
)  # fmt: skip
def test_tasks_that_are_no_numbers_are_refused(draw, why):
    def use():
        family = GymFamily(Point, draw, 5)
        family.sample(2, "test")

    with pytest.raises(ValueError, match=why):
        use()


def test_a_task_that_is_asked_for_must_be_finite():
    with pytest.raises(ValueError, match="goal is nan; it must be finite"):
        GymFamily(Point, goals, 5).environment({"goal": float("nan")})


class HandsOn(Point):
    """Its arguments go on to its parent, as Gymnasium's MuJoCo environments do it."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.scale = 2.0 * self.wall  # made of an argument


class Swallows(Point):
    """Takes everything, and makes nothing of it."""

    def __init__(self, **_):
        super().__init__()


class Fixes(Point):
    """Has decided one of its parent's arguments itself."""

    def __init__(self, **arguments):
        super().__init__(wall=5.0, **arguments)


@pytest.mark.parametrize(
    ("make", "wall", "scale"),
    [
        (HandsOn, 3.0, 6.0),
        (lambda **arguments: HandsOn(**arguments), 3.0, 6.0),
        (lambda **arguments: gym.wrappers.TimeLimit(HandsOn(**arguments), 9), 3.0, 6.0),
        (functools.partial(HandsOn, noise=0.0), 3.0, 6.0),
        (Swallows, 3.0, None),
        (lambda **_: Swallows(), 3.0, None),
        (Fixes, 3.0, None),
    ],
)
def test_arguments_that_a_constructor_hands_on_are_arguments(make, wall, scale):
    family = GymFamily(make, lambda generator, split: {"wall": 3.0, "goal": 1.0}, 5)
    for env in (family.environment({}).unwrapped, family.environment({"wall": 2.0}).unwrapped):
        expected = wall if env.wall != 2.0 else 2.0
        assert (env.wall, env.goal) == (expected, 1.0) and env.wall in (2.0, 3.0)
        assert scale is None or env.scale == 2 * env.wall
    with pytest.raises(CollectionError, match="neither an argument nor an attribute 'moons'"):
        GymFamily(Point, {"moons": (0.0, 1.0)}, 5)


def test_what_the_environments_have_in_common_may_be_attributes_for_a_callable_too():
    family = GymFamily(Point, {"wall": (1.0, 2.0)}, 5, env_args={"goal": 4.0, "noise": 0.5})
    env = family.environment({}).unwrapped
    assert (env.goal, env.noise) == (4.0, 0.5)


@pytest.mark.parametrize("error", [RuntimeError, KeyError, AssertionError, OSError, ZeroDivisionError])
def test_a_constructor_that_raises_is_one_sentence_wherever_it_is_given(error):
    class Raises(Point):
        def __init__(self, wall=1.0):
            raise error("no\nhands")

    gym.register("Raises-v0", entry_point=Raises)
    try:
        for make in (Raises, "Raises-v0"):
            with pytest.raises(CollectionError, match=f"Raises.* cannot be made: {error.__name__}.*no") as refused:
                GymFamily(make, {"wall": (1.0, 2.0)}, 5)
            assert "\n" not in str(refused.value)
        with pytest.raises(CollectionError, match="Raises-v0 cannot be made"):
            gym_make.make("Raises-v0", {})
    finally:
        del gym.registry["Raises-v0"]


def test_a_task_that_an_environment_refuses_is_one_sentence():
    class Refuses(Point):
        def set_task(self, task):
            raise RuntimeError("not that")

    class ReadOnly(Point):
        size = property(lambda self: 1.0)

    with pytest.raises(CollectionError, match="Refuses refused the task goal=.*RuntimeError: not that"):
        GymFamily(Refuses, {"goal": (1.0, 2.0)}, 5)
    with pytest.raises(CollectionError, match="size of ReadOnly cannot be set to .*AttributeError"):
        GymFamily(ReadOnly, {"size": (1.0, 2.0)}, 5)


def test_what_makes_no_environments_is_refused():
    for made in (Point(), None, 3):
        with pytest.raises(CollectionError, match="make_env is a .*: an id or a callable"):
            GymFamily(made, {"goal": (1.0, 2.0)}, 5)


def test_the_check_kit_leaves_out_what_a_family_does_not_have():
    check_family(GymFamily(Point, {"goal": (-1.0, 1.0)}, 5))

    def only_three(generator, split):
        if split == "ood":
            raise ValueError("nothing is out of range here")
        return goals(generator, split)

    check_family(GymFamily(Point, only_three, 5))
    for nothing in ("CartPole-v1", Point(), GymFamily, None):
        with pytest.raises(TypeError, match="check_family was given .*; it checks a TaskFamily or a HostFamily"):
            check_family(nothing)


def test_views_are_of_families_in_the_graph():
    host = GymFamily(Point, goals, 5, name="point")
    for family, why in ((host, "point does not run in the graph"), (GymFamily, "family is the class"), (3, "a int")):
        with pytest.raises(ValueError, match=why):
            FamilyEnv(family)
