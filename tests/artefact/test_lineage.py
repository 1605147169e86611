"""Adapted policies: names, owners and history, decided in one place for every road."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import metazoo
from metazoo.artefact import lineage, locks, store
from metazoo.artefact.lineage import Parent
from metazoo.types import Episodes
from tests import toy_policy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return toy_policy.export_toy(tmp_path_factory.mktemp("exported") / "toy" / "1")


def parent(tmp_path, name="toy", version=1, **adapted):
    """A policy in ``tmp_path``, which need not exist to be named."""
    metadata = {**toy_policy.METADATA, "name": name, **({"adapted": adapted} if adapted else {})}
    return Parent(name, version, tmp_path / name / str(version), metadata)


def episodes():
    inputs = toy_policy.example_inputs("adapt")
    return Episodes(**{name: value for name, value in inputs.items() if name != "memory"})


# --- names -------------------------------------------------------------------------------------------------------


def test_a_pretrained_policy_becomes_one_of_its_task(tmp_path):
    name, record = lineage.target(parent(tmp_path, version=7), "race", tmp_path)
    assert name == "toy-race"
    assert record == {"from": "toy", "from_version": 7, "task": "race", "steps": 0, "episodes": 0}


@pytest.mark.parametrize("task", [None, "race"])
def test_an_adapted_policy_takes_its_next_step_under_its_own_task(tmp_path, task):
    made = {"from": "toy", "from_version": 1, "task": "race", "steps": 2, "episodes": 9, "last_episodes": 4}
    before = parent(tmp_path, "toy-race", 2, **made, request={"key": "k"})
    assert lineage.target(before, task, tmp_path) == ("toy-race", made)


def test_another_task_or_another_place_makes_another_policy(tmp_path):
    before = parent(tmp_path, "toy-race", 2, **{"from": "toy"}, task="race", steps=2, episodes=9)
    name, record = lineage.target(before, "slow", tmp_path)
    assert name == "toy-race-slow" and (record["from"], record["steps"]) == ("toy-race", 0)
    assert lineage.target(before, "race", tmp_path / "elsewhere").name == "toy-race-race"
    with pytest.raises(lineage.BadNameError, match='toy-race was adapted elsewhere: a "task" is needed'):
        lineage.target(before, None, tmp_path / "elsewhere")


@pytest.mark.parametrize("task", ["", ".", "-a", "../x", "a/b", "a b", "a" * 65, "größe", "a\n", "\U0001f600", 3])
def test_what_is_no_task(tmp_path, task):
    with pytest.raises(lineage.BadNameError, match="is not a name"):
        lineage.target(parent(tmp_path), task, tmp_path)


def test_any_label_can_be_made_a_task():
    for label in ("CartPole-v1", "a b/c", "größe", "-_.x", "", "\U0001f600", "a" * 300):
        lineage.check_task_name(lineage.task_name_of(label))
    assert lineage.task_name_of("ns/Cart Pole") == "ns-Cart-Pole" and lineage.task_name_of("!") == "task"


def test_names_are_long_enough_for_a_file_system_and_no_longer(tmp_path):
    longest = parent(tmp_path, "t" * 198)
    assert len(lineage.target(longest, "a", tmp_path).name) == 200
    with locks.held(tmp_path, "t" * 200), pytest.raises(lineage.BadNameError, match="use up to 200 letters"):
        lineage.target(longest, "ab", tmp_path)


def test_a_name_that_something_else_has_is_refused(exported, tmp_path):
    """``toy-a`` for ``b`` and ``toy`` for ``a-b`` would be one name; so would a foreign model's."""
    policy = metazoo.load(exported)
    policy.adapt(episodes()).publish(tmp_path, "a")
    metazoo.load(tmp_path / "toy-a").adapt(episodes()).publish(tmp_path, "b")
    with pytest.raises(lineage.TakenError, match="There is a model toy-a-b that was not adapted from toy"):
        policy.publish(tmp_path, "a-b")
    (tmp_path / "toy-mine" / "1").mkdir(parents=True)
    with pytest.raises(lineage.TakenError, match="There is a model toy-mine"):
        policy.publish(tmp_path, "mine")
    assert policy.publish(tmp_path, "toy").parent.name == "toy-toy"


# --- records -----------------------------------------------------------------------------------------------------


def test_episodes_are_counted_in_all_and_for_the_latest_step():
    record = {"from": "toy", "from_version": 1, "steps": 0, "episodes": 0}
    for count in (3, 5):
        record = lineage.with_step(record, count, {"loss": 0.5, "kl": 0.1})
    assert (record["steps"], record["episodes"], record["last_episodes"]) == (2, 8, 5)


BY_PYTHON = {"from": "toy", "from_version": 1, "episodes": 5, "steps": 3, "diagnostics": {}, "task": "a"}
BY_A_SERVER = {"from": "toy", "from_version": 1, "task": "a", "episodes": 15, "steps": 3, "diagnostics": {}}


@pytest.mark.parametrize("older", [BY_PYTHON, BY_A_SERVER], ids=["python", "server"])
def test_what_older_versions_say_is_still_read(older):
    """Python counted the episodes of one step, and wrote the task last; the server counted all."""
    found = lineage.record({"name": "toy-a", "adapted": older})
    assert (found["episodes"], found["steps"], found["last_episodes"]) == (15, 3, None)


def test_a_record_without_fields_is_still_one():
    found = lineage.record({"name": "toy-a", "adapted": {"task": "a"}})
    assert found == {"from": "toy", "from_version": None, "task": "a", "steps": 0, "episodes": 0, "last_episodes": None}
    assert lineage.record({"name": "toy"}) is None and lineage.record({"name": "toy", "adapted": None}) is None


def test_python_counts_as_a_server_does(exported, tmp_path):
    """Steps made in one process or in several, published in between or not: the same record."""
    adapted = metazoo.load(exported).adapt(episodes()).adapt(episodes())
    path = adapted.publish(tmp_path, "a")
    again = metazoo.load(path).adapt(episodes()).publish(tmp_path)
    assert again == tmp_path / "toy-a" / "2"
    record = store.read_metadata(again)["adapted"]
    assert (record["from"], record["task"], record["steps"], record["episodes"]) == ("toy", "a", 3, 6)
    assert record["last_episodes"] == 2 and set(record["diagnostics"]) == {
        "loss", "kl", "log_prob", "expected_log_prob",
    }  # fmt: skip
    assert store.read_memory(again)[-1] == 3


def test_what_was_not_adapted_is_copied_with_its_record(exported, tmp_path):
    path = metazoo.load(exported).adapt(episodes()).publish(tmp_path, "a")
    copy = metazoo.load(path).publish(tmp_path / "elsewhere")
    assert copy == tmp_path / "elsewhere" / "toy-a" / "1"
    assert store.read_metadata(copy) == store.read_metadata(path)
    assert metazoo.load(path).publish(tmp_path, "b").parent.name == "toy-b"


def test_a_policy_whose_files_are_gone_says_so(exported, tmp_path):
    policy = metazoo.load(metazoo.load(exported).publish(tmp_path, "a")).adapt(episodes())
    store.delete_model(tmp_path / "toy-a")
    with pytest.raises(store.StoreError, match="is there no longer, it was pruned or deleted: load the policy again"):
        policy.publish(tmp_path, "b")
    assert not list(tmp_path.iterdir())


# --- memories ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, 3e38, -1e19])
def test_a_memory_that_cannot_be_computed_with_is_never_published(exported, tmp_path, value):
    policy = metazoo.load(exported)
    policy.memory = policy.memory.astype(np.float64)
    policy.memory[3] = value
    with pytest.raises(lineage.LineageError, match="at 3: need finite values of at most 1e"):
        policy.publish(tmp_path, "a")
    assert not list(tmp_path.rglob("1"))


def test_a_memory_beyond_float32_is_no_finite_one(exported, tmp_path):
    memory = np.full(toy_policy.SIZE, 1e300)
    with pytest.raises(store.StoreError, match="holds 1e.300 at 0: only finite float32 values"):
        store.publish(exported, tmp_path, memory, {})


# --- what killed processes leave ---------------------------------------------------------------------------------


def test_what_was_left_is_swept_and_what_is_worked_on_is_not(exported, tmp_path):
    (tmp_path / ".unfinished-left" / "variables").mkdir(parents=True)
    entered, go = threading.Event(), threading.Event()

    def work():
        with store.temporary(tmp_path):
            entered.set()
            assert go.wait(20)

    worker = threading.Thread(target=work)
    worker.start()
    assert entered.wait(20)
    (mine,) = (path for path in store.unfinished(tmp_path) if path.name != ".unfinished-left")
    os.utime(mine, (1, 1))  # even if it takes for ever
    store.sweep(tmp_path)
    assert store.unfinished(tmp_path) == [mine]
    go.set()
    worker.join()
    assert not store.unfinished(tmp_path)


def test_another_process_at_work_is_spared_until_it_is_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from metazoo.artefact import store\n"
        "with store.temporary(Path(sys.argv[1])):\n    print('at work', flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert worker.stdout.readline() == "at work\n"
    store.sweep(tmp_path)
    assert len(store.unfinished(tmp_path)) == 1
    worker.kill()
    worker.wait()
    worker.stdout.close()
    store.sweep(tmp_path)
    assert not store.unfinished(tmp_path)


def test_deleting_and_bringing_back_do_not_meet(exported, tmp_path):
    path = metazoo.load(exported).publish(tmp_path, "a")
    assert not lineage.discard(tmp_path, "toy-a")  # it is not retired
    store.retire(path.parent)
    with lineage.changing(tmp_path, "toy-a"):
        assert not lineage.discard(tmp_path, "toy-a")  # somebody is about to publish it anew
    assert lineage.discard(tmp_path, "toy-a") and not list(tmp_path.iterdir())
