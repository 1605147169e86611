"""``metazoo serve``: what its options do, and what it refuses."""

import http.client
import json
import re
import signal
import subprocess
import sys
import time

import pytest

from metazoo.cli import main as cli
from tests.serving.test_security import CERTIFICATE, KEY, TOKEN


@pytest.fixture
def refused(models, tmp_path, monkeypatch, capsys):
    """The exit code and the one sentence that ``metazoo serve`` ends with."""

    def run(*arguments):
        common = ("--models", models, "--adapted", tmp_path / "adapted", "--rest-port", 0, "--grpc-port", 0)
        monkeypatch.setattr(sys, "argv", ["metazoo", "serve", *map(str, (*common, *arguments))])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        (line,) = capsys.readouterr().err.splitlines()
        return caught.value.code, line

    return run


def test_wrong_options_are_refused_in_one_sentence(refused, tmp_path):
    short, batching = tmp_path / "short", tmp_path / "batching.config"
    short.write_text("secret")
    batching.write_text("max_batch_size { value: 0 }")
    for arguments, expected in (
        (("--host", "0.0.0.0"), "host is 0.0.0.0, where others could change"),
        (("--token-file", short), "holds no token: need one line of at least 16"),
        (("--token-file", tmp_path / "none"), "No such file"),
        (("--tls-cert", CERTIFICATE), "tls_cert is given without tls_key"),
        (("--batching-parameters-file", batching), "it needs --enable-batching too"),
        (("--enable-batching", "--batching-parameters-file", batching), "max_batch_size is 0"),
        (("--log-format", "xml"), "--log-format is 'xml'; choose text or json."),
        (("--max-adapted-gb", "inf"), "--max-adapted-gb is inf; it must be a number from 0.001"),
        (("--expire-days", "nan"), "--expire-days is nan; it must be a number from 0.001"),
        (("--metrics-path", "metrics"), "the metrics path is 'metrics': it must begin with /"),
        (("--metrics-path", "/a b"), "the metrics path is '/a b': it must begin with / and hold letters"),
        (("--metrics-path", "/m?x=1"), "the metrics path is '/m?x=1': it must begin with / and hold letters"),
        (("--metrics-path", "/V1/models"), "what begins so is answered by the API"),
        (("--metrics-path", "/zoo/v1/policies"), "what begins so is answered by the API"),
        (("--expire-days", "-1"), "--expire-days is -1; it must be a number from 0.001"),
        (("--max-adapted-gb", "0"), "--max-adapted-gb is 0; it must be a number from 0.001"),
    ):
        code, line = refused(*arguments)
        assert code == 2 and line.startswith("metazoo: ") and expected in line, (arguments, line)


def test_options_that_tf_serving_does_not_know_are_refused(refused, tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    for name, *value in (
        ("--token-file", token), ("--insecure",), ("--host", "0.0.0.0"), ("--expire-days", 3),
        ("--models-config-out", tmp_path / "out"),
    ):  # fmt: skip
        code, line = refused("--engine", "tensorflow_model_server", name, *value)
        assert code == 2 and line.startswith(f"metazoo: {name} does nothing with --engine tensorflow_model_server")


def test_the_options_arrive(models, tmp_path):
    """One process with everything on: TLS, token, batching, metrics, JSON logs, the gallery."""
    token, batching = tmp_path / "token", tmp_path / "batching.config"
    token.write_text(TOKEN)
    batching.write_text("max_batch_size { value: 2 }")
    command = [sys.executable, "-m", "metazoo.cli.main", "serve", "--models", models, "--adapted", tmp_path / "adapted"]
    command += ["--host", "0.0.0.0", "--rest-port", 0, "--grpc-port", 0, "--token-file", token]
    command += ["--tls-cert", CERTIFICATE, "--tls-key", KEY, "--metrics-path", "/metrics"]
    command += ["--enable-batching", "--batching-parameters-file", batching]
    command += ["--log-format", "json", "--log-level", "info"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*map(str, command)], **pipes) as server:
        try:
            port = int(re.fullmatch(r"REST  https://0.0.0.0:(\d+)\n", server.stdout.readline())[1])
            import ssl

            context = ssl.create_default_context(cafile=CERTIFICATE)
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)

            def ask(method, path, body=None):
                connection.request(method, path, None if body is None else json.dumps(body))
                response = connection.getresponse()
                return response.status, response.read()

            row = [0.1, 0.2, 0.3, 0.4]
            assert ask("POST", "/v1/models/toy:predict", {"instances": [row] * 2})[0] == 200
            status, body = ask("POST", "/v1/models/toy:predict", {"instances": [row] * 3})
            assert (status, json.loads(body)["error"]) == (
                400,
                "Task size 3 is larger than maximum input batch size 2",
            )
            assert ask("DELETE", "/zoo/v1/policies/toy-a")[0] == 401
            status, body = ask("GET", "/")
            assert status == 200 and b"<title>metazoo gallery</title>" in body
            assert b'"name": "toy"' in ask("GET", "/gallery/policies")[1]
            assert ask("GET", "/gallery/tasks/toy")[0] == 401
            assert b":tensorflow:serving:request_count" in ask("GET", "/metrics")[1]
            connection.close()
            server.terminate()
            assert server.wait(60) == 0
            events = [json.loads(line) for line in server.stderr.read().splitlines() if line.startswith("{")]
            assert {"version is available", "serving", "stopping"} <= {event["message"] for event in events}
        finally:
            server.kill()


def test_wrong_numbers_are_refused_before_tensorflow_is_loaded():
    """So at once; ``-X importtime`` names every module that is imported."""
    for arguments in (("--max-adapted-gb", "inf"), ("--expire-days", "nan"), ("--metrics-path", "metrics")):
        command = [sys.executable, "-X", "importtime", "-m", "metazoo.cli.main", "serve", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2 and arguments[1] in done.stderr.splitlines()[-1]
        assert not re.search(r"\| +(tensorflow|keras|grpc)$", done.stderr, re.MULTILINE), arguments


SERVE = (
    "import sys; from serving.server import Server\n"
    "server = Server(sys.argv[1], poll_seconds=0).start(); print(server.url, flush=True)\n"
    "server.wait(); print('drained', flush=True)"
)


@pytest.mark.parametrize(
    "ignored",
    [pytest.param(False, id="terminal"), pytest.param(True, id="nohup", marks=pytest.mark.slow)],
)
def test_a_lost_terminal_drains_unless_nohup_says_otherwise(models, ignored):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    command = [sys.executable, "-c", SERVE, str(models)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=ignore) as server:
        try:
            assert server.stdout.readline().startswith("http")
            time.sleep(0.5)  # until it waits
            server.send_signal(signal.SIGHUP)
            if ignored:
                time.sleep(1.0)
                assert server.poll() is None
                server.terminate()
            assert server.stdout.readline() == "drained\n" and server.wait(60) == 0
        finally:
            server.kill()
