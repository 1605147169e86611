"""Who may change what is served: tokens, bindings, TLS, names that cannot leave the store."""

import http.client
import json
import ssl
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from serving import security
from serving.options import Options
from serving.server import Server
from tests import toy_policy
from tests.serving.rpc.test_rpc import request_of

TOKEN = "0123456789abcdef"
# openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost
#     -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout localhost.key -out localhost.crt
CERTIFICATE, KEY = Path(__file__).with_name("localhost.crt"), Path(__file__).with_name("localhost.key")
BODY = {"instances": [[0.1, 0.2, 0.3, 0.4]]}


@pytest.fixture
def guarded(models, tmp_path):
    with Server(models, tmp_path / "adapted", poll_seconds=0, options=Options(token=TOKEN)) as running:
        yield running


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN} ", f"bearer{TOKEN}", "Bearer \xff"]
)
def test_changes_need_the_token(guarded, http_of, header):
    rest = http_of(guarded)
    headers = {} if header is None else {"Authorization": header.strip() + ("x" if header.endswith(" ") else "")}
    for method, path in (("POST", "/zoo/v1/policies/toy:adapt?task=a"), ("DELETE", "/zoo/v1/policies/toy-a")):
        status, body = rest(method, path, b"{}", headers)
        assert status == 401 and "Authorization: Bearer" in json.loads(body)["error"]
    with grpc.insecure_channel(guarded.grpc_target) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        metadata = [] if header is None or not header.isascii() else [("authorization", headers["Authorization"])]
        with pytest.raises(grpc.RpcError) as caught:
            stub.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), metadata=metadata, timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert rest("POST", "/v1/models/toy:predict", BODY)[0] == 200  # acting is for everybody
    assert rest("GET", "/zoo/v1/policies")[0] == 200


def test_the_token_lets_changes_through(guarded, http_of):
    for scheme in ("Bearer", "bearer", "BEARER"):  # RFC 9110: schemes are case-insensitive; the token is not
        headers = {"Authorization": f"{scheme} {TOKEN}"}
        status, body = http_of(guarded)("POST", "/zoo/v1/policies/toy:adapt?task=a", b"{}", headers)
        assert (status, json.loads(body)["error"][:34]) == (400, 'The request needs "episodes", an o')
    with grpc.insecure_channel(guarded.grpc_target) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="Only ModelConfigList is currently supported"):
            metadata = [("authorization", f"bearer {TOKEN}")]
            stub.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), metadata=metadata, timeout=10)


def test_tokens_are_read_from_files(tmp_path):
    file = tmp_path / "token"
    file.write_text(f" {TOKEN}\n")
    assert security.read_token(file) == TOKEN
    for text in ("", "short", "two words of one token", "\x07" * 20, "ü" * 20):
        file.write_text(text)
        with pytest.raises(ValueError, match="holds no token: need one line of at least 16 printable"):
            security.read_token(file)
    with pytest.raises(FileNotFoundError):
        security.read_token(tmp_path / "none")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_listening_beyond_this_machine_needs_a_token(models, host):
    with pytest.raises(ValueError, match=f"host is {host}, where others could change.*--token-file.*--insecure"):
        Server(models, host=host)
    for options in (Options(token=TOKEN), Options(insecure=True)):
        Server(models, host=host, options=options)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_listening_on_this_machine_does_not(models, host):
    Server(models, host=host)


def test_both_ports_speak_tls(models):
    options = Options(tls_cert=CERTIFICATE, tls_key=KEY)
    with Server(models, poll_seconds=0, options=options) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=CERTIFICATE)
        connection = http.client.HTTPSConnection("127.0.0.1", server.rest_port, timeout=10, context=context)
        connection.request("POST", "/v1/models/toy:predict", json.dumps(BODY))
        assert connection.getresponse().status == 200
        connection.close()
        plain = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=10)
        with pytest.raises((OSError, http.client.HTTPException)):
            plain.request("GET", "/v1/models/toy")
            plain.getresponse()
        plain.close()
        credentials = grpc.ssl_channel_credentials(CERTIFICATE.read_bytes())
        with grpc.secure_channel(server.grpc_target, credentials) as channel:
            from tensorflow_serving.apis import prediction_service_pb2_grpc

            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert stub.Predict(request_of("toy", toy_policy.example_inputs("act")), timeout=10).outputs


def test_tls_files_are_checked(models, tmp_path):
    with pytest.raises(ValueError, match="tls_cert is given without tls_key"):
        Server(models, options=Options(tls_cert=CERTIFICATE))
    with pytest.raises(FileNotFoundError, match="there is no file .*none"):
        Server(models, options=Options(tls_cert=CERTIFICATE, tls_key=tmp_path / "none"))
    with pytest.raises(ValueError, match="are not a certificate and its key"):
        Server(models, options=Options(tls_cert=KEY, tls_key=KEY))
