"""Every space that a policy may have, all the way: an update, an export, acting on one row and on more, adapting,
being served. Spaces that it may not have are refused at once, in a sentence."""

import json

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import metazoo
from metazoo import random
from metazoo.algorithms.common.learner import updates
from metazoo.artefact import signatures
from metazoo.artefact.spaces import CollectionError, check_spaces, space_from_metadata, space_to_metadata
from metazoo.evaluation import play_split
from metazoo.policies.distributions import Categorical, Gaussian, MultiCategorical
from metazoo.policies.networks import cnn, mlp, network_for
from metazoo.policies.policy import Policy
from metazoo.policies.recurrent import RecurrentPolicy
from metazoo.rollouts.agent import random_agent
from metazoo.rollouts.graph import rollout, trial
from metazoo.tasks.family import random_actions
from metazoo.tasks.gym.family import GymFamily
from metazoo.tasks.testing import check_family
from metazoo.tasks.testing import policy as policy_check
from metazoo.tasks.testing.policy import check_policy
from metazoo.tasks.views.gym_view import FamilyEnv, FamilyVectorEnv
from metazoo.training.export import export
from metazoo.types import Box, Discrete, MultiDiscrete, require_usable
from serving.client import Client
from serving.server import Server
from tests.spaces import ACTIONS, HORIZON, IN_GRAPH, NETWORKS, OBSERVATIONS, Any2, InGraph, host_family, tiny_learner
from tests.without_xla import without_xla

COVER = [
    ("number", "Discrete", "mlp"),
    ("table", "MultiDiscrete", "mlp"),
    ("float image", "half bounded", "cnn"),
    ("image", "Discrete", "cnn"),
    ("grey image", "MultiDiscrete", "cnn"),
    ("bytes", "MultiDiscrete", "recurrent"),
    ("integers", "unbounded", "mlp"),
    ("Discrete", "integers", "mlp"),
    ("Dict", "Discrete", "mlp"),
    ("Tuple", "MultiDiscrete", "mlp"),
]
"""Every kind of observations and actions, and every network, in a few of the many combinations."""
SLOW = [
    (seen, done, network)
    for number, (seen, space) in enumerate(OBSERVATIONS.items())
    for network in NETWORKS
    for done in [tuple(ACTIONS)[(number + tuple(NETWORKS).index(network)) % len(ACTIONS)]]
    if (network != "cnn" or (isinstance(space, spaces.Box) and len(space.shape) in (2, 3)))
    and (network != "recurrent" or "image" not in seen)
]
METADATA = {"adapt": {"episodes": 2, "steps": 1}}


CASES = [
    *(pytest.param((*one, False), id=", ".join(one)) for one in COVER),
    *(pytest.param((*one, True), id=f"{', '.join(one)}, XLA", marks=pytest.mark.slow) for one in SLOW),
]


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    """(the environment, the policy after one update); XLA, which takes most of the time, compiles in the slow ones."""
    seen, done, network, xla = request.param
    with pytest.MonkeyPatch.context() as patch:
        if not xla:
            without_xla(patch)
        learner = tiny_learner(host_family(seen, done), network)
        learner.fit(updates(0, 1), verbose=0)
        assert all(np.all(np.isfinite(variable)) for variable in learner.trainable_variables)
        directory = tmp_path_factory.mktemp("models") / "any" / "1"
        export(learner, directory, {"name": "any", **METADATA})
    return Any2(1.0, seen, done), metazoo.load(directory)


def stepped(policy, env, rows):
    """The policy's step on ``rows`` observations of the environment."""
    env.observation_space.seed(1)
    shape, dtype = metazoo.collect.observation_spec(env.observation_space)
    done, action_dtype = metazoo.collect.action_spec(env.action_space)
    one = [metazoo.collect.flatten_observation(env.observation_space, env.observation_space.sample()) for _ in range(3)]
    return policy.step(
        observations=np.stack(one)[:rows].astype(dtype).reshape(rows, *shape),
        previous_actions=np.broadcast_to(getattr(env.action_space, "start", 0), (rows, *done)).astype(action_dtype),
        previous_rewards=np.zeros(rows, np.float32),
        previous_done=np.zeros(rows, bool),
        memory=np.broadcast_to(policy.memory, (rows, policy.memory.size)),
        seed=np.arange(rows, dtype=np.int32),
        deterministic=np.zeros(rows, bool),
    )


def test_it_acts_on_any_number_of_rows_and_adapts(exported):
    env, policy = exported
    one, three = (stepped(policy, env, rows) for rows in (1, 3))
    for name, value in one.items():
        np.testing.assert_allclose(value[0], three[name][0], rtol=1e-4, atol=1e-5, err_msg=name)
    assert space_from_metadata(policy.metadata["action_space"]) == env.action_space
    env.reset(seed=0)
    for action in three["actions"]:
        env.step(metazoo.collect.to_env_action(env.action_space, action))  # which asserts that it is in the space
    adapted = policy.adapt(env, episodes=2)
    assert np.all(np.isfinite(adapted.memory)) and np.any(adapted.memory != policy.memory)
    assert adapted.evaluate(env, episodes=2).shape == (2,)


@pytest.mark.parametrize("seen", OBSERVATIONS)
def test_any_observations_are_played_as_the_space_says(seen):
    family = host_family(seen, "Discrete")
    observations = family.reset(family.sample(2), np.arange(2, dtype=np.uint32))
    assert observations.dtype == family.observation_space.dtype
    assert observations.shape == (2, *family.observation_space.shape)
    after = family.step(np.full(2, 2, np.int32), np.ones(2, bool))
    assert after.observations.dtype == observations.dtype and np.all(np.isfinite(after.observations))


# --- families in the graph ---------------------------------------------------------------------------------------


FIRST, *OTHERS = IN_GRAPH


@pytest.mark.parametrize("kind", IN_GRAPH)
def test_a_family_in_the_graph_is_rolled_out_and_viewed(kind, monkeypatch):
    without_xla(monkeypatch)
    family = InGraph(*IN_GRAPH[kind])
    agent, tasks, key = random_agent(family), family.sample(2), random.key(0)
    played = rollout(family, tasks, agent.step, tf.zeros([2, 1, 0]), key, 3)
    carried, _ = trial(family, tasks, agent.step, tf.zeros([2, 1, 0]), key, 3)
    for episodes in (played, carried):
        for field, space in (("observations", family.observation_space), ("actions", family.action_space)):
            value = getattr(episodes, field)
            assert value.dtype == space.dtype and value.shape == (HORIZON, 2, 3, *space.shape)
        assert episodes.final_observations.dtype == family.observation_space.dtype
    for env in (FamilyEnv(family, max_episode_steps=HORIZON), FamilyVectorEnv(family, num_envs=2)):
        seen, _ = env.reset(seed=0)
        assert env.observation_space.contains(seen) and seen.dtype == family.observation_space.dtype
        env.action_space.seed(0)
        seen, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(seen)


@pytest.mark.slow
@pytest.mark.parametrize("kind", IN_GRAPH)
def test_a_family_in_the_graph_is_learnt_from(kind, monkeypatch):
    without_xla(monkeypatch)
    family = InGraph(*IN_GRAPH[kind])
    networks = ["mlp", *(["cnn"] if "image" in kind else ["recurrent"])]
    for network in networks[1:] if kind == FIRST else networks:
        learner = tiny_learner(family, network)
        learner.fit(updates(0, 1), verbose=0)
        assert all(np.all(np.isfinite(variable)) for variable in learner.trainable_variables)


@pytest.mark.parametrize("kind", [FIRST, *(pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS)])
def test_the_check_kit_passes_families_that_work(kind):
    check_family(InGraph(*IN_GRAPH[kind]))


class StartsOutside(InGraph):
    """Its first observation is not in its space; those after a step are."""

    def observe(self, task, state):
        return tf.where(state.phase[..., None] < 0.0, 9.0, super().observe(task, state))

    def reset(self, task, key):
        return super().reset(task, key)._replace(phase=-tf.ones(tf.shape(key)))


def test_the_check_kit_sends_a_policy_all_the_way(monkeypatch):
    """It says at which station something went wrong; the family keeps its horizon."""
    spaces = Box((2,), 0.0, 1.0), Discrete(2)
    good, bad = InGraph(*spaces), StartsOutside(*spaces)
    check_policy(good)
    with pytest.raises(AssertionError, match="StartsOutside: FamilyEnv gives observations off its space"):
        check_policy(bad)
    for station, what in (("network_for", "be made for it"), ("rollout", "play it"), ("export", "be exported")):
        with monkeypatch.context() as patch:
            patch.setattr(policy_check, station, lambda *args, **settings: [][1])
            with pytest.raises(
                AssertionError, match=f"InGraph: a policy cannot {what}: IndexError: list index"
            ) as said:
                check_policy(good)
            assert "\n" not in str(said.value)
    assert "horizon" not in vars(good) and good.horizon == HORIZON


@pytest.mark.parametrize(
    "kind", [("image", "MultiDiscrete"), pytest.param(("Dict", "integers"), marks=pytest.mark.slow)]
)
def test_the_check_kit_passes_families_on_the_host_that_work(kind):
    check_family(host_family(*kind))


@pytest.mark.parametrize("done", ACTIONS)
def test_random_play_is_finite_and_within_the_space(done):
    family = host_family("vector", done)
    drawn = random_actions(family.action_space, random.spread(random.key(3), 200)).numpy()
    env = Any2(done=done)
    env.reset(seed=0)
    for action in drawn:
        played = metazoo.collect.to_env_action(env.action_space, action)
        env.step(played)
        if done != "integers":
            np.testing.assert_array_equal(action, np.asarray(played, action.dtype))
    returns, _ = play_split(random_agent(family), family, "train", 2, 2, 0)
    assert np.all(np.isfinite(returns))


# --- served ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server of three policies, and their environments by name."""
    models = tmp_path_factory.mktemp("models")
    kinds = {"buttons": ("vector", "MultiDiscrete"), "eyes": ("image", "Discrete"), "table": ("table", "half bounded")}
    for name, (seen, done) in kinds.items():
        network = "cnn" if name == "eyes" else "mlp"
        export(tiny_learner(host_family(seen, done), network), models / name / "1", {"name": name, **METADATA})
    with Server(models, tmp_path_factory.mktemp("adapted"), poll_seconds=0.05) as server:
        yield server, {name: Any2(1.0, *kind) for name, kind in kinds.items()}


@pytest.mark.parametrize("name", ["buttons", "eyes", "table"])
def test_a_client_plays_and_adapts_it(served, name):
    server, envs = served
    for client in (Client(server.url), Client(f"grpc://127.0.0.1:{server.grpc_port}")):
        assert client.play(name, envs[name], 2, seed=0).returns.shape == (2,)
        assert client.play(name, envs[name], 1, seed=0, deterministic=True).returns.shape == (1,)
        adaptation = client.adapt(name, envs[name], episodes=2, task="mine")
        assert client.play(adaptation.model, envs[name], 1, seed=0).returns.shape == (1,)
        observation, _ = envs[name].reset(seed=0)
        player = client.player(name)
        envs[name].step(player.act(observation))
        client.close()


def test_every_distribution_has_its_parameters_in_the_contract():
    known = {one.kind: one.parameters for one in (Categorical, MultiCategorical, Gaussian)}
    assert known == signatures.DISTRIBUTION_PARAMETERS


# --- refused, in a sentence, when it is made ---------------------------------------------------------------------

BAD_ACTIONS = {
    "a number": spaces.Box(-1.0, 1.0, ()),
    "a table": spaces.Box(-1.0, 1.0, (2, 2)),
    "MultiDiscrete of two axes": spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    "nothing": spaces.Box(-1.0, 1.0, (0,)),
    "MultiBinary": spaces.MultiBinary(3),
    "Dict": spaces.Dict({"a": spaces.Discrete(2)}),
    "beyond int32": spaces.Discrete(3, start=2**31 - 2),
    "below int32": spaces.MultiDiscrete([2, 2], start=[0, -(2**31) - 1]),
    "Text": spaces.Text(3),
}
BAD_OBSERVATIONS = {
    "nothing": spaces.Box(-1.0, 1.0, (0,)),
    "nothing on one axis": spaces.Box(0, 255, (3, 0, 3), np.uint8),
    "Text": spaces.Text(3),
    "Text in a Dict": spaces.Dict({"a": spaces.Text(3)}),
    "Sequence": spaces.Sequence(spaces.Discrete(2)),
    "empty Dict": spaces.Dict({}),
}


def test_a_dict_that_is_not_in_alphabetical_order_keeps_it_in_the_metadata():
    class Ordered(gym.Env):
        observation_space = spaces.Dict(wheel=spaces.Box(-1.0, 1.0, (2,)), arm=spaces.Discrete(3))
        action_space = spaces.Discrete(2)

    written = {
        f"{role}_space": space_to_metadata(getattr(Ordered, f"{role}_space")) for role in ("observation", "action")
    }
    again = space_from_metadata(json.loads(json.dumps(written["observation_space"])))
    assert list(again.spaces) == ["wheel", "arm"]
    check_spaces(Ordered(), written)  # it refused its own environment


class Bad(gym.Env):
    def __init__(self, k=1.0, observation_space=OBSERVATIONS["vector"], action_space=ACTIONS["Discrete"]):
        self.k, self.observation_space, self.action_space = k, observation_space, action_space


@pytest.mark.parametrize("kind", BAD_ACTIONS)
def test_a_family_with_unusable_actions_is_refused(kind):
    with pytest.raises(CollectionError, match=r"action.space.* must be") as refused:
        GymFamily(Bad, {"k": (0.5, 1.0)}, HORIZON, env_args={"action_space": BAD_ACTIONS[kind]})
    assert "Bad" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", BAD_OBSERVATIONS)
def test_a_family_with_unusable_observations_is_refused(kind):
    with pytest.raises(CollectionError, match="must be|is not supported") as refused:
        GymFamily(Bad, {"k": (0.5, 1.0)}, HORIZON, env_args={"observation_space": BAD_OBSERVATIONS[kind]})
    assert "\n" not in str(refused.value)


VECTOR = Box((3,))
UNUSABLE = [
    (Box((3,), dtype="float64"), Discrete(2)),
    (Box((3,), dtype="int32"), Discrete(2)),
    (Box((0,)), Discrete(2)),
    (spaces.Box(-1.0, 1.0, (3,)), Discrete(2)),
    (VECTOR, spaces.Discrete(2)),
    (VECTOR, Box(())),
    (VECTOR, Box((2, 2))),
    (VECTOR, Box((2,), dtype="float64")),
    (VECTOR, Discrete(0)),
    (VECTOR, Discrete(2, start=2**31)),
    (VECTOR, Discrete(2.0)),
    (VECTOR, MultiDiscrete(())),
    (VECTOR, MultiDiscrete((2, 0))),
    (VECTOR, MultiDiscrete((2, 3), start=(1,))),
    (VECTOR, MultiDiscrete((2, 3), start=(0, 2**31))),
]


@pytest.mark.parametrize("given", UNUSABLE, ids=str)
def test_unusable_spaces_are_refused_wherever_they_are_first_met(given):
    ways = [
        lambda: require_usable(*given),
        lambda: network_for(*given),
        lambda: mlp(*given),
        lambda: RecurrentPolicy(*given, units=3),
        lambda: Policy(mlp(VECTOR, Discrete(2), (3,)), *given),
        lambda: FamilyEnv(InGraph(*given)),
    ]
    for way in ways:
        with pytest.raises(ValueError, match=r"(observation_space|action_space) is .*; it must be a") as refused:
            way()
        assert "\n" not in str(refused.value)
    with pytest.raises(AssertionError, match=r"InGraph: (observation_space|action_space) is"):
        check_family(InGraph(*given))


def test_what_a_network_cannot_take_is_refused():
    with pytest.raises(ValueError, match=r"observations have shape \[3\]; cnn takes \[height, width, channels\]"):
        cnn(VECTOR, Discrete(2))
    with pytest.raises(ValueError, match="observations are images"):
        RecurrentPolicy(Box((5, 4, 3), dtype="uint8"), Discrete(2), units=3)


def test_a_policy_for_other_spaces_than_the_familys_is_refused():
    family = host_family("vector", "Discrete")
    other = host_family("table", "Discrete")
    with pytest.raises(ValueError, match=r"the policy's observation_space is .*; the family any needs"):
        learner = tiny_learner(other)
        type(learner)(learner.policy, family, learner.config)
