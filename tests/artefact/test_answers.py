"""What environments nobody here wrote answer: everything that is a number counts as one, everything else is refused.

Each answer goes two roads, ``collect`` (adapting, evaluating, clients) and the rows of ``GymFamily`` (training).
"""

import re
from decimal import Decimal
from fractions import Fraction

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from metazoo.artefact import answers
from metazoo.collect import CollectionError, collect
from metazoo.rollouts import host as host_rollouts
from metazoo.tasks.gym.family import GymFamily
from tests.host_envs import Odd, Point

STEPS = 5


class Answering(Point):
    """A point whose answers are changed on their way out."""

    def __init__(self, step=None, reset=None, **arguments):
        super().__init__(wall=100.0, **arguments)
        self.step_changed, self.reset_changed = step or (lambda *a: a), reset or (lambda *a: a)

    def reset(self, *, seed=None, options=None):
        return self.reset_changed(*super().reset(seed=seed))

    def step(self, action):
        return self.step_changed(*super().step(action))


def by_collect(env):
    def step(memory, **_):
        return {"actions": np.full((1, *env.action_space.shape), 0.25, np.float32), "memory": memory}

    return collect(env, step, episodes=1, seed=7, memory=np.zeros(1), horizon=STEPS).episodes


def by_rows(env):
    """Observations, rewards and ends as ``host_rollouts`` records them: ``[T, 1, ...]``."""
    family = GymFamily(lambda goal=0.0: env, {"goal": (0.0, 1.0)}, STEPS, rows=1)
    seen, playing = [family.reset(family.sample(1), np.array([7], np.uint32)).copy()], np.ones(1, bool)
    rewards, ends = [], []
    for _ in range(STEPS):
        after = family.step(np.full((1, *env.action_space.shape), 0.25, np.float32), playing)
        seen.append(after.observations.copy())
        rewards.append(after.rewards[0])
        ends.append((after.terminated[0], after.truncated[0]))
        playing = playing & ~(after.terminated | after.truncated)
    return np.array(seen), np.array(rewards), np.array(ends)


ROADS = pytest.mark.parametrize("play", [by_collect, by_rows], ids=["collect", "rows"])


class Reused(gym.Wrapper):
    """Everything it hands out is one object, which it changes at the next step; actions are changed too."""

    def __init__(self, env):
        super().__init__(env)
        self.seen, self.reward = np.zeros(env.observation_space.shape, env.observation_space.dtype), np.zeros(1)
        self.ended, self.info, self.played = np.zeros(1, bool), {}, []

    def reset(self, **options):
        self.seen[...], _ = self.env.reset(**options)
        return self.seen, self.info

    def step(self, action):
        self.played.append(np.copy(action))
        self.seen[...], self.reward[0], self.ended[0], _, _ = self.env.step(action)
        if isinstance(action, np.ndarray):
            action[...] = 0
        return self.seen, self.reward, self.ended, False, self.info


@ROADS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_an_environment_changes_later_is_recorded_as_it_was(play, dtype):
    class Typed(Point):
        def __init__(self):
            super().__init__(wall=100.0)
            self.observation_space = spaces.Box(-10.0, 10.0, (1,), dtype)

    for right, found in zip(play(Typed()), play(Reused(Typed())), strict=True):
        np.testing.assert_array_equal(found, right)


def test_images_and_parts_of_observations_are_copied_too():
    parts = {"image": np.zeros((2, 2), np.uint8), "vector": np.zeros(2, np.float32)}
    space = spaces.Dict({"image": spaces.Box(0, 255, (2, 2), np.uint8), "vector": spaces.Box(-1.0, 1.0, (2,))})
    cases = (
        (space, parts),
        (spaces.Tuple(list(space.spaces.values())), tuple(parts.values())),
        *zip(space.values(), parts.values(), strict=True),
    )
    for one, given in cases:
        kept = answers.flatten_observation(one, given)
        for array in parts.values():
            array += 1
        assert not kept.any(), one
        for array in parts.values():
            array -= 1


def test_recorded_actions_are_those_the_policy_chose_whatever_the_environment_does_to_them():
    class Zeroing(Odd):
        def step(self, action):
            answer = super().step(action)
            if isinstance(action, np.ndarray):
                action[...] = 0
            return answer

    for space in (spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.MultiDiscrete([3, 3], dtype=np.int32)):
        chosen = np.ones((1, 2), np.float32 if isinstance(space, spaces.Box) else np.int32)
        env = Zeroing(spaces.Box(-1.0, 1.0, (1,)), space)
        calls = []

        def step(memory, previous_actions, chosen=chosen, calls=calls, **_):
            calls.append(previous_actions.copy())
            return {"actions": chosen, "memory": memory}

        got = collect(env, step, episodes=1, seed=0, memory=np.zeros(1), horizon=4).episodes
        assert got.actions.tolist() == [[[[1, 1]] * 4]] and chosen.tolist() == [[1, 1]]
        assert [call.tolist() for call in calls[1:]] == [[[1, 1]]] * 3


def test_a_family_may_do_what_it_likes_to_the_actions_it_is_given():
    import tensorflow as tf

    from metazoo.types import StepOutputs

    class Rude(GymFamily):
        def step(self, actions, playing):
            after = super().step(actions, playing)
            actions[...], playing[...] = 0, False
            return after

    family = Rude(lambda goal=0.0: Point(wall=100.0), {"goal": (0.0, 1.0)}, 3, rows=2)

    def step(inputs, memory, key, deterministic):
        return StepOutputs(tf.fill([*key.shape, 1], 0.25), {}, tf.zeros(key.shape), memory)

    rows = tf.zeros((2, 1), tf.uint32)
    played = host_rollouts.rollout(family, family.sample(2), step, tf.zeros((2, 1, 0)), rows, False)
    assert np.all(played.actions == 0.25) and np.all(played.mask == 1.0)


class Foreign:
    """A number of another library, which no array takes: as a tensor that requires a gradient."""

    def __array__(self, *_, **__):
        raise RuntimeError("detach me first")

    def __float__(self):
        return 2.5

    def __repr__(self):
        return "Foreign()"


NUMBERS = [
    2, True, 2.5, np.float16(2.5), np.float64(2.5), np.int64(2), np.bool_(True), np.array(2.5), np.array([2.5]),
    [2.5], (2.5,), np.array([[2.5]], np.float16), Fraction(5, 2), Decimal("2.5"), Foreign(),
]  # fmt: skip


@ROADS
@pytest.mark.parametrize("reward", NUMBERS, ids=repr)
def test_every_number_is_a_reward(play, reward):
    rewards = play(Answering(lambda o, r, *rest: (o, reward, *rest)))
    rewards = rewards.rewards if play is by_collect else rewards[1]
    value = reward if isinstance(reward, Foreign) else np.ravel(np.array(reward))[0]
    assert set(np.ravel(rewards).tolist()) == {float(value)}


@ROADS
@pytest.mark.parametrize(
    ("reward", "why"),
    [
        (np.array([1.0, 0.0]), "must be a number"),
        ([], "must be a number"),
        ([[1.0], [1.0, 2.0]], "must be a number"),
        (None, "None at step 0.*must be a number"),
        ("1.0", "'1.0' at step 0.*must be a number"),
        (1 + 0j, "must be a number"),
        ({"r": 1.0}, "must be a number"),
        (float("nan"), "nan at step 0.*must be finite"),
        ([float("inf")], "inf at step 0.*must be finite"),
        (np.float16("-inf"), "-inf at step 0.*must be finite"),
        (1e300, r"1e\+300 at step 0.*range of float32"),
        (10**400, "inf at step 0.*must be finite"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_other_rewards_are_refused_by_name(play, reward, why):
    with pytest.raises(CollectionError, match=f"gave the reward .*{why}") as refused:
        play(Answering(lambda o, r, *rest: (o, reward, *rest)))
    assert "\n" not in str(refused.value) and "Answering" in str(refused.value)


@ROADS
@pytest.mark.parametrize("kind", [bool, np.bool_, int, float, np.array, lambda x: np.array([x]), lambda x: [x]])
def test_every_truth_value_ends_an_episode_or_does_not(play, kind):
    played = play(Answering(lambda o, r, ended, cut, info: (o, r, kind(o[0] > 0.9), kind(False), info)))
    plain = play(Answering(lambda o, r, ended, cut, info: (o, r, bool(o[0] > 0.9), False, info)))
    for found, right in zip(played, plain, strict=True):
        np.testing.assert_array_equal(found, right)
    ends = plain.terminated if play is by_collect else plain[2][:, 0]
    assert np.sum(ends) == 1 and not np.ravel(ends)[0]  # ended, and not by its first step


@ROADS
@pytest.mark.parametrize("value", [None, 2, -1, float("nan"), "False", [], [False, False], {}], ids=repr)
@pytest.mark.parametrize("name", ["terminated", "truncated"])
def test_other_ends_are_refused_by_name(play, name, value):
    def step(o, r, ended, cut, info):
        return (o, r, value, cut, info) if name == "terminated" else (o, r, ended, value, info)

    with pytest.raises(CollectionError, match=f"gave {name} as .*at step 0.*must be True or False"):
        play(Answering(step))


@ROADS
def test_what_terminates_is_not_truncated(play):
    played = play(Answering(lambda o, r, ended, cut, info: (o, r, True, True, info)))
    ends = (played.terminated, played.truncated) if play is by_collect else played[2].T
    assert [np.sum(end) for end in ends] == [1, 0]


@ROADS
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda o, r, e, c, i: (o, r, e, i),
            r"a tuple of 4 values.*\(observation, reward, terminated, truncated, info\)",
        ),
        (lambda *a: None, "answered step with None"),
        (lambda o, *a: o, "answered step with a ndarray"),
        (lambda *a: dict(zip("orecI", a, strict=True)), "answered step with a dict"),
    ],
)
def test_a_step_has_five_values(play, change, why):
    with pytest.raises(CollectionError, match=why):
        play(Answering(change))


@ROADS
@pytest.mark.parametrize(
    "change", [lambda o, i: o, lambda o, i: (o, o), lambda o, i: (o,), lambda o, i: None, lambda o, i: np.zeros(2)]
)
def test_a_reset_has_two_values(play, change):
    with pytest.raises(
        CollectionError, match=r"answered reset with .*at the reset.*must be the pair \(observation, info\)"
    ):
        play(Answering(reset=change))


@ROADS
def test_a_reset_without_info_that_looks_like_a_pair_is_refused(play):
    both = spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)])

    class Old(Odd):
        def reset(self, **options):
            return super().reset(**options)[0]

    with pytest.raises(CollectionError, match="answered reset with a tuple of 2 values"):
        play(Old(both, spaces.Box(-1.0, 1.0, (1,))))


@ROADS
@pytest.mark.parametrize(
    ("observation", "why"),
    [
        ([1.0, 2.0], r"shape \[2\]"),
        ([[1.0]], r"shape \[1, 1\]"),
        (1.0, r"shape \[\]"),
        (None, r"shape \[\]"),
        (["1.0"], "numbers"),
        ([1 + 0j], "numbers"),
        ({"o": 1.0}, r"shape \[\]"),
        ([[1.0], [1.0, 2.0]], "wrong observation"),
        ([object()], "wrong observation"),
        (Foreign(), "RuntimeError: detach me first"),
        ([np.nan], "nan"),
        ([None], "nan"),
        (np.array([np.inf]), "inf"),
        (np.array([1e300]), "inf"),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)),
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_observations_outside_the_space_are_refused(play, observation, why):
    with pytest.raises(CollectionError, match=f"Answering.* at step 0.*{why}|{why}.* at step 0"):
        play(Answering(lambda o, *rest: (observation, *rest)))


@ROADS
@pytest.mark.parametrize(
    "kind", [list, tuple, *(lambda o, t=t: o.astype(t) for t in "efdg"), lambda o: [np.float64(o[0])]]
)
def test_observations_of_other_kinds_count(play, kind):
    played = play(Answering(lambda o, *rest: (kind(np.round(o, 1)), *rest), lambda o, i: (kind(np.round(o, 1)), i)))
    plain = play(Answering(lambda o, *rest: (np.round(o, 1), *rest), lambda o, i: (np.round(o, 1), i)))
    np.testing.assert_allclose(played[0], plain[0], atol=1e-3)


IMAGE = spaces.Box(0, 255, (2, 2), np.uint8)
PAIR = spaces.Dict({"b": spaces.Box(-1.0, 1.0, (2, 3)), "d": spaces.Discrete(3, start=1)})


@pytest.mark.parametrize(
    ("space", "observation", "why"),
    [
        (IMAGE, np.full((2, 2), 0.5), "0.5 where .*uint8"),
        (IMAGE, np.full((2, 2), 300), "300 where .*uint8"),
        (IMAGE, np.full((2, 2), -1), "-1 where .*uint8"),
        (IMAGE, np.full((2, 2), np.nan), "nan where .*uint8"),
        (spaces.Discrete(4), 4, r"4, which is not in Discrete\(4\)"),
        (spaces.Discrete(4), -1, "-1, which is not in"),
        (spaces.Discrete(4), 1.5, "1.5, which is not in"),
        (spaces.Discrete(4), None, "None, which is not in"),
        (spaces.Discrete(4), [1, 2], r"shape \[2\]"),
        (spaces.MultiDiscrete([2, 3]), [2, 0], r"\[2, 0\], which is not in"),
        (spaces.MultiDiscrete([2, 3]), [0], r"shape \[1\]"),
        (spaces.MultiBinary(2), [0, 2], r"\[0, 2\], which is not in"),
        (PAIR, {"b": np.zeros((2, 3))}, "without 'd'"),
        (PAIR, {"b": np.zeros((3, 2)), "d": 1}, r"shape \[3, 2\]"),
        (PAIR, {"b": np.zeros((2, 3)), "d": 0}, "0, which is not in"),
        (PAIR, {"b": np.full((2, 3), np.nan), "d": 1}, "nan"),
        (PAIR, [1, 2], "without 'b'"),
        (spaces.Tuple([spaces.Discrete(2)]), (0, 1), "needs 1 parts"),
        (spaces.Tuple([spaces.Discrete(2)]), 0, "needs 1 parts"),
    ],
)  # fmt: skip
def test_observations_that_a_space_does_not_have_are_not_bent_into_it(space, observation, why):
    with pytest.raises(CollectionError, match=why):
        answers.read_observation(space, observation)


@pytest.mark.parametrize(
    ("space", "observation", "right"),
    [
        (spaces.Discrete(3, start=1), np.array([2]), [0, 1, 0]),
        (spaces.Discrete(3), 2.0, [0, 0, 1]),
        (spaces.Discrete(2), True, [0, 1]),
        (spaces.MultiDiscrete([2, 3]), [1, 2], [0, 1, 0, 0, 1]),
        (spaces.MultiBinary(3), [True, False, True], [1, 0, 1]),
        (spaces.Box(-1.0, 1.0, ()), 0.5, 0.5),
        (IMAGE, [[0.0, 255.0], [1, 2]], [[0, 255], [1, 2]]),
        (spaces.Dict({"i": spaces.Box(0, 9, (1,), np.int64)}), {"i": [0.5], "more": 1}, [0.5]),
    ],
)  # fmt: skip
def test_observations_that_a_space_has_in_other_clothes(space, observation, right):
    assert answers.read_observation(space, observation).tolist() == right


@ROADS
def test_what_raises_is_one_sentence(play):
    def step(*_):
        raise KeyError("two\nlines")

    with pytest.raises(CollectionError, match="failed at step 0.* on action .*KeyError") as refused:
        play(Answering(step))
    assert "\n" not in str(refused.value)


class Duck:
    """Spaces without an environment, as other libraries' vectors of environments have."""

    num_envs = 1
    observation_space, action_space = spaces.Box(-1.0, 1.0, (1,)), spaces.Discrete(2)


class NoSpaces(gym.Env):
    pass


class Abstract(gym.Env):
    @property
    def observation_space(self):
        raise NotImplementedError


class HalfSpaces(Point):
    def __init__(self):
        super().__init__()
        self.action_space = "anything"


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        ("CartPole-v1", r"'CartPole-v1' is not an environment.*gymnasium.make"),
        (gym.Env, "the class Env is not an environment.*an instance"),
        (Duck(), "a Duck is not an environment.*not a vector"),
        (NoSpaces(), "NoSpaces has no observation_space"),
        (gym.Wrapper(NoSpaces()), "NoSpaces has no observation_space"),
        (Abstract(), "Abstract has no observation_space"),
        (HalfSpaces(), "HalfSpaces has the action_space 'anything'"),
        (None, "None is not an environment"),
        (gym.make_vec("CartPole-v1", 2, vectorization_mode="sync"), "not an environment.*not a vector"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_environment_is_refused_by_name(thing, why):
    with pytest.raises(CollectionError, match=why):
        collect(thing, lambda **_: {}, episodes=1, seed=0, memory=np.zeros(1))


@pytest.mark.parametrize(
    "made", ["CartPole-v1", NoSpaces(), HalfSpaces(), Duck(), None], ids=lambda value: type(value).__name__
)
def test_a_family_needs_environments_too(made):
    with pytest.raises(CollectionError, match="must make a gymnasium.Env|needs one of gymnasium.spaces"):
        GymFamily(lambda goal=0.0: made, {"goal": (0.0, 1.0)}, 5)


def test_an_environment_that_cannot_be_closed_has_been_played(caplog):
    class Stuck(Point):
        def close(self):
            raise RuntimeError("the door is stuck")

    family = GymFamily(lambda wall=1.0: Stuck(wall), {"wall": (50.0, 60.0)}, STEPS)
    for seed in (0, 1):  # the second time in environments made anew
        family.reset(family.sample(1, "train", seed), np.zeros(1, np.uint32))
    family.close()
    assert caplog.text.count("Stuck failed to close: RuntimeError: the door is stuck") == 3


@pytest.mark.parametrize(
    ("space", "given", "right"),
    [
        (spaces.Discrete(3), 1, [0, 1, 0]),
        (spaces.Discrete(3), [0, 1, 0], [0, 1, 0]),
        (spaces.Discrete(3), [[0, 1, 0], [1, 0, 0]], [[0, 1, 0], [1, 0, 0]]),
        (spaces.Tuple([spaces.Discrete(2), spaces.Box(0.0, 1.0, (2,))]), (1, [0.5, 0.25]), [0, 1, 0.5, 0.25]),
        (spaces.Box(-1.0, 1.0, ()), [0.5, 1.0], [0.5, 1.0]),
        (IMAGE, np.ones((3, 2, 2)), np.ones((3, 2, 2)).tolist()),
    ],
)
def test_a_policy_is_asked_about_one_observation_or_a_batch(space, given, right):
    assert answers.read_observations(space, given).tolist() == right
