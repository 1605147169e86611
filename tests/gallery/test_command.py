"""``metazoo gallery`` as a person starts and ends it, and a server without a gallery."""

import re
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from serving.server import Server
from tests.command import COMMAND, environment


@pytest.mark.slow  # as `metazoo serve`, whose page another test asks for
def test_the_command_serves_the_page_until_ctrl_c(place, tmp_path):
    command = [*COMMAND, "gallery", "--no-open", "--models", place / "models", "--adapted", tmp_path / "adapted"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    with subprocess.Popen([*map(str, command)], **pipes) as process:
        try:
            address = re.fullmatch(r"Look  (http://127.0.0.1:\d+/)\n", process.stdout.readline())[1]
            with urllib.request.urlopen(f"{address}gallery/policies", timeout=30) as answer:
                assert b'"maml_cartpole"' in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_a_server_without_a_gallery_answers_as_tf_serving(place):
    with Server(place / "models", poll_seconds=0) as server:
        for path in ("/", "/gallery/policies"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(server.url + path, timeout=30)
            assert refused.value.code == 404
            assert b"<H1>Not Found</H1>" in refused.value.read()
