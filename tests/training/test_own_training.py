"""``metazoo.train`` and ``metazoo train --family``: a family of the user's, trained, compared, resumed, found again."""

import shlex

import numpy as np
import pytest

import metazoo
from metazoo.artefact import store
from metazoo.cards import baselines
from metazoo.cli.new import new
from metazoo.presets.own import BODY, name_of, preset_of
from metazoo.presets.preset import Preset, settings_of
from metazoo.presets.registry import PRESETS
from metazoo.pretrained import family_of
from metazoo.tasks import own
from metazoo.tasks.families.bandit import Bandit
from metazoo.tasks.families.cartpole import CartPole, CartPoleGoal
from metazoo.tasks.families.navigation import Navigation
from metazoo.training import callbacks, train
from metazoo.training.own import introduce, presets
from metazoo.training.train import build, override
from metazoo.types import Box
from tests.own_families import SHORT, working_in
from tests.without_xla import without_xla

TINY = {"tasks": 2, "episodes": 2}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "EPOCH", 2)
    monkeypatch.setattr(callbacks, "ON_HOST", (3, 3))
    without_xla(monkeypatch)
    with working_in(tmp_path):
        new("family", "lift_robot", tmp_path)
        yield tmp_path


def test_ten_lines_of_python_give_a_policy_that_is_compared_and_finds_its_family_again(here, monkeypatch):
    monkeypatch.setattr("metazoo.training.own.preset_of", few_test_tasks)
    policy = metazoo.train("lift_robot:LiftRobot", "maml", family_args=SHORT, settings=TINY, updates=3, show=False)
    assert (policy.name, policy.version) == ("maml_lift_robot", 1)
    assert policy.metadata["family_from"] == "lift_robot:LiftRobot" and policy.metadata["family_args"] == SHORT
    (twin,) = installed(policy)
    assert store.read_metadata(twin)["name"] == "dr_lift_robot"
    evaluation = policy.metadata["evaluation"]
    assert set(evaluation["baselines"]) == {"random", "dr_lift_robot"} and evaluation["ood"]["tasks"] == 4
    assert "trained over all tasks without adapting" in evaluation["baselines"]["dr_lift_robot"]["what"]
    card = (policy.directory.parent / "README.md").read_text()
    assert "it is `lift_robot:LiftRobot`, in its owner's code" in card
    assert "| `mass` |  | 0.5 to 1.5 | 1.5 to 2 |" in card
    assert "A drone that holds its height with an unknown mass, wind and motor." in card
    own._GIVEN.clear()  # as in another process
    assert family_of(policy.metadata).horizon == 4
    words = shlex.split(policy.metadata["provenance"]["command"])
    begin = "metazoo train --family lift_robot:LiftRobot --algorithm maml --name maml_lift_robot"
    assert shlex.join(words).startswith(begin)
    assert words[words.index("--family-arg") + 1] == "horizon=4"
    store.replace_metadata(twin, {**store.read_metadata(twin), "family": "other"})
    assert not installed(policy), "the twin of another family of the same name is not taken"


def installed(policy):
    return list(baselines._installed(policy))


def few_test_tasks(*args, **options):
    import dataclasses

    return dataclasses.replace(preset_of(*args, **options), evaluation_tasks=4)


@pytest.mark.slow  # quick on the host: test_host_training.py
def test_a_training_that_was_interrupted_goes_on_to_the_same_weights(here, monkeypatch):
    options = {"family_args": SHORT, "settings": TINY, "updates": 4, "card": False, "twin": False, "show": False}
    algorithm = "domain_randomised"  # whose program is small: how each learner goes on, its own tests say
    whole = metazoo.train("lift_robot:LiftRobot", algorithm, out="whole", **options)
    save = callbacks.Checkpoints.on_epoch_end

    def interrupt(*args):
        save(*args)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoints, "on_epoch_end", interrupt)
        metazoo.train("lift_robot:LiftRobot", algorithm, out="parts", **options)
    with pytest.raises(FileExistsError, match="holds a training already"):
        metazoo.train("lift_robot:LiftRobot", algorithm, out="parts", **options)
    resumed = metazoo.train("lift_robot:LiftRobot", algorithm, out="parts", resume=True, **options)
    np.testing.assert_array_equal(whole.memory, resumed.memory)


def test_an_object_trains_too_and_is_known_in_its_process_alone(here):
    own.import_path()
    family = own.made_from("lift_robot:LiftRobot", SHORT)
    policy = metazoo.train(family, "domain_randomised", settings=TINY, updates=1, card=False, twin=False, show=False)
    assert "family_from" not in policy.metadata and family_of(policy.metadata) is family
    assert "metazoo.train" in policy.metadata["provenance"]["command"]
    own._GIVEN.clear()
    with pytest.raises(
        ValueError, match="dr_lift_robot was trained on the family 'lift_robot', which is not known here"
    ):
        family_of(policy.metadata)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"algorithm": "mmal"}, "there is no algorithm 'mmal'; did you mean maml?"),
        ({"algorithm": "maml", "settings": {"tasks": "many"}}, "tasks is 'many'; it must be int"),
        ({"algorithm": "maml", "settings": {"task": 1}}, "maml has no setting 'task'; did you mean tasks?"),
        ({"algorithm": "maml", "name": "maml_cartpole"}, "the zoo has a policy 'maml_cartpole'; choose another name"),
        ({"algorithm": "oracle"}, "lift_robot does not say how to show the task"),
        ({"algorithm": "maml", "resume": True}, "holds no training of .*maml_lift_robot to resume"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_written(here, how, said):
    with pytest.raises(ValueError, match=said):
        metazoo.train("lift_robot:LiftRobot", show=False, **how)
    assert not (here / "runs").exists()


def test_compared_policies_come_first_and_are_not_trained_twice(here):
    class Mine(CartPoleGoal):
        name = "mine"

    of = introduce(Mine, {})
    made = presets(of, ["rl2", "maml"], {"learning_rate": "0.0005"}, oracle=True)
    assert [one.name for one in made] == [f"{one}_mine" for one in ("dr", "oracle", "rl2", "maml")]
    assert made[1].family_args == {"reveal_target": True} and made[2].baselines == (made[0].name, made[1].name)
    assert [one.learning_rate for one in made] == [0.001, 0.001, 0.0005, 0.0005]
    assert [one.name for one in presets(of, ["domain_randomised"], {})] == ["dr_mine"]
    with pytest.raises(ValueError, match="the name is 'a', and there are 2 algorithms"):
        presets(of, ["rl2", "maml"], {}, name="a")


# --- settings from the spaces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [CartPole(), Navigation(), Bandit()], ids=lambda one: one.name)
@pytest.mark.parametrize("algorithm", ["rl2", "maml", "anil", "meta_sgd", "promp", "reptile", "domain_randomised"])
def test_every_learner_has_settings_for_every_kind_of_family(family, algorithm):
    own.give(family.name, family)
    try:
        learner = build(override(preset_of(family, algorithm), {"tasks": "20"}))
        assert learner.config.tasks == 20 and learner.policy.action_space == family.action_space
    finally:
        own._GIVEN.clear()


def test_settings_follow_from_spaces_and_horizon():
    assert preset_of(Navigation(), "rl2").network == {"initial_scale": 0.05, **BODY}
    assert preset_of(Bandit(), "rl2").network == {"normalise": True}
    short, long = (preset_of(Navigation(horizon=horizon), "maml") for horizon in (10, 1000))
    assert short.config["tasks"] == 128 and long.config["tasks"] == 8
    wide = CartPole()
    wide.observation_space = Box((2,), [0.0, -50.0], [20.0, 50.0])
    assert preset_of(wide, "maml").network == {"centre": (10.0, 0.0), "width": (10.0, 50.0)}
    assert preset_of(wide, "domain_randomised").network["output_gain"] == 1.0
    assert name_of("domain_randomised", "my robot/2") == "dr_my-robot-2"


def test_presets_of_the_zoo_are_written_as_before():
    settings = settings_of(PRESETS["maml_cartpole"])
    assert "family_from" not in settings and settings["family"] == "cartpole"
    mine = Preset("a", "b", "c", "maml", {}, 1, 1, 1, family_from="m:C")
    assert settings_of(mine)["family_from"] == "m:C"
