"""The REST answers of the real TF Serving, recorded once, against ours: byte for byte.

The recordings are no part of the repository; where they are missing, the cases of each kind in ``test_rapidjson.py``,
``test_rest.py`` and ``test_rest_kinds.py`` stand for them.
"""

import base64
import gzip
import http.client
import json
import shutil
import socket
import tarfile
from pathlib import Path

import pytest

from serving.server import Server

ROOT = Path(__file__).parents[3]
RECORDED = ROOT.parent / "shared" / "tfserving"

BY_CHANCE = "the order of a hash map, which TF Serving draws anew with every map"
LEFT_OUT = {
    "random 62": BY_CHANCE,
    "random 188": BY_CHANCE,
    "random 651": BY_CHANCE,
    "random 967": BY_CHANCE,
    "random 1362": BY_CHANCE,
    "random 2037": BY_CHANCE,
    "random 2066": BY_CHANCE,
    "random 2180": BY_CHANCE,
    "random 2448": BY_CHANCE,
}
"""What differs, and why; ``docs/serving.md`` says the same."""

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="TF Serving's recorded answers (../shared) are not here")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = tmp_path_factory.mktemp("recorded")
    with tarfile.open(RECORDED / "models.tar.gz") as archive:
        archive.extractall(models, filter="data")
    policy = "rl2_bandit_k5_n10"  # one request went to it
    shutil.copytree(ROOT / "savedmodels" / policy, models / policy)
    with Server(models, poll_seconds=0) as running:
        yield running


def test_the_answers_are_the_recorded_ones(server):
    with gzip.open(RECORDED / "rest.jsonl.gz", "rt") as lines:
        records = [json.loads(line) for line in lines]
    differing = {}
    for record in records:
        got = _answer(server.rest_port, record)
        if got != (record["status"], base64.b64decode(record["answer"])):
            differing[record["name"]] = (record["body"][:200], got)
    assert differing.keys() == LEFT_OUT.keys(), {name: differing[name] for name in differing if name not in LEFT_OUT}
    assert len(differing) <= 0.005 * len(records)


def _answer(port: int, record: dict) -> tuple[int, bytes]:
    """Sent as it was sent then, over a socket: no HTTP client would send some of these."""
    body = base64.b64decode(record["body"])
    names = {name.lower() for name, _ in record["headers"]}
    chunked = "transfer-encoding" in names
    lines = [f"{record['method']} {record['path']} HTTP/1.1", "Host: x"]
    if (body or record["method"] in ("POST", "PUT", "PATCH")) and not chunked:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in record["headers"]] + ["Connection: close"]
    if chunked:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        response = http.client.HTTPResponse(connection, method=record["method"])
        response.begin()
        return response.status, response.read()
