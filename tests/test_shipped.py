"""The policies that come along: whole, described, quick to load, and as good as their cards say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from metazoo import random, savedmodels_directory
from metazoo.artefact import signatures, store
from metazoo.cards.card import card_of
from metazoo.evaluation import judging_player
from metazoo.hub import index, listing
from metazoo.presets.registry import PRESETS
from metazoo.pretrained import family_of, load
from metazoo.tasks.host_family import HostFamily

ROOT = Path(__file__).parents[1]
SAVED = savedmodels_directory()
SHIPPED = {name: path for name, path in listing.policies(SAVED).items() if (path.parent / "README.md").is_file()}
MAX_BYTES, MAX_BYTES_IN_ALL = 8_000_000, 60_000_000
LOAD_SECONDS = 1.0

ENV_STEPS, HOST_ENV_STEPS = 160_000, 20_000
"""Played to check a card; the tasks are as many as this allows, from the first of the card's own."""
MOST_TASKS = 1000
NOT_SHIPPED = {
    "maml_pendulum_dynamics",
    "anil_pendulum_dynamics",
    "rebal_pendulum_dynamics",
    "pooled_pendulum_dynamics",
    "maml_cartpole_dynamics",
    "anil_cartpole_dynamics",
    "rebal_cartpole_dynamics",
    "pooled_cartpole_dynamics",
    "maml_half_cheetah_dynamics",
    "anil_half_cheetah_dynamics",
    "rebal_half_cheetah_dynamics",
    "pooled_half_cheetah_dynamics",
    "mpc_pendulum",
    "maml_glyphs",
    "anil_glyphs",
    "finetuned_glyphs",
    "fomaml_glyphs",
    "maml_glyphs_k5",
    "maml_omniglot",
    "metasgd_glyphs",
    "proto_glyphs",
    "proto_omniglot",
    "proto_omniglot_w20",
    "reptile_glyphs",
    "rl2_bandit_k50_n100",
    "rl2_darkroom",
    "rl2_pendulum_hidden",
    "rl2_metaworld_reach",
    "rl2_metaworld_push",
    "rl2_metaworld_door_open",
    "rl2_metaworld_button_press",
    "maml_metaworld_reach",
    "rl2_ml10",
    "maml_ml10",
    "dr_metaworld_reach",
    "dr_metaworld_push",
    "dr_metaworld_door_open",
    "dr_metaworld_drawer_close",
    "dr_metaworld_button_press",
    "dr_ml10",
}
"""Presets whose policies are not good enough (see ``docs/algorithms/rl2.md``), or that were not trained yet."""
DEVIATIONS = 4.5
"""How many standard errors the mean over some of the card's tasks may lie from the card's: never by chance."""

shipped = pytest.mark.parametrize("name", SHIPPED)


def test_there_are_policies():
    assert len(SHIPPED) >= 18 and set(PRESETS) - set(SHIPPED) == NOT_SHIPPED


@shipped
def test_it_was_trained_as_its_preset_says(name):
    """Its settings, and the command on its card, which must not depend on a default that may change."""
    preset, metadata = PRESETS[name], store.read_metadata(SHIPPED[name])
    assert metadata["family"] == preset.family and metadata["algorithm"] == preset.algorithm
    assert metadata["family_args"] == preset.family_args and metadata["provenance"]["updates"] == preset.updates
    assert metadata["provenance"]["seed"] == preset.seed
    settings = {key: metadata["config"][key] for key in preset.config if key in metadata["config"]}
    assert settings == preset.config
    for key, value in preset.config.items():
        assert f"--set {key}={value}" in metadata["provenance"]["command"]


@shipped
def test_its_files_are_whole_and_few(name):
    assert store.verify(SHIPPED[name])
    assert index.of_version(SHIPPED[name]).bytes < MAX_BYTES


def test_all_together_are_small():
    assert sum(index.of_version(path).bytes for path in SHIPPED.values()) < MAX_BYTES_IN_ALL


@shipped
def test_its_card_is_what_its_metadata_says(name):
    """Cards are generated: ``python -m metazoo.cards.card savedmodels/NAME`` writes one."""
    metadata = store.read_metadata(SHIPPED[name])
    text = (SHIPPED[name].parent / "README.md").read_text(encoding="utf-8")
    assert text == card_of(SHIPPED[name].parent, metadata, metadata["evaluation"])
    assert (SHIPPED[name].parent / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert {"seed", "updates", "command", "evaluate_command", "seconds", "versions", "hardware"} <= set(
        metadata["provenance"]
    )
    tasks = metadata["evaluation"]["tasks"]
    assert tasks >= 100 and metadata["evaluation"].get("ood", {"tasks": tasks})["tasks"] == tasks
    assert ("ood" in metadata["evaluation"]) == family_of(metadata).out_of_range


def test_the_index_names_their_files():
    """``python -m metazoo.hub.index savedmodels`` writes it."""
    named = index.parse((SAVED / index.FILE).read_bytes(), "savedmodels/index.json")
    there = index.build(SAVED)
    assert set(SHIPPED) <= set(named)
    assert {name: named[name] for name in SHIPPED} == {name: there[name] for name in SHIPPED}


@shipped
def test_it_knows_the_rewards_of_its_training(name):
    """All but those of supervised families, which have no rewards."""
    metadata = store.read_metadata(SHIPPED[name])
    assert ("rewards" in metadata) != bool(metadata.get("supervised"))


@shipped
def test_the_number_of_its_weights_is_listed(name):
    """The values in its checkpoint: fast weights are its memory, beside a counter of steps; all others are apart."""
    shapes = tf.train.load_checkpoint(str(SHIPPED[name] / "variables" / "variables")).get_variable_to_shape_map()
    sizes = {key: int(np.prod(shape)) for key, shape in shapes.items()}
    apart = sum(size for key, size in sizes.items() if key.startswith("parameters/"))
    metadata = store.read_metadata(SHIPPED[name])
    fast = metadata["memory"]["kind"] == "fast_weights"
    assert (
        listing.summary(metadata)["parameters"] == (sizes[signatures.MEMORY_CHECKPOINT_KEY] - 1 if fast else apart) > 0
    )


# --- as good as their cards say -------------------------------------------------------------------------------------


def replay(name: str, every_step: bool) -> None:
    """Plays the first of the card's tasks, with its seed, and compares the means with the card's.

    The tolerance is that of a sample of n of the card's N tasks, whose standard deviation follows from the card's own
    interval. Off by more is a policy, a family or an evaluation that has changed.
    """
    policy = load(SHIPPED[name])
    card, trained, family = policy.metadata["evaluation"], policy.metadata["adapt"], family_of(policy.metadata)
    assert card, "nothing is recorded: metazoo evaluate NAME --record"
    if isinstance(family, HostFamily):
        pytest.importorskip("mujoco")
    steps = trained["steps"] if every_step else min(1, trained["steps"])
    per_task = trained["episodes"] * (steps + 1) * family.horizon
    budget = (HOST_ENV_STEPS if isinstance(family, HostFamily) else ENV_STEPS) * (5 if every_step else 1)
    count = min(MOST_TASKS, card["tasks"] // 2, max(4, budget // per_task))
    play = judging_player(policy.agent(), family, trained["episodes"], steps, card["deterministic"])
    if not isinstance(family, HostFamily):
        play = tf.function(play.python_function, autograph=False)  # XLA would compile longer than this plays
    keys = random.fold(random.fold(random.key(card["seed"]), 1), tf.range(count))
    tasks = family.sample(count, card["split"], card["seed"])
    played = play(tasks, keys)[0].numpy()
    per_task = (-played if family.supervised else played).mean(2)
    points = card["curve"][: len(per_task)]
    assert len(points) == len(per_task) and count >= 4
    for point, found in zip(points, per_task, strict=True):
        for part, of, where in parts(point, card["tasks"], tasks):
            low, high = part["ci95"]
            spread = (high - low) / (2 * 1.96) * np.sqrt(of)
            allowed = DEVIATIONS * spread * np.sqrt(1 / where.sum() - 1 / of)
            assert abs(found[where].mean() - part["mean"]) <= allowed, (part, found[where], count)


def parts(point, count, tasks):
    """What an interval of the card is about: (figures, tasks on the card, which of ``tasks``). Where there are few
    distinct tasks, intervals are drawn within each, so each is compared by itself."""
    if "by_task" not in point:
        return [(point, count, np.ones(len(tasks[0]), bool))]
    found = [
        (
            one,
            one["tasks"],
            np.all([np.asarray(getattr(tasks, name)) == value for name, value in one["task"].items()], 0),
        )
        for one in point["by_task"]
    ]
    return [part for part in found if part[2].any()]


QUICK = {
    "distilled_cartpole_tiny", "dr_cartpole", "maml_cartpole_goal", "maml_half_cheetah_dir", "maml_sinusoid",
    "metasgd_cartpole", "oracle_cartpole_goal", "promp_navigation", "reptile_navigation", "rl2_bandit_k5_n10",
    "rl2_mdp_n10", "rl2_pendulum",
}  # fmt: skip
"""Of every algorithm and family one; the others are slow tests."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SHIPPED]
)
def test_its_figures_before_and_after_a_step_come_out_again(name):
    replay(name, every_step=False)


@pytest.mark.slow
@shipped
def test_its_whole_curve_comes_out_again(name):
    replay(name, every_step=True)


def test_a_policy_that_is_worse_than_its_card_is_found(monkeypatch):
    """The figures before adapting stand in the place of those after it."""
    name = "metasgd_cartpole"
    metadata = store.read_metadata(SHIPPED[name])
    curve = metadata["evaluation"]["curve"]
    curve[1] = {**curve[0], "steps": 1}
    worse = json.loads(json.dumps(metadata))
    monkeypatch.setattr(store, "read_metadata", lambda path: worse)
    with pytest.raises(AssertionError):
        replay(name, every_step=False)


# --- quick to load --------------------------------------------------------------------------------------------------

LOADING = """
import json, os, resource, sys, time
import tensorflow as tf  # its first operation starts threads: every policy gets a process forked before that

def seconds(load):
    usage = resource.getrusage(resource.RUSAGE_SELF)
    begun, start = usage.ru_utime + usage.ru_stime, time.perf_counter()
    load()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime - begun, time.perf_counter() - start

def by_session(path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.saved_model.load(session, ["serve"], path)

def by_name(path):
    import metazoo
    metazoo.load(path)

for path in sys.argv[1:]:
    if os.fork() == 0:
        for load in (by_name, by_session):
            cpu, wall = seconds(lambda: load(path))
            print(json.dumps([load.__name__, path, cpu, wall]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


def loaded(paths):
    """What loading took in a fresh process each: ``[road, policy, seconds of the processor, seconds of the clock]``."""
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOADING, *paths]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2 * len(paths)
    return rows


def some_of_each_kind():
    """The largest graph of each algorithm."""
    size = {name: (path / "saved_model.pb").stat().st_size for name, path in SHIPPED.items()}
    by_algorithm = {PRESETS[name].algorithm: name for name in sorted(size, key=size.get)}
    return list(by_algorithm.values())


@pytest.mark.parametrize(
    "names", [some_of_each_kind(), pytest.param(list(SHIPPED), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_each_loads_within_a_second_after_tensorflow_s_import(names):
    """Through TF Serving's own road and through ``metazoo.load``: the best of three times of the processor."""
    slow = {str(SHIPPED[name].relative_to(ROOT)) for name in names}
    for _ in range(3):
        rows = loaded(sorted(slow))
        slow = {path for _, path, cpu, _ in rows if cpu > LOAD_SECONDS}
        if not slow:
            return
    raise AssertionError([row for row in rows if row[1] in slow])
