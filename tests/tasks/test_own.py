"""Families that are the user's own: found by module or file, found again by metadata, or refused in a sentence."""

import importlib
import sys

import gymnasium as gym
import pytest

from metazoo.cli.new import new
from metazoo.tasks import own
from metazoo.tasks.families.navigation import Navigation
from metazoo.tasks.gym.family import GymFamily
from tests.own_families import SHORT, working_in

MORE = """

def make(horizon=7) -> GymFamily:
    return LiftRobot(horizon)

def unsaid(horizon=7):
    return LiftRobot(horizon)

ready, number = LiftRobot(5), 3

class Taken(LiftRobot):
    def __init__(self):
        super().__init__()
        self.name = "cartpole"

def broken():
    raise RuntimeError("no wind")
"""


@pytest.fixture
def here(tmp_path):
    with working_in(tmp_path):
        new("family", "lift_robot", tmp_path)
        path = tmp_path / "lift_robot.py"
        path.write_text(path.read_text() + MORE)
        yield tmp_path


@pytest.mark.parametrize(
    ("reference", "arguments", "horizon"),
    [
        ("lift_robot:LiftRobot", {}, 50),
        ("lift_robot:LiftRobot", SHORT, 4),
        ("lift_robot.py:LiftRobot", SHORT, 4),
        ("lift_robot:make", {}, 7),
        ("lift_robot:unsaid", SHORT, 4),
        ("lift_robot:ready", {}, 5),
    ],
)
def test_a_class_a_family_and_a_factory_are_found(here, reference, arguments, horizon):
    family = own.made_from(reference, arguments)
    assert (family.name, family.horizon) == ("lift_robot", horizon)


def test_a_file_with_one_family_needs_no_object(tmp_path):
    with working_in(tmp_path):
        new("family", "alone", tmp_path / "robots")
        assert own.made_from("robots/alone.py", {}).name == "alone"
        (tmp_path / "robots" / "math.py").write_text((tmp_path / "robots" / "alone.py").read_text())
        with pytest.raises(
            own.FamilyError, match="another module is called 'math'; give the file robots/math.py another"
        ):
            own.made_from("robots/math.py", {})


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("lift_robot", "the family is 'lift_robot'; it must be MODULE:OBJECT or FILE.py:OBJECT"),
        (":LiftRobot", "it must be MODULE:OBJECT"),
        ("lift_robt:LiftRobot", "there is no module 'lift_robt' here; its directory must be the current one"),
        ("gone.py:LiftRobot", "there is no file gone.py"),
        ("lift_robot:LiftRobt", "lift_robot has no 'LiftRobt'; did you mean LiftRobot?"),
        ("lift_robot.py", r"lift_robot.py has 3 families \(LiftRobot, ready, Taken\); say which object"),
        ("lift_robot:LiftRobotEnv", "it must be a TaskFamily.*GymFamily\\(Env, "),
        ("lift_robot:number", "lift_robot:number is of type int"),
        ("lift_robot:Taken", "has the name 'cartpole', as a family of the zoo"),
        ("lift_robot:broken", r"lift_robot:broken cannot be made with \(\): RuntimeError: no wind"),
        ("json:dumps", "json:dumps cannot be made with"),
        ("fails:Robot", "the module 'fails' cannot be imported: ZeroDivisionError: division by zero"),
        ("needs:Robot", "the module 'needs' cannot be imported: No module named 'torch_of_mine'"),
    ],
)
def test_what_is_no_family_is_refused_in_one_sentence(here, reference, said):
    (here / "fails.py").write_text("1 / 0\n")
    (here / "needs.py").write_text("import torch_of_mine\n")
    with pytest.raises(own.FamilyError, match=said):
        own.made_from(reference, {})


def test_arguments_that_a_family_does_not_take_are_refused(here):
    with pytest.raises(own.FamilyError, match="cannot be made with .colour='red'.: TypeError"):
        own.made_from("lift_robot:LiftRobot", {"colour": "red"})
    with pytest.raises(own.FamilyError, match="lift_robot:ready is a family already; it takes no arguments"):
        own.made_from("lift_robot:ready", SHORT)


METADATA = {"name": "mine", "family": "lift_robot", "family_args": SHORT, "family_from": "lift_robot:LiftRobot"}


def test_metadata_finds_the_family_again(here):
    assert own.family_of(METADATA).horizon == 4
    assert own.family_of(METADATA, horizon=9).horizon == 9
    assert own.family_of({**METADATA, "family_from": "lift_robot:make"}).horizon == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"family_from": "moved:LiftRobot"},
            "mine was trained on the family 'lift_robot' of moved:LiftRobot, and there is no",
        ),
        (
            {"family": "other"},
            "of lift_robot:LiftRobot, and that is 'lift_robot' now; give the right one with --family",
        ),
        ({"family_from": None}, "which is not known here; give it with --family MODULE:OBJECT"),
        ({"family_from": "lift_robot:unsaid"}, "does not say that it returns a family, so it is not called"),
        ({"family_from": "os:getpid", "family_args": {}}, "does not say that it returns a family, so it is not called"),
    ],
)
def test_metadata_that_does_not_lead_to_the_family_says_so(here, changes, said):
    with pytest.raises(ValueError, match=said):
        own.family_of({**METADATA, **changes})


def test_metadata_of_strangers_calls_nothing_but_families(here, monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *args, **options: pytest.fail("it was called"))
    with pytest.raises(ValueError, match="so it is not called"):
        own.family_of({"family": "x", "family_from": "subprocess:run", "family_args": {"args": "true"}})


def test_a_family_that_was_given_takes_the_place_of_what_metadata_says(here):
    own.give("lift_robot", "lift_robot.py:LiftRobot", arguments={"horizon": 6})
    assert own.family_of({**METADATA, "family_from": "moved:LiftRobot"}).horizon == 6
    own.give("nav", Navigation(horizon=3))
    assert own.family_of({"family": "nav"}).horizon == 3


def test_identity_tells_families_apart_by_place_and_arguments(here):
    assert own.identity(METADATA)[0] == {key: METADATA[key] for key in own.KEYS}
    before = own.identity(METADATA)
    own.give("lift_robot", "lift_robot:make")
    assert own.identity(METADATA) != before
    assert own.identity({"family": "navigation", "family_args": {}}) == ({"family": "navigation"}, "")


def test_the_place_of_a_class_is_known_and_that_of_other_objects_is_not(here):
    own.import_path()
    lift_robot = importlib.import_module("lift_robot")

    assert own.place_of(lift_robot.LiftRobot) == "lift_robot:LiftRobot"
    assert own.place_of(lift_robot.ready) == own.place_of(lambda: None) == own.place_of(3) == ""
    lift_robot.LiftRobot.__module__ = "__main__"
    assert own.place_of(lift_robot.LiftRobot) == ""


@pytest.mark.slow
def test_the_starting_family_is_stepped_in_worker_processes_too(here):
    import numpy as np

    family = own.made_from("lift_robot.py:LiftRobot", {"horizon": 4, "workers": 1})
    try:
        seen = family.reset(family.sample(2), np.arange(2, dtype=np.uint32))
        assert seen.shape == (2, 2) and np.abs(seen[:, 0]).max() <= 1.0
    finally:
        family.close()


def test_ranges_of_a_gym_family_are_said_and_out_of_range_tasks_are_where_they_are_given(here):
    family = own.made_from("lift_robot:LiftRobot", {})
    assert family.out_of_range and family.parameter_ranges()["mass"].ood == ((1.5, 2.0),)
    mass = family.sample(50, "ood").mass.numpy()
    assert ((mass >= 1.5) & (mass <= 2.0)).all()
    wind = family.sample(50, "ood").wind.numpy()
    assert (abs(wind) >= 0.5).all() and (wind < 0).any() and (wind > 0).any()
    plain = GymFamily("CartPole-v1", {"length": (0.3, 0.7)})
    assert not plain.out_of_range and plain.parameter_ranges()["length"].train == (0.3, 0.7)
    with pytest.raises(ValueError, match="no tasks out of range: length are uniform in one range each"):
        plain.sample(1, "ood")
    assert isinstance(plain.environment({"length": 0.5}, render_mode="rgb_array"), gym.Env)


def test_nothing_of_the_user_is_left_on_the_path(tmp_path):
    with working_in(tmp_path):
        new("family", "gone_robot", tmp_path)
        own.made_from("gone_robot:GoneRobot", {})
        assert "gone_robot" in sys.modules
    assert "gone_robot" not in sys.modules
