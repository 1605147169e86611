"""One exported toy policy and one running server for the whole directory; tests that change things copy it."""

import http.client
import json
import shutil
from pathlib import Path

import gymnasium as gym
import pytest
import tensorflow as tf

from serving.client import Client
from serving.engine import without_onednn
from serving.server import Server
from tests import toy_policy


@pytest.fixture(autouse=True)
def no_word_of_onednn(monkeypatch):
    """Here TensorFlow may have been imported first, with oneDNN; a server would say so among what a test reads."""
    monkeypatch.setattr(without_onednn, "is_on", lambda: False)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    return toy_policy.export_toy(tmp_path_factory.mktemp("exported") / "toy" / "1")


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """A SavedModel of somebody else: several dtypes, no metadata."""
    path = tmp_path_factory.mktemp("foreign") / "1"
    tf.saved_model.save(module := Foreign(), str(path), signatures=module.endpoints())
    return path


class Foreign(tf.Module):
    """Signatures for each kind of value that JSON can carry."""

    def endpoints(self):
        def one(function, *specs):
            return tf.function(function, input_signature=specs)

        def spec(name, dtype, shape=(None,)):
            return tf.TensorSpec(shape, dtype, name=name)

        anything = tf.TensorShape(None)
        return {
            "serving_default": one(lambda x: {"y": 0.5 * x + 2.0}, spec("x", tf.float32, anything)),
            "two": one(
                lambda a, b: {"sum": a + tf.cast(b, tf.float32), "b": b},
                spec("a", tf.float32, anything), spec("b", tf.int32, anything),
            ),
            "texts": one(lambda s: {"s": s, "s_bytes": s}, spec("s", tf.string)),
            "kinds": one(
                lambda i, d, t: {"i": i, "d": d, "t": t},
                spec("i", tf.int64, anything), spec("d", tf.float64, anything), spec("t", tf.bool, anything),
            ),
            "small": one(lambda u: {"u": u}, spec("u", tf.uint8)),
            "unsigned": one(
                lambda v, w: {"v": v, "w": w},
                spec("v", tf.uint32, anything), spec("w", tf.uint64, anything),
            ),
            "words": one(lambda u: {"u": u}, spec("u", tf.uint16)),
            "complex": one(lambda x: {"c": tf.complex(x, x)}, spec("x", tf.float32)),
            "uneven": one(lambda x: {"x": x, "y": tf.concat([x, x], 0)}, spec("x", tf.float32)),
            "wide": one(lambda s: {"s": tf.identity(s)}, spec("s", tf.string, anything)),
            "product": one(lambda x: {"y": tf.matmul(x, tf.ones([3, 2]))}, spec("x", tf.float32, (None, None))),
            "sums": one(lambda x: {"y": tf.nn.bias_add(x, tf.ones([5]))}, spec("x", tf.float32, anything)),
            "half": one(lambda h: {"h": h}, spec("h", tf.float16)),
            "to_half": one(lambda x: {"h": tf.cast(x, tf.float16)}, spec("x", tf.float32)),
            "scalar": one(lambda x: {"total": tf.reduce_sum(x), "x": x}, spec("x", tf.float32)),
            "raw": one(lambda s: {"s_bytes": s}, spec("s", tf.string, anything)),
            "float16": one(lambda h: {"h": h}, spec("h", tf.float16, anything)),
        }  # fmt: skip


@pytest.fixture
def models(exported, tmp_path):
    """A models directory with the toy policy, to be changed at will."""
    shutil.copytree(exported, tmp_path / "models" / "toy" / "1")
    return tmp_path / "models"


@pytest.fixture
def server(models, tmp_path):
    """A server of its own, polling fast."""
    with Server(models, tmp_path / "adapted", poll_seconds=0.05) as running:
        yield running


@pytest.fixture(scope="session")
def shared(exported, foreign, tmp_path_factory):
    """A server that no test changes: models ``toy`` and ``foreign``."""
    root = tmp_path_factory.mktemp("shared")
    shutil.copytree(exported, root / "models" / "toy" / "1")
    shutil.copytree(foreign, root / "models" / "foreign" / "3")
    with Server(root / "models", poll_seconds=0) as running:
        yield running


class Http:
    """Raw requests: status, headers and body as they come."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __call__(self, method, path, body=None, headers=None):
        if isinstance(body, dict | list):
            body = json.dumps(body)
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        self.headers = response.headers
        return response.status, response.read()

    def error(self, method, path, body=None):
        status, answer = self(method, path, body)
        document = json.loads(answer)
        assert list(document) == ["error"]
        assert self.headers["content-type"] == "application/json"
        return status, document["error"]


@pytest.fixture
def http_of():
    opened = []

    def connect(running) -> Http:
        opened.append(Http(running.rest_port))
        return opened[-1]

    yield connect
    for one in opened:
        one.connection.close()


@pytest.fixture
def rest(shared, http_of):
    return http_of(shared)


def copy_version(source: Path, target: Path) -> Path:
    """Put a version into place as publishers do: aside first, then one rename."""
    aside = target.parent / f".aside-{target.name}"
    shutil.copytree(source, aside)
    return aside.rename(target)


@pytest.fixture
def client(server):
    opened = Client(server.url)
    yield opened
    opened.close()


@pytest.fixture
def env():
    with gym.make("CartPole-v1") as opened:
        yield opened
