"""Model config files, labels, and HandleReloadConfigRequest."""

import time

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.errors import ServingError
from serving.models import model_config
from serving.options import Options
from serving.server import Server
from tests import toy_policy
from tests.serving.conftest import copy_version
from tests.serving.rpc.test_rpc import request_of
from tests.serving.test_server import wait_until

BODY = {"instances": [[0.1, 0.2, 0.3, 0.4]]}


@pytest.fixture
def base(models):
    for number in (2, 3):
        copy_version(models / "toy" / "1", models / "toy" / str(number))
    return models / "toy"


def listed(*entries):
    return "model_config_list { " + " ".join(f"config {{ {entry} }}" for entry in entries) + " }"


def entry(base, more="", name="toy"):
    return f"name: '{name}' base_path: '{base}' model_platform: 'tensorflow' {more}"


@pytest.fixture
def start(tmp_path):
    running = []

    def run(text, **arguments):
        file = tmp_path / "models.config"
        file.write_text(text)
        running.append(Server(model_config_file=file, poll_seconds=0.05, **arguments).start())
        return running[-1]

    yield run
    for server in running:
        server.stop()


def available(server, name="toy"):
    return [line.version for line in server.manager.status(name) if line.state.name == "AVAILABLE"]


@pytest.mark.parametrize(
    ("more", "versions"),
    [
        ("", [3]),
        ("model_version_policy { latest { num_versions: 2 } }", [3, 2]),
        ("model_version_policy { latest { num_versions: 0 } }", [3]),
        ("model_version_policy { all {} }", [3, 2, 1]),
        ("model_version_policy: { specific: { versions: 1, versions: 3 } },", [3, 1]),
    ],
)
def test_policies(start, base, more, versions):
    assert available(start(listed(entry(base, more)))) == versions


def test_listed_and_scanned_models_live_together(start, base, models):
    server = start(listed(entry(base, name="other")), models_dir=models)
    assert server.manager.names() == ["other", "toy"]


@pytest.mark.parametrize("poll_seconds", [0.05, 0.0])
def test_the_file_is_followed_if_asked_for(start, base, tmp_path, poll_seconds):
    """TF Serving's testModelConfigReload, and its twin without polling."""
    server = start(listed(entry(base)), options=Options(model_config_poll_seconds=poll_seconds))
    for text in ("nonsense", listed(entry("relative")), listed(entry(base, name="other"))):
        assert available(server) == [3]  # a list that cannot be read changes nothing
        (tmp_path / "models.config").write_text(text)
        time.sleep(0.3)
    if poll_seconds:
        wait_until(lambda: [model.name for model in server.manager.live()] == ["other"])
    else:
        assert available(server) == [3]


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_polling_takes_a_number_of_seconds(seconds):
    with pytest.raises(ValueError, match=f"model_config_poll_seconds is {seconds}"):
        Options(model_config_poll_seconds=seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "models.config': Error parsing text-format tensorflow.serving.ModelServerConfig: 1:1"),
        ("nonsense", "Invalid protobuf file: '/"),
        ("custom_model_config {}", "Only model_config_list is supported"),
        (listed(entry("/a"), entry("/b")), "Illegal to list model toy multiple times in config list"),
        (listed("name: 'toy' base_path: '/a'"), "Illegal setting neither"),
        (listed("name: 'toy' base_path: '/a' model_platform: 'tensorflow' model_type: TENSORFLOW"), "setting both"),
        (
            listed("name: 'toy' base_path: '/a' model_platform: 'other'"),
            "Model toy requests unsupported platform other",
        ),
        (listed(entry("relative")), "absolute path or URI; got base_path()=relative"),
        (listed("base_path: '/a' model_platform: 'tensorflow'"), "has no name"),
    ],
)
def test_bad_configs(tmp_path, text, message):
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(ServingError) as caught:
        model_config.read_file(file)
    assert caught.value.code.name == "INVALID_ARGUMENT" and message in caught.value.message


def test_a_configured_model_that_does_not_load_stops_the_start(start, base):
    (base / "3" / "saved_model.pb").write_bytes(b"\xff")
    with pytest.raises(ServingError) as caught:
        start(listed(entry(base)))
    expected = "1 servable(s) did not become available: {{{name: toy version: 3} due to error: DATA_LOSS: "
    assert caught.value.message.startswith(expected) and caught.value.message.endswith("}, }")


STABLE = "version_labels { key: 'stable' value: %d }"
BOTH = "model_version_policy { specific { versions: 1 versions: 2 } } "


def reload(server, text):
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    with grpc.insecure_channel(server.grpc_target) as channel:
        return model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=30)


def test_labels_and_reload(start, base, http_of):
    server = start(listed(entry(base, BOTH + STABLE % 1)))
    rest = http_of(server)
    assert server.manager.lookup("toy", label="stable").version == 1
    assert rest("POST", "/v1/models/toy/labels/stable:predict", BODY)[0] == 200
    reload(server, listed(entry(base, BOTH + STABLE % 2)))
    assert server.manager.lookup("toy", label="stable").version == 2
    with grpc.insecure_channel(server.grpc_target) as channel:  # the answer names the version, not the label
        request = request_of("toy", toy_policy.example_inputs("act"), label="stable")
        spec = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=30).model_spec
        assert (spec.version.value, spec.version_label, spec.signature_name) == (2, "", "serving_default")
    reload(server, listed(entry(base, BOTH + STABLE % 2), entry(base, name="second")))
    assert available(server, "second") == [3]
    reload(server, listed(entry(base, name="second")))  # the list is replaced: toy goes
    assert rest.error("POST", "/v1/models/toy:predict", BODY)[0] == 404
    assert rest("POST", "/v1/models/second:predict", BODY)[0] == 200


def test_refused_reloads(start, base):
    server = start(listed(entry(base, BOTH + STABLE % 1)))
    with pytest.raises(grpc.RpcError) as caught:
        reload(server, listed(entry(base, BOTH + STABLE % 9)))
    assert caught.value.code().name == "FAILED_PRECONDITION"
    expected = "Request to assign label to version 9 of model toy, which is not currently available for inference"
    assert caught.value.details() == expected
    assert server.manager.lookup("toy", label="stable").version == 1
    with pytest.raises(grpc.RpcError) as caught:
        reload(server, "")
    assert (caught.value.code().name, caught.value.details()) == (
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported",
    )
    with pytest.raises(grpc.RpcError) as caught:
        reload(server, listed(f"name: 'toy' base_path: '{base}' model_platform: 'caffe'"))
    assert caught.value.details() == (
        "Illegal to change a model's platform. For model toy platform was tensorflow and "
        "new platform requested is caffe"
    )
    assert available(server) == [2, 1]


def test_a_reload_says_what_did_not_load(start, base, tmp_path):
    server = start(listed(entry(base)))
    (tmp_path / "broken" / "7").mkdir(parents=True)
    with pytest.raises(grpc.RpcError) as caught:
        reload(server, listed(entry(base), entry(tmp_path / "broken", name="broken")))
    assert caught.value.code().name == "UNKNOWN"
    reason = "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
    expected = f"1 model(s) did not become available: {{{{{{name: broken version: 7}} due to error: NOT_FOUND: {reason}"
    assert caught.value.details().startswith(expected)


def test_the_answer_to_a_reload_has_its_status(start, base):
    assert reload(start(listed(entry(base))), listed(entry(base))).HasField("status")
