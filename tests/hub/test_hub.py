"""Downloading from a real HTTP server that does everything wrong that servers do; and pushing to a directory."""

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import metazoo
from metazoo.artefact import store
from metazoo.hub import index, sources
from metazoo.hub import transfer as hub
from metazoo.hub.sources import HubError
from tests import toy_policy
from tests.hub import web as faults
from tests.hub.web import Web, serving

ROOT = Path(__file__).parents[2]
VARIABLES = "variables.data-00000-of-00001"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A zoo with the policy ``toy``, its card and an index; not to be changed."""
    models = tmp_path_factory.mktemp("models")
    toy_policy.export_toy(models / "toy" / "1")
    (models / "toy" / "README.md").write_text("# toy\n")
    zoo = tmp_path_factory.mktemp("zoo")
    hub.push([str(models / "toy")], zoo)
    return zoo


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, no waiting between attempts, and no proxy."""
    for name in ("METAZOO_HUB", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("METAZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    return tmp_path / "cache"


@pytest.fixture
def web(zoo, tmp_path):
    """A server of a copy of the zoo."""
    with serving(Path(shutil.copytree(zoo, tmp_path / "zoo"))) as server:
        yield server


def fetch(web: Web, directory: Path | None = None) -> Path:
    return hub.download("toy", sources.parse(web.address), directory)


def edit_index(web: Web, change) -> None:
    """``change`` the entry of toy in the server's index."""
    path = web.directory / index.FILE
    document = json.loads(path.read_text())
    change(document["policies"]["toy"])
    path.write_text(json.dumps(document))


def files_in(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def assert_whole(version: Path, zoo: Path) -> None:
    assert store.verify(version)
    assert index.of_version(version) == index.build(zoo)["toy"]
    assert files_in(version.parent) == files_in(zoo / "toy"), "nothing else is left there"


def assert_nothing_there(directory: Path) -> None:
    assert not directory.exists() or files_in(directory) == set()


# --- what works -----------------------------------------------------------------------------------------------------


def test_a_policy_is_downloaded_with_its_card(web, zoo, tmp_path):
    version = fetch(web, tmp_path / "out")
    assert version == tmp_path / "out" / "toy" / "1"
    assert_whole(version, zoo)


def test_what_is_there_is_not_fetched_again(web, tmp_path):
    fetch(web, tmp_path / "out")
    asked = web.asked.copy()
    fetch(web, tmp_path / "out")
    fetch(web, tmp_path / "another")  # its files are in the cache
    assert {path for path in web.asked if web.asked[path] != asked[path]} == {"/index.json"}


def test_load_takes_an_address_and_later_the_name(web, monkeypatch):
    policy = metazoo.load(f"{web.address}/toy")
    web.stop()
    assert np.array_equal(metazoo.load("toy").memory, policy.memory), "from the cache, without a network"
    web.start()


def test_load_looks_in_the_zoo_of_the_environment(web, monkeypatch):
    with pytest.raises(ValueError, match="there is no policy 'toy'"):
        metazoo.load("toy")
    monkeypatch.setenv("METAZOO_HUB", web.address)
    assert metazoo.load("toy").name == "toy"


def test_without_a_network_an_address_is_answered_from_the_cache(web, zoo, caplog):
    version = fetch(web)
    web.stop()
    assert_whole(fetch(web), zoo)
    assert fetch(web) == version
    assert "What it had when it was last reached is used." in caplog.text
    web.start()


def test_a_policy_that_came_from_two_zoos_needs_its_address(web, zoo):
    fetch(web)
    hub.download("toy", sources.parse(zoo))
    with pytest.raises(ValueError, match="downloaded from several zoos"):
        hub.find("toy")


def test_a_damaged_file_in_the_cache_is_fetched_again(web, zoo, cache):
    version = fetch(web)
    digest = store.sha256(version / "saved_model.pb")
    for path in (version / "saved_model.pb", cache / "files" / digest):
        path.write_bytes(b"damaged")
    assert_whole(fetch(web), zoo)


def test_a_version_that_the_zoo_has_changed_is_replaced_in_the_cache_alone(web, zoo, tmp_path):
    fetch(web)
    fetch(web, tmp_path / "out")
    store.replace_metadata(web.directory / "toy" / "1", {**toy_policy.METADATA, "note": "another"})
    index.write(web.directory)
    assert store.read_metadata(fetch(web))["note"] == "another"
    with pytest.raises(ValueError, match="versions are never overwritten"):
        fetch(web, tmp_path / "out")


def test_a_new_version_is_downloaded_beside_the_old_one(web, tmp_path):
    fetch(web, tmp_path / "out")
    toy = web.directory / "toy"
    store.publish(toy / "1", toy, np.ones(toy_policy.SIZE, np.float32), {})
    index.write(web.directory)
    assert fetch(web, tmp_path / "out").name == "2"
    assert sorted(store.versions(tmp_path / "out" / "toy")) == [1, 2]


# --- servers that fail ----------------------------------------------------------------------------------------------

FAULTS = {
    "wrong hash": (faults.other_content, "its SHA-256 is another"),
    "truncated body": (faults.cut_off, "the connection broke off"),
    "short file": (faults.shortened, "its SHA-256 is another"),
    "404": (faults.status(404), "the answer was 404 Not Found"),
    "403": (faults.status(403), "the answer was 403 Forbidden"),
    "500": (faults.status(500), r"the answer was 500 Internal Server Error \(4 attempts\)"),
    "endless body": (faults.endless, "is longer than the .* bytes it may have"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_download_is_refused_and_leaves_nothing(web, zoo, tmp_path, name):
    fault, message = FAULTS[name]
    web.faults[VARIABLES] = fault
    with pytest.raises(HubError, match=f"{VARIABLES} .*{message}"):
        fetch(web, tmp_path / "out")
    assert_nothing_there(tmp_path / "out")
    web.faults.clear()
    assert_whole(fetch(web, tmp_path / "out"), zoo)
    assert web.asked["/toy/1/saved_model.pb"] == 1, "what had arrived whole is not fetched again"


@pytest.mark.parametrize("name", ["wrong hash", "truncated body", "short file", "500"])
def test_a_passing_failure_is_tried_again(web, zoo, tmp_path, name):
    web.faults[VARIABLES] = faults.first_time(FAULTS[name][0])
    assert_whole(fetch(web, tmp_path / "out"), zoo)


def test_a_slow_server_is_waited_for(web, zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "READ_SECONDS", 0.3)
    web.faults["saved_model.pb"] = faults.dripping
    assert_whole(fetch(web, tmp_path / "out"), zoo)


def test_a_silent_server_is_not(web, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "READ_SECONDS", 0.2)
    web.faults["saved_model.pb"] = faults.silent
    with pytest.raises(HubError, match="the server was silent for 0.2 s"):
        fetch(web, tmp_path / "out")
    assert_nothing_there(tmp_path / "out")


def test_a_server_that_dies_midway(web, zoo, tmp_path):
    """It sends half a file and is gone; when it is back, the download goes on with what is missing."""

    def die(handler, content, before):
        web._server.socket.close()  # no more connections
        faults.cut_off(handler, content, before)

    web.faults[VARIABLES] = die
    with pytest.raises(HubError, match=f"{VARIABLES} cannot be downloaded: there is no connection to the server"):
        fetch(web, tmp_path / "out")
    assert_nothing_there(tmp_path / "out")
    web.stop()
    web.faults.clear()
    web.start()
    assert_whole(fetch(web, tmp_path / "out"), zoo)


def test_a_zoo_that_is_not_there(web, tmp_path):
    with pytest.raises(HubError, match=r"nothing/index.json cannot be downloaded: the answer was 404 Not Found"):
        hub.download("toy", sources.parse(f"{web.address}/nothing"), tmp_path)
    web.stop()
    with pytest.raises(HubError, match="there is no connection"):
        hub.download("toy", sources.parse(web.address), tmp_path)
    web.start()


def test_an_encrypted_address_does_not_lead_to_an_open_one():
    answer = types.SimpleNamespace(
        url="http://b/x", history=[types.SimpleNamespace(url="https://a/x")], status_code=200
    )
    with pytest.raises(HubError, match="leads to http://b/x, which is not encrypted"):
        sources._check("https://a/x", answer)


# --- indexes that lie -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["../../escaped", "1/../../../escaped", "/escaped", "1//escaped", "..", "1/..", ".ssh", "2/escaped", "1/a\\b"],
)
def test_a_file_outside_of_the_policy_is_refused(web, tmp_path, path):
    """The server would send it: the index is what is refused."""
    digest = {"sha256": store.sha256(web.directory / "toy" / "README.md"), "bytes": 6}
    edit_index(web, lambda toy: toy["files"].update({path: digest}))
    with pytest.raises(HubError, match="which is not inside the policy's directory"):
        fetch(web, tmp_path / "a" / "b" / "out")
    assert not list(tmp_path.rglob("escaped")) and not (tmp_path / "a").exists()
    assert set(web.asked) == {"/index.json"}


@pytest.mark.parametrize("name", ["../toy", "a/b", "", ".toy", "to y", "toy\n"])
def test_a_name_that_is_a_path_is_refused(web, tmp_path, name):
    path = web.directory / index.FILE
    document = json.loads(path.read_text())
    document["policies"][name] = document["policies"]["toy"]
    path.write_text(json.dumps(document))
    with pytest.raises(HubError, match="the policy's name is"):
        fetch(web, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda toy: toy.pop("version"), "it lacks 'version'"),
        (lambda toy: toy.update(version="1/../.."), "has the version '1/../..', which is not a positive number"),
        (lambda toy: toy.update(version=True), "has the version True"),
        (lambda toy: toy.update(files=["1/saved_model.pb"]), "are not an object"),
        (lambda toy: toy["files"].pop("1/saved_model.pb"), "has no file 1/saved_model.pb"),
        (lambda toy: toy["files"]["1/saved_model.pb"].update(sha256="0" * 63), "which is none"),
        (lambda toy: toy["files"]["1/saved_model.pb"].update(bytes=-1), "has -1 bytes"),
        (lambda toy: toy["files"]["1/saved_model.pb"].update(bytes=10**12), "has 1000000000000 bytes; at most"),
        (lambda toy: toy["files"].update({f"1/{i}": {} for i in range(1001)}), "at most 1000"),
    ],
)
def test_an_index_that_cannot_be_right_is_refused(web, tmp_path, change, message):
    edit_index(web, change)
    with pytest.raises(HubError, match=message):
        fetch(web, tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"policies": {}}', b'{"format": 2, "policies": {}}'])
def test_what_is_no_index_is_refused(content):
    with pytest.raises(index.BadIndexError, match="the index here cannot be used"):
        index.parse(content, "here")


def test_text_for_the_terminal_is_harmless(zoo):
    document = json.loads((zoo / index.FILE).read_text())
    document["policies"]["toy"]["family"] = "\x1b[31mred"
    document["policies"]["toy"]["before"] = {"mean": 1}
    parsed = index.parse(json.dumps(document).encode(), "here")
    assert parsed["toy"].summary["family"] is None and parsed["toy"].summary["before"] is None
    assert parsed["toy"].files == index.build(zoo)["toy"].files


# --- several at once ------------------------------------------------------------------------------------------------

DOWNLOAD = """
import sys
from pathlib import Path
from metazoo.hub import transfer as hub, sources
print(hub.download("toy", sources.parse(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
"""


@pytest.mark.parametrize("cached", [True, False])
def test_two_processes_download_at_once(web, zoo, tmp_path, cached):
    web.faults["saved_model.pb"] = faults.dripping  # so that they meet
    arguments = [] if cached else [str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DOWNLOAD, web.address, *arguments]
    options = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **options) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    (version,) = {Path(out.strip()) for out, _ in answers}
    assert_whole(version, zoo)
    assert web.asked["/toy/1/saved_model.pb"] == 2, "they did not meet"


def test_a_killed_download_leaves_nothing_that_counts(web, zoo, tmp_path):
    """Killed before each change that it makes to the target in turn, then run to its end."""
    kill = """
import os, signal, sys
moment, calls = int(sys.argv.pop()), 0
def counted(real):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call
import shutil
os.rename, os.replace, os.mkdir = counted(os.rename), counted(os.replace), counted(os.mkdir)
shutil.copyfile = counted(shutil.copyfile)
"""
    out = tmp_path / "out"
    fetch(web)  # into the cache: what is killed is the putting together
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for moment in (3, 6, 9, 12, 14, 16):
        command = [sys.executable, "-c", kill + DOWNLOAD, web.address, str(out), str(moment)]
        killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert killed.returncode in (-9, 0), killed.stderr
        versions = store.versions(out / "toy") if (out / "toy").exists() else {}
        assert all(store.verify(path) for path in versions.values())
    version = fetch(web, out)
    assert store.verify(version) and index.of_version(version) == index.build(zoo)["toy"]


# --- push -----------------------------------------------------------------------------------------------------------


def test_pushing_adds_to_the_index_and_changes_no_version(zoo, tmp_path):
    there = tmp_path / "there"
    assert set(hub.push([str(zoo / "toy")], there)) == {"toy"}
    other = shutil.copytree(zoo / "toy", tmp_path / "other")
    assert set(hub.push([str(other)], there)) == {"other", "toy"}
    assert hub.push([str(other)], there) == index.parse((there / index.FILE).read_bytes(), "")
    store.replace_metadata(other / "1", {**toy_policy.METADATA, "note": "changed"})
    with pytest.raises(ValueError, match="versions are never overwritten"):
        hub.push([str(other)], there)
    assert_whole(there / "toy" / "1", zoo)


def test_what_cannot_be_pushed(zoo, tmp_path):
    with pytest.raises(ValueError, match="pushed to a directory or to hf://ORG/REPO"):
        hub.push([str(zoo / "toy")], "https://example.org/zoo")
    with pytest.raises(ValueError, match="there is no policy 'chess'"):
        hub.push(["chess"], tmp_path)
    broken = shutil.copytree(zoo / "toy", tmp_path / "broken")
    (broken / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(store.CorruptedError, match="saved_model.pb has SHA-256"):
        hub.push([str(broken)], tmp_path / "there")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("address", ["ftp://a/b", "hf://a", "hf://a/b/c", "http://", "file:///etc"])
def test_addresses_that_are_none(address):
    with pytest.raises(ValueError, match=r"it must be a directory, http\(s\)://… or hf://ORG/REPO"):
        sources.parse(address)
