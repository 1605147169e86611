"""store: versions, checksums and atomic publishing, with real crashes and real races."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from metazoo.artefact import signatures, store, whole
from tests import toy_policy


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return toy_policy.export_toy(tmp_path_factory.mktemp("models") / "toy" / "1")


@pytest.fixture
def toy(exported, tmp_path):
    return Path(shutil.copytree(exported, tmp_path / "toy" / "1"))


def some_memory(value=0.5):
    return np.full(toy_policy.SIZE, value, np.float32)


def test_versions_by_tf_serving_rules(tmp_path):
    for name in ("1", "00000012", "-3", "+4", "3.tmp", ".x", "tmp-3", "v5", "99999999999999999999", "\u0663"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file counts too")
    assert list(store.versions(tmp_path)) == [-3, 1, 4, 7, 12]
    assert store.latest(tmp_path).name == "00000012"


def test_two_names_for_one_number(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "01").mkdir()
    assert list(store.versions(tmp_path)) == [1]


def test_latest_of_nothing(tmp_path):
    with pytest.raises(store.StoreError, match="holds no version"):
        store.latest(tmp_path)
    with pytest.raises(store.StoreError, match="there is no directory"):
        store.latest(tmp_path / "none")


def test_published_version(toy, tmp_path):
    new = store.publish(toy, tmp_path / "adapted" / "toy-a", some_memory(), {"name": "toy-a", "adapted": {"task": "a"}})
    assert new == tmp_path / "adapted" / "toy-a" / "1"
    np.testing.assert_array_equal(store.read_memory(new), some_memory())
    metadata = store.read_metadata(new)
    assert metadata["name"] == "toy-a" and metadata["adapted"] == {"task": "a"}
    assert metadata["horizon"] == toy_policy.HORIZON
    assert (new / "saved_model.pb").read_bytes() == (toy / "saved_model.pb").read_bytes()
    assert (new / signatures.WARMUP_FILE).read_bytes() == (toy / signatures.WARMUP_FILE).read_bytes()
    assert not (new / "fingerprint.pb").exists() and (toy / "fingerprint.pb").exists()
    assert store.verify(new)
    assert [path.name for path in new.parent.iterdir()] == ["1"]
    assert new.stat().st_mode & 0o777 == 0o755


def test_both_loaders_run_the_published_memory(toy, tmp_path):
    memory = np.random.default_rng(1).normal(size=toy_policy.SIZE).astype(np.float32)
    new = store.publish(toy, tmp_path / "out", memory, {})
    inputs = toy_policy.example_inputs("act", rows=3)["observations"]
    expected = inputs @ memory[:8].reshape(4, 2) + memory[8:10]
    loaded = tf.saved_model.load(str(new)).signatures["act"](observations=tf.constant(inputs))
    np.testing.assert_allclose(loaded["logits"], expected, rtol=1e-5)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(new))
        act = graph.signature_def["act"]
        logits = session.run(act.outputs["logits"].name, {act.inputs["observations"].name: inputs})
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_only_the_memory_changes_in_the_checkpoint(toy, tmp_path):
    new = store.publish(toy, tmp_path / "out", some_memory(), {})
    before, after = (tf.train.load_checkpoint(str(path / "variables" / "variables")) for path in (toy, new))
    shapes = before.get_variable_to_shape_map()
    assert shapes == after.get_variable_to_shape_map() and len(shapes) > 1
    for key in shapes:
        same = np.array_equal(before.get_tensor(key), after.get_tensor(key))
        assert same == (key != signatures.MEMORY_CHECKPOINT_KEY)


def test_publishing_again_counts_up_and_a_published_policy_can_be_a_parent(toy, tmp_path):
    base = tmp_path / "out"
    first = store.publish(toy, base, some_memory(1), {})
    (base / "00000007").mkdir()
    second = store.publish(first, base, some_memory(2), {})
    assert (first.name, second.name) == ("1", "8")


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (np.zeros(3), r"shape \[3\]: this policy needs \[11\]"),
        (np.zeros((1, toy_policy.SIZE)), r"shape \[1, 11\]"),
        (np.where(np.arange(toy_policy.SIZE) == 4, np.nan, 0.0), "holds nan at 4"),
    ],
)
def test_bad_memory_is_refused_and_leaves_nothing(toy, tmp_path, memory, message):
    with pytest.raises(store.StoreError, match=message):
        store.publish(toy, tmp_path / "out", memory, {})
    assert not (tmp_path / "out").exists()


def test_bad_parents_are_refused(toy, tmp_path):
    shutil.copytree(toy, tmp_path / "foreign")
    (tmp_path / "foreign" / signatures.METADATA_FILE).unlink()
    with pytest.raises(store.StoreError, match="not a policy"):
        store.publish(tmp_path / "foreign", tmp_path / "out", some_memory(), {})
    (toy / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(store.CorruptedError, match="cannot be read"):
        store.publish(toy, tmp_path / "out", some_memory(), {})
    shutil.rmtree(toy / "variables")
    with pytest.raises(store.StoreError, match="not a complete SavedModel"):
        store.publish(toy, tmp_path / "out", some_memory(), {})


def test_a_full_disk_leaves_nothing(toy, tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(whole, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.publish(toy, tmp_path / "out", some_memory(), {})
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.data-00000-of-00001", signatures.METADATA_FILE]
)
def test_checksums_find_a_changed_and_a_missing_file(toy, name):
    assert store.verify(toy)
    data = bytearray((toy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (toy / name).write_bytes(data)
    with pytest.raises(store.CorruptedError, match=f"is corrupted: {name} has SHA-256"):
        store.verify(toy)
    (toy / name).unlink()
    with pytest.raises(store.CorruptedError, match=f"is corrupted: {name} is missing"):
        store.verify(toy)


REPLACING = """
import os, signal, sys
from metazoo.artefact import store, version as version_files

toy, moment = sys.argv[1], int(sys.argv[2])
calls = 0
def counted(real):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call
for name in ("replace", "fsync"):
    setattr(os, name, counted(getattr(os, name)))
version_files.Path.write_bytes = counted(version_files.Path.write_bytes)
store.replace_metadata(toy, {**store.read_metadata(toy), "evaluation": {"made": moment}})
"""


def test_replacing_metadata_survives_kill_9_at_every_step(toy):
    """Killed before each of its changes of the disk in turn: the version is whole, with the old figures or the new."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    old, killed = store.read_metadata(toy)["evaluation"], 0
    for moment in range(1, 20):
        command = [sys.executable, "-c", REPLACING, str(toy), str(moment)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert store.verify(toy), moment
        found = store.read_metadata(toy)["evaluation"]
        assert found in (old, {"made": moment})
        old = found
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        killed += 1
    assert killed >= 6 and found == {"made": moment}
    left = {path.name for path in (toy / "assets.extra").iterdir()}
    assert left == {"SHA256SUMS", "metazoo.json", "tf_serving_warmup_requests"}


def test_replacing_metadata_of_a_corrupted_version_is_refused(toy):
    (toy / "saved_model.pb").write_bytes(b"else")
    with pytest.raises(store.CorruptedError, match="saved_model.pb has SHA-256"):
        store.replace_metadata(toy, {})


def test_variables_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="the variables cannot be written") as caught:
        store.write_checkpoint(tmp_path / "file" / "variables", {"a": np.zeros(3)})
    assert "file/variables" in str(caught.value) and "\n" not in str(caught.value)


def test_checksums_are_those_of_sha256sum(toy):
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    subprocess.run(["sha256sum", "--quiet", "-c", signatures.CHECKSUMS_FILE], cwd=toy, check=True)


def test_no_checksums_and_bad_checksums(toy):
    (toy / signatures.CHECKSUMS_FILE).write_text("nonsense\n")
    with pytest.raises(store.CorruptedError, match="has the line 'nonsense'"):
        store.verify(toy)
    (toy / signatures.CHECKSUMS_FILE).write_text("0" * 64 + "  ../../etc/passwd\n")
    with pytest.raises(store.CorruptedError, match="has the line"):
        store.verify(toy)
    (toy / signatures.CHECKSUMS_FILE).unlink()
    assert store.verify(toy) is False


def test_metadata_must_be_a_json_object(toy):
    (toy / signatures.METADATA_FILE).write_text("{")
    with pytest.raises(store.CorruptedError, match="not valid JSON"):
        store.read_metadata(toy)
    (toy / signatures.METADATA_FILE).write_text("[]")
    with pytest.raises(store.CorruptedError, match="must hold a JSON object"):
        store.read_metadata(toy)


def test_prune_keeps_the_newest_and_clears_crashed_publishers(toy, tmp_path):
    base = tmp_path / "out"
    for value in range(4):
        store.publish(toy, base, some_memory(value), {})
    old, young = base / ".unfinished-old", base / ".unfinished-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (0, 0))
    removed = store.prune(base, keep=2)
    assert [path.name for path in removed] == ["1", "2"]
    assert sorted(path.name for path in base.iterdir()) == [".unfinished-young", "3", "4"]
    with pytest.raises(store.StoreError, match="keep is 0"):
        store.prune(base, keep=0)


def test_prune_spares_what_a_server_may_still_be_loading(toy, tmp_path):
    base = tmp_path / "out"
    for value in range(5):
        store.publish(toy, base, some_memory(value), {})
    assert store.prune(base, keep=1, live=3) == [base / "1", base / "2"]
    for version in ("3", "4"):
        os.utime(base / version, (0, 0))
    assert store.prune(base, keep=1, grace_seconds=60) == [base / "3"]  # 4 is what a server may run until it has 5
    assert list(store.versions(base)) == [4, 5]
    os.utime(base / "5", (0, 0))
    assert store.prune(base, keep=1, grace_seconds=60) == [base / "4"]


def test_a_retired_model_is_on_no_list_and_its_files_stay(toy, tmp_path):
    base = tmp_path / "out" / "a"
    for value in range(2):
        store.publish(toy, base, some_memory(value), {})
    store.retire(base)
    assert store.versions(base) == {} and (base / "2" / "saved_model.pb").is_file()
    with pytest.raises(store.StoreError, match="holds no version"):
        store.latest(base)
    assert store.discard_retired(base.parent, 60) == []
    store.unretire(base)
    assert list(store.versions(base)) == [1, 2]
    store.retire(base)
    assert store.publish(toy, base, some_memory(2), {}).name == "3"  # servers may still know 1 and 2
    assert max(store.versions(base)) == 3 and store.retired(base.parent) == {}
    store.retire(base)
    assert list(store.retired(base.parent)) == [base]
    os.utime(base / ".retired", (0, 0))
    assert store.discard_retired(base.parent, 60) == [base] and not base.exists()
    with pytest.raises(FileNotFoundError):
        store.retire(base)


def test_delete_model(toy, tmp_path):
    store.publish(toy, tmp_path / "out", some_memory(), {})
    store.delete_model(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    with pytest.raises(FileNotFoundError):
        store.delete_model(tmp_path / "out")


def test_two_publishers_never_share_a_version(toy, tmp_path):
    base, results, errors = tmp_path / "out", {}, []

    def run(offset):
        try:
            for index in range(8):
                value = offset + index
                results[value] = store.publish(toy, base, some_memory(value), {})
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(offset,)) for offset in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(int(path.name) for path in results.values()) == list(range(1, 25))
    for value, path in results.items():
        assert store.read_memory(path)[0] == value and store.verify(path)


KILLED = """
import os, signal, sys
import numpy as np
import tensorflow  # once, before the forks; it starts no threads until its first operation
from metazoo.artefact import store

toy, base, moments = sys.argv[1:]
for moment in map(int, moments.split(",")):
    if os.fork():
        assert os.waitstatus_to_exitcode(os.wait()[1]) in (-signal.SIGKILL, 7)
        continue
    calls = 0
    def counted(real):
        def call(*args, **kwargs):
            global calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call
    # every system call by which publish changes the disk, and the writes of the checkpoint
    for name in ("mkdir", "rename", "fsync", "chmod"):
        setattr(os, name, counted(getattr(os, name)))
    store.shutil.copyfile = counted(store.shutil.copyfile)
    store.write_checksums = counted(store.write_checksums)
    store.write_checkpoint = counted(store.write_checkpoint)
    store.publish(toy, base, np.full(11, 2, np.float32), {})
    os._exit(7)
"""


def test_kill_9_leaves_the_old_state_or_the_new_one(toy, tmp_path):
    """A publisher is killed before each of its changes of the disk in turn, until one run survives to the end."""
    base = tmp_path / "out"
    store.publish(toy, base, some_memory(1), {})
    moments = ",".join(map(str, range(1, 33)))
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", KILLED, str(toy), str(base), moments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = store.versions(base)
    assert len(list(base.glob(".unfinished-*"))) >= 8  # crashes before the rename: invisible to every server
    assert len(found) >= 3  # crashes after it, and completed runs
    for number, path in found.items():
        assert store.verify(path)
        assert store.read_memory(path)[0] == (1 if number == 1 else 2)
    again = store.publish(toy, base, some_memory(3), {})
    assert int(again.name) == max(found) + 1


def test_importing_the_store_is_cheap():
    code = "import sys, metazoo.artefact.store; sys.exit('tensorflow' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_metadata_is_readable_json(toy):
    text = (toy / signatures.METADATA_FILE).read_text()
    assert json.loads(text)["memory"]["size"] == toy_policy.SIZE and text.endswith("\n")
