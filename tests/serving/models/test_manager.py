"""Which versions are loaded: policies, retries, caches, and what cannot be loaded at all."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from metazoo.artefact import signatures, store
from serving.engine import saved_model
from serving.engine.batch_parameters import Limits
from serving.engine.program import Program
from serving.engine.servable import Loader
from serving.errors import Code, ServingError, State
from serving.models.manager import Manager
from serving.models.sources import ModelConfig, VersionCache, VersionPolicy, find, scan
from tests import toy_policy
from tests.serving.conftest import copy_version


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy(), [3]),
        (VersionPolicy(latest=2), [2, 3]),
        (VersionPolicy(latest=0), [3]),
        (VersionPolicy(latest=None), [1, 2, 3]),
        (VersionPolicy(specific=(1, 9)), [1]),
    ],
)
def test_version_policies(models, policy, expected):
    for number in (2, 3):
        copy_version(models / "toy" / "1", models / "toy" / str(number))
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy", policy, {"stable": 1, "gone": 8})})
    manager.refresh()
    loaded = [line.version for line in manager.status("toy") if line.state is State.AVAILABLE]
    assert loaded == expected[::-1]
    assert manager.lookup("toy").version == expected[-1]
    if 1 in expected:
        assert manager.lookup("toy", label="stable").version == 1
    with pytest.raises(ServingError, match="Unrecognized servable version label: gone"):
        manager.lookup("toy", label="gone")


def test_one_model_is_found_as_among_all(tmp_path):
    for path in ("a/toy/1", "a/both/1", "b/both/2", "b/adapted/3", "a/.hidden/1", "a/empty", "b/toy/7"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "saved_model.pb").touch()
    directories = tmp_path / "a", None, tmp_path / "b"
    everything = scan(*directories)
    assert sorted(everything) == ["adapted", "both", "toy"]
    for name in [*everything, ".hidden", "empty", "missing", "../a/toy", "toy/1", ""]:
        assert find(name, *directories) == everything.get(name)
    with pytest.raises(OSError, match="missing"):
        find("toy", tmp_path / "missing")


def test_the_version_cache_sees_every_change(tmp_path):
    """Whatever is created or deleted, however fast, the cache gives what the directory holds."""
    cache = VersionCache()
    for number in range(1, 200):
        (tmp_path / str(number)).mkdir()
        assert cache(tmp_path) == store.versions(tmp_path)
        if number % 3 == 0:
            (tmp_path / str(number)).rmdir()
            assert cache(tmp_path) == store.versions(tmp_path)
    with pytest.raises(FileNotFoundError):
        cache(tmp_path / "none")


def test_the_version_cache_lists_settled_directories_once(tmp_path, monkeypatch):
    (tmp_path / "1").mkdir()
    os.utime(tmp_path, (1, 1))
    calls = []
    real = store.versions
    monkeypatch.setattr(store, "versions", lambda path: calls.append(path) or real(path))
    cache = VersionCache()
    assert [list(cache(tmp_path)) for _ in range(3)] == [[1]] * 3 and len(calls) == 1
    (tmp_path / "2").mkdir()
    assert list(cache(tmp_path)) == [1, 2]


class Flaky:
    """A loader that fails the given number of times for each version but the first."""

    def __init__(self, failures):
        self.failures, self.tries = failures, 0

    def __call__(self, name, version, path):
        if version > 1:
            self.tries += 1
            if self.tries <= self.failures:
                raise ServingError(Code.UNAVAILABLE, f"try {self.tries}")
        return Loader()(name, version, path)


def test_a_failing_load_is_tried_again(models):
    load = Flaky(2)
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")}, load=load, load_retries=2, retry_seconds=0)
    manager.refresh()
    copy_version(models / "toy" / "1", models / "toy" / "2")
    for expected in ("LOADING", "LOADING", "AVAILABLE", "AVAILABLE"):
        manager.refresh()
        assert manager.status("toy")[0].state.name == expected
        assert manager.lookup("toy").version == (2 if expected == "AVAILABLE" else 1)
    assert load.tries == 3


def test_retries_end_and_wait_their_time(models):
    load = Flaky(99)
    copy_version(models / "toy" / "1", models / "toy" / "2")
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")}, load=load, load_retries=1, retry_seconds=3600)
    for _ in range(3):
        manager.refresh()
    assert load.tries == 1 and manager.status("toy")[0].state is State.LOADING
    manager._models["toy"].versions[2].retry_at = 0
    for _ in range(3):
        manager.refresh()
    (line,) = manager.status("toy")
    assert load.tries == 2 and line.state is State.END and line.error.message == "try 2"


def test_the_old_version_serves_on_even_if_its_files_are_gone(models):
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")}, load=Flaky(99))
    manager.refresh()
    copy_version(models / "toy" / "1", models / "toy" / "2")
    store.delete_version(models / "toy" / "1")
    manager.refresh()
    assert manager.lookup("toy").version == 1


def test_a_version_deleted_while_it_is_loaded_may_come_again(models):
    """Another server on the same store may delete it just then, and publish again under the same number."""
    deleting = True

    def load(name, version, path):
        if version > 1 and deleting:
            (path / "saved_model.pb").unlink()
            try:
                return Loader()(name, version, path)
            finally:
                store.delete_version(path)
        return Loader()(name, version, path)

    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")}, load=load)
    manager.refresh()
    copy_version(models / "toy" / "1", models / "toy" / "2")
    manager.refresh()
    assert [line.version for line in manager.status("toy")] == [1] and manager.lookup("toy").version == 1
    deleting = False
    copy_version(models / "toy" / "1", models / "toy" / "2")
    manager.refresh()
    assert manager.lookup("toy").version == 2


# --- what cannot be loaded --------------------------------------------------------------------------------------


def test_not_a_saved_model(tmp_path):
    with pytest.raises(ServingError, match="does not appear to contain a SavedModel bundle") as caught:
        saved_model.load(tmp_path)
    assert caught.value.code.name == "NOT_FOUND"
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ServingError, match="as binary proto"):
        saved_model.load(tmp_path)


def test_no_serve_tag(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.constant(1.0)
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "1"))
        builder.add_meta_graph_and_variables(session, ["other"])
        builder.save()
    with pytest.raises(ServingError, match="Could not find meta graph def matching supplied tags: { serve }"):
        saved_model.load(tmp_path / "1")


def test_without_variables_it_loads_and_every_request_fails(foreign, exported, tmp_path):
    """As in TF Serving; where there are checksums, they say so before."""
    for name, source in (("own", exported), ("foreign", foreign)):
        shutil.copytree(source, tmp_path / name / "1")
        shutil.rmtree(tmp_path / name / "1" / "variables")
    with pytest.raises(ServingError, match="is corrupted: variables/"):
        Loader()("own", 1, tmp_path / "own" / "1")
    for file in (signatures.CHECKSUMS_FILE, signatures.WARMUP_FILE, signatures.METADATA_FILE):
        (tmp_path / "own" / "1" / file).unlink()
    loaded = Loader()("own", 1, tmp_path / "own" / "1")
    with pytest.raises(ServingError) as caught:
        loaded.signatures["act"].run(toy_policy.example_inputs("act"))
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert Loader()("foreign", 1, tmp_path / "foreign" / "1").signatures["small"]  # it has none


def save(function, path):
    module = tf.Module()
    module.f = tf.function(function, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(module, str(path), signatures=module.f)
    return path


def test_python_ops_and_xla_are_refused(tmp_path):
    def by_python(x):
        return {"y": tf.numpy_function(lambda value: value * 2, [x], tf.float32)}

    with pytest.raises(ServingError, match="calls back into Python"):
        saved_model.load(save(by_python, tmp_path / "python"))

    @tf.function(jit_compile=True)
    def compiled(x):
        return x * 2

    with pytest.raises(ServingError, match="demands XLA compilation"):
        saved_model.load(save(lambda x: {"y": compiled(x)}, tmp_path / "xla"))


def test_functions_that_no_signature_calls_are_nobodys_business(tmp_path):
    module = tf.Module()
    spec = [tf.TensorSpec([None], tf.float32, name="x")]
    inner = tf.function(lambda x: x * 2, jit_compile=True)
    module.fast = tf.function(lambda x: inner(x) + 1, input_signature=spec, jit_compile=True)
    module.python = tf.function(lambda x: tf.numpy_function(lambda v: v, [x], tf.float32), input_signature=spec)
    module.f = tf.function(lambda x: {"y": x * 3}, input_signature=spec)
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.f)
    program = Program(tmp_path / "1", Limits())
    answer = program.signatures["serving_default"].run({"x": np.ones(2, np.float32)})
    np.testing.assert_array_equal(answer["y"], [3.0, 3.0])


def test_what_a_signature_calls_is_found_however_deep(tmp_path):
    compiled = tf.function(lambda x: x * 2, jit_compile=True)
    python = tf.function(lambda x: tf.numpy_function(lambda v: v, [x], tf.float32))
    ways = {
        "condition": lambda f: lambda x: {"y": tf.cond(x[0] > 0, lambda: f(x), lambda: x)},
        "loop": lambda f: lambda x: {"y": tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, f(y)), (0, x))[1]},
        "call": lambda f: lambda x: {"y": tf.function(lambda z: tf.function(lambda u: f(u) + 1)(z))(x)},
        "map": lambda f: lambda x: {"y": tf.map_fn(lambda one: f(one[None])[0], x)},
    }
    for name, way in ways.items():
        for what, reason in ((compiled, "demands XLA compilation"), (python, "calls back into Python")):
            path = tmp_path / f"{name} {reason}"

            def wrapped(x, what=what):
                return tf.ensure_shape(what(x), [None])

            with pytest.raises(ServingError, match=reason):
                saved_model.load(save(way(wrapped), path))


def test_a_failing_or_unreadable_warmup_fails_the_load(models):
    version = models / "toy" / "1"
    (version / signatures.CHECKSUMS_FILE).unlink()
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")})
    bad = toy_policy.example_inputs("act")
    bad["observations"] = bad["observations"][:, :3]
    toy_policy.write_warmup(version, {"act": bad})
    manager.refresh()
    (line,) = manager.status("toy")
    assert line.state is State.END and "Matrix size-incompatible" in line.error.message
    (version / signatures.WARMUP_FILE).write_bytes(b"not a record")
    manager = Manager(lambda: {"toy": ModelConfig(models / "toy")})
    manager.refresh()
    assert manager.status("toy")[0].error is not None
