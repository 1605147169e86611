"""A new family is its own file: with nothing but a name in the registry, everything else finds what it needs in it."""

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from metazoo import plugins, random
from metazoo.algorithms.domain_randomised import DomainRandomised
from metazoo.algorithms.maml import MAML
from metazoo.artefact import store
from metazoo.bench import gym_peers
from metazoo.cards import record, video
from metazoo.cards.task_ranges import range_rows
from metazoo.policies.networks import mlp
from metazoo.policies.policy import Policy
from metazoo.presets.preset import Preset
from metazoo.presets.registry import PRESETS
from metazoo.tasks import registry
from metazoo.tasks.canvas import INK, dot
from metazoo.tasks.family import Range, Reference, TaskFamily, Transition
from metazoo.tasks.views import gym_render
from metazoo.tasks.views.gym_view import FamilyEnv
from metazoo.training.experts import Recipe, train_experts
from metazoo.training.export import export
from metazoo.types import Box
from tests.cards.reports import made_up_metadata
from tests.without_xla import without_xla


class ThermostatTask(NamedTuple):
    """``comfort``, the temperature that is liked, and ``draught``, the share of warmth lost a step. ``[M]``."""

    comfort: Any
    draught: Any


class Room(NamedTuple):
    warmth: Any


class Thermostat(TaskFamily):
    """Heat or cool a room."""

    name: ClassVar[str] = "thermostat"
    Task: ClassVar[type] = ThermostatTask
    observation_space, action_space = Box((1,), -3.0, 3.0), Box((1,), -1.0, 1.0)
    ranges: ClassVar[Mapping[str, Range]] = {"comfort": Range((-0.5, 0.5), ((-0.8, -0.5), (0.5, 0.8)))}
    units: ClassVar[Mapping[str, str]] = {"comfort": "°C", "draught": ""}
    nominal: ClassVar[Mapping[str, float]] = {"draught": 0.25}
    reward_unit: ClassVar[str] = "−distance from comfort"
    caveat: ClassVar[str] = "A good jumper does as well."
    long_horizon: ClassVar[int | None] = 7
    original: str = "Pendulum-v1"
    drawn: ClassVar[Mapping[str, str] | None] = {"l": "comfort"}
    discount: ClassVar[float | None] = 0.0
    gradient_rates: ClassVar[Mapping[str, float]] = {"fine_tuning": 0.02, "from_scratch": 0.5}
    expert_recipe: ClassVar[Mapping[str, Any]] = {"config": {"episodes": 2, "epochs": 1}, "updates": 2}

    def __init__(self, horizon: int = 4):
        self.horizon = horizon

    def sample_task(self, key: tf.Tensor, split: str) -> ThermostatTask:
        draught = random.uniform(random.fold(key, 1), 0.1, 0.4)
        return ThermostatTask(self.ranges["comfort"].sample(random.fold(key, 0), split), draught)

    def reset(self, task: ThermostatTask, key: tf.Tensor) -> Room:
        return Room(random.uniform(key, -0.5, 0.5))

    def step(self, task: ThermostatTask, state: Room, actions: tf.Tensor, key: tf.Tensor) -> Transition:
        heating = tf.clip_by_value(actions[..., 0], -1.0, 1.0)
        warmth = (1.0 - task.draught) * state.warmth + 0.1 * heating
        reward = -tf.abs(warmth - task.comfort)
        return Transition(Room(warmth), reward, tf.zeros_like(reward, tf.bool))

    def observe(self, task: ThermostatTask, state: Room) -> tf.Tensor:
        return state.warmth[..., None]

    def references(self, tasks: ThermostatTask) -> dict[str, Reference]:
        return {"perfect": Reference(np.zeros(len(tasks.comfort)), "closed form: always comfortable")}

    @staticmethod
    def drawing(canvas: Any, task: Mapping[str, Any], trail: Any) -> None:
        dot(canvas, (100.0 + 50.0 * trail[-1][0], 100.0 + 50.0 * task["comfort"]), 9, INK)


NETWORK = {"hidden": [4], "initial_scale": 0.5}


def exported(models, name: str, learner_class: type):
    family = Thermostat()
    spaces = family.observation_space, family.action_space
    learner = learner_class(Policy(mlp(*spaces, **NETWORK, seed=7), *spaces), family)
    learned = {key: made_up_metadata()[key] for key in ("provenance",)}
    metadata = {"name": name, "network": NETWORK, "adapt": {"episodes": 2, "steps": 1, "tasks": 5}, **learned}
    return export(learner, models / name / "1", metadata)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A policy of the family and its baseline, evaluated: its card, what was recorded, and where it is."""
    models = tmp_path_factory.mktemp("models")
    names = {"family": Thermostat.name, "config": {}, "updates": 1, "episodes": 2, "evaluation_tasks": 5}
    presets = [Preset("maml_thermostat", "Rooms", algorithm="maml", steps=1, baselines=("dr_thermostat",), **names)]
    presets += [Preset("dr_thermostat", "All rooms alike", algorithm="domain_randomised", steps=0, **names)]
    with pytest.MonkeyPatch.context() as patch:
        without_xla(patch)
        point = EntryPoint("theirs", f"{__name__}:Thermostat", "metazoo.families")
        patch.setattr(plugins, "entry_points", lambda group: [point])
        families = registry.load_families()
        assert families["thermostat"] is Thermostat
        patch.setitem(registry.FAMILIES, "thermostat", Thermostat)
        patch.setitem(registry.IN_GRAPH, "thermostat", Thermostat)
        for preset in presets:
            patch.setitem(PRESETS, preset.name, preset)
        exported(models, "dr_thermostat", DomainRandomised)
        version = exported(models, "maml_thermostat", MAML)
        record.record(version)
        yield (version.parent / "README.md").read_text(), store.read_metadata(version), version


def test_the_card_says_what_the_family_says(recorded):
    card = recorded[0]
    assert "## Tasks\n\nHeat or cool a room." in card
    assert "| `comfort` | °C | −0.5 to 0.5 | −0.8 to −0.5, 0.5 to 0.8 |  |" in card
    assert re.search(r"\| `draught` \|  \| ~ 0\.1 to 0\.4 \| ~ 0\.1 to 0\.4 \| 0\.25 \|", card)
    assert "Rewards: −distance from comfort; " in card and "A good jumper does as well." in card
    assert "With episodes of 7 steps, after all adaptation" in card
    assert re.search(r"\| `perfect` \| 0\.00.* closed form: always comfortable \|", card)
    assert [row.sampled for row in range_rows(Thermostat())] == [False, True]


def test_it_is_evaluated_beside_every_kind_of_baseline(recorded):
    evaluation = recorded[1]["evaluation"]
    kinds = {"random", "dr_thermostat", "fine_tuning", "from_scratch", "perfect"}
    assert set(evaluation["baselines"]) == kinds
    assert evaluation["ood"]["split"] == "ood" and set(evaluation["at_horizon"]) == {"7"}
    assert {name: evaluation["baselines"][name]["step_size"] for name in Thermostat.gradient_rates} == {
        "fine_tuning": 0.02,
        "from_scratch": 0.5,
    }
    assert evaluation["baselines"]["perfect"]["mean"] == 0.0 > evaluation["curve"][-1]["mean"]
    assert (recorded[2].parent / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_filmed_and_rendered(recorded, tmp_path):
    film = video.film(recorded[2], tmp_path / "film.gif", episodes=2, steps=1)
    assert film.read_bytes().startswith(b"GIF")
    env = FamilyEnv("thermostat", {"comfort": 0.4})
    assert env.metadata["render_modes"] == gym_render.MODES
    assert env.task["comfort"] == pytest.approx(0.4) and env.task["draught"] == 0.25


@pytest.mark.slow
def test_experts_are_trained_by_its_own_recipe(recorded, tmp_path):
    directory = train_experts("thermostat", {}, 3, tmp_path / "experts")
    settings = (directory / "experts.json").read_text()
    assert '"updates": 2' in settings and '"gamma": 0.0' in settings and '"episodes": 2' in settings
    assert Recipe(**Thermostat.expert_recipe).learning_rate == Recipe().learning_rate


def test_its_original_is_measured_beside_the_first_family_that_varies_it(recorded, monkeypatch):
    assert gym_peers.make(Thermostat(), 2) is None, "the pendulum comes first"
    for name in ("pendulum", "pendulum_hidden"):
        monkeypatch.delitem(registry.FAMILIES, name)
    peer = gym_peers.make(Thermostat(), 2)
    peer.close()
    assert peer.env_id == gym.spec("Pendulum-v1").id
