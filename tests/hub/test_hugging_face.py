"""hf://: the real library against a server on this machine that answers as the Hub does."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from metazoo.artefact import store
from metazoo.hub import index, sources
from metazoo.hub import transfer as hub
from metazoo.hub.sources import HubError
from tests import toy_policy
from tests.command import metazoo

pytest.importorskip("huggingface_hub")


class FakeHub(BaseHTTPRequestHandler):
    """Repositories as dictionaries of files, one commit after another: the part of the Hub's API that is used."""

    repositories: dict[str, dict[str, bytes]]
    commits: dict[str, int]
    interfere: bool

    def do_HEAD(self) -> None:
        self.get(with_content=False)

    def do_GET(self) -> None:
        self.get(with_content=True)

    def get(self, with_content: bool) -> None:
        if about := re.fullmatch(r"/api/models/(\w+/\w+)(?:/revision/\w+)?", self.path):
            known = about[1] in self.repositories
            self.answer(200 if known else 404, {"id": about[1], "sha": self.sha(about[1])} if known else {})
            return
        found = re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/(.+)", self.path)
        files = self.repositories.get(found[1]) if found else None
        if files is None:
            self.answer(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
        elif found[3] not in files:
            commit = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.sha(found[1])}
            self.answer(404, {"error": "Entry not found"}, **commit)
        else:
            content = files[found[3]]
            headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": self.sha(found[1])}
            self.answer(200, content, with_content, **headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization', 'me')}/{asked['name']}"
            known = name in self.repositories
            self.repositories.setdefault(name, {})
            self.commits.setdefault(name, 0)
            self.answer(409 if known else 200, {"url": f"http://{self.headers['Host']}/{name}"})
        elif preupload := re.fullmatch(r"/api/models/(\w+/\w+)/preupload/\w+", self.path):
            assert preupload[1] in self.repositories
            answers = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                       for file in json.loads(body)["files"]]  # fmt: skip
            self.answer(200, {"files": answers})
        elif self.path == "/api/validate-yaml":  # of a README; the library asks before it commits
            said = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            assert all(one["name"] and one["results"] for one in said.get("model-index", []))
            self.answer(200, {"errors": [], "warnings": []})
        elif commit := re.fullmatch(r"/api/models/(\w+/\w+)/commit/\w+", self.path):
            self.commit(commit[1], [json.loads(line) for line in body.splitlines()])
        else:
            self.answer(404, {"error": self.path})

    def commit(self, name: str, lines: list[dict]) -> None:
        if type(self).interfere:
            type(self).interfere = False
            self.commits[name] += 1  # somebody else was faster
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") != self.sha(name):
            self.answer(412, {"error": "A commit has happened since. Please refresh and try again."})
            return
        for line in lines:
            if line["key"] == "file":
                self.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        self.commits[name] += 1
        url = f"http://{self.headers['Host']}/{name}/commit/{self.sha(name)}"
        self.answer(200, {"commitUrl": url, "commitOid": self.sha(name), "success": True})

    def sha(self, name: str) -> str:
        return hashlib.sha1(f"{name} {self.commits[name]}".encode()).hexdigest()

    def answer(self, status: int, content, with_content: bool = True, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_content and self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def hugging_face(tmp_path, monkeypatch):
    """The fake Hub's handler class, with an empty cache of the library."""
    handler = type("BoundHub", (FakeHub,), {"repositories": {}, "commits": {}, "interfere": False})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    handler.port = server.server_address[1]
    handler.stop = staticmethod(lambda: (server.shutdown(), server.server_close()))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("METAZOO_CACHE", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for constant in ("HF_HUB_CACHE", "HF_XET_CACHE"):
        monkeypatch.setattr(f"huggingface_hub.constants.{constant}", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: "hf_token")
    yield handler
    handler.stop()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    toy_policy.export_toy(models / "toy" / "1")
    (models / "toy" / "README.md").write_text("# toy\n")
    return models / "toy"


def push(toy: Path, tmp_path: Path, name: str = "toy", **changes) -> index.Index:
    """Pushes a copy of the toy under another name."""
    import shutil

    copy = shutil.copytree(toy, tmp_path / "to push" / name, dirs_exist_ok=True)
    store.replace_metadata(copy / "1", {**toy_policy.METADATA, "name": name, **changes})
    return hub.push([str(copy)], "hf://us/zoo")


def test_pushed_and_downloaded_again(hugging_face, toy, tmp_path):
    assert set(push(toy, tmp_path)) == {"toy"}
    version = hub.download("toy", sources.parse("hf://us/zoo"), tmp_path / "out")
    assert store.verify(version) and store.read_metadata(version)["name"] == "toy"
    assert (version.parent / "README.md").read_text() == "# toy\n"
    assert hub.find("hf://us/zoo/toy").is_dir()


def test_pushing_adds_to_what_is_there(hugging_face, toy, tmp_path):
    push(toy, tmp_path)
    push(toy, tmp_path, "second")
    assert set(sources.parse("hf://us/zoo").index()) == {"toy", "second"}
    assert hugging_face.commits == {"us/zoo": 2}, "each is one commit"
    with pytest.raises(ValueError, match="versions are never changed"):
        push(toy, tmp_path, note="another")


def test_the_page_and_the_film_stand_at_the_root_in_the_same_commit(hugging_face, toy, tmp_path):
    push(toy, tmp_path)
    film = tmp_path / "to push" / "toy" / "replay.gif"
    film.write_bytes(b"GIF89a")
    push(toy, tmp_path, "second")
    files = hugging_face.repositories["us/zoo"]
    assert "replay.gif" not in files  # the first had none then, nor has the second
    push(toy, tmp_path)
    page = files["README.md"].decode()
    assert files["replay.gif"] == files["toy/replay.gif"] == b"GIF89a" and "![A policy at play](replay.gif)" in page
    assert "[`toy`](toy/README.md)" in page and "[`second`](second/README.md)" in page
    assert 'metazoo.load("hf://us/zoo/second")' in page and hugging_face.commits == {"us/zoo": 3}
    files["README.md"] = b"# ours\n"
    push(toy, tmp_path)
    assert files["README.md"] == b"# ours\n"


def test_of_two_that_push_at_once_one_is_told(hugging_face, toy, tmp_path):
    push(toy, tmp_path)
    hugging_face.interfere = True
    with pytest.raises(HubError, match="nothing was pushed to hf://us/zoo: .*412"):
        push(toy, tmp_path, "second")
    assert set(push(toy, tmp_path, "second")) == {"toy", "second"}


def test_what_is_not_there(hugging_face, toy, tmp_path):
    with pytest.raises(HubError, match="there is no hf://us/nothing, or it is private"):
        sources.parse("hf://us/nothing").index()
    push(toy, tmp_path)
    del hugging_face.repositories["us/zoo"]["toy/1/saved_model.pb"]
    with pytest.raises(HubError, match="hf://us/zoo has no file toy/1/saved_model.pb"):
        hub.download("toy", sources.parse("hf://us/zoo"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_program_itself_in_a_process_of_its_own(hugging_face, toy, tmp_path):
    """The library gives its parts when they are asked for: what one process has touched helps no other."""
    variables = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hugging_face.port}", "HF_HOME": tmp_path / "home", "HF_TOKEN": "hf_token",
        "METAZOO_CACHE": tmp_path / "fresh",
    }  # fmt: skip
    for words, expected in (
        (["push", toy, "--to", "hf://us/zoo"], "toy  version 1"),
        (["list", "--from", "hf://us/zoo"], "name  version"),
        (["download", "hf://us/zoo/toy"], f"{tmp_path / 'fresh'}/policies/"),
        (["download", "hf://us/zoo/toy", "--to", tmp_path / "a"], f"{tmp_path / 'a' / 'toy' / '1'}"),
        (["download", "toy", "--from", "hf://us/zoo", "--to", tmp_path / "b"], f"{tmp_path / 'b' / 'toy' / '1'}"),
        (["card", "hf://us/zoo/toy"], "# toy"),
        (["card", "toy"], "# toy"),
    ):
        done = metazoo(*words, **variables)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(expected), (words, done)
    assert store.verify(tmp_path / "a" / "toy" / "1") and store.verify(tmp_path / "b" / "toy" / "1")
    for words, code, expected in (
        (["download", "hf://us/zoo/chess"], 2, "there is no policy 'chess' at hf://us/zoo; choose toy."),
        (["download", "hf://us/zoo"], 2, "the policy's address is 'hf://us/zoo'; it must be"),
        (["download", "hf://us/zoo/toy", "--from", "elsewhere"], 2, "give one of them"),
        (["download", "hf://us/nothing/toy"], 1, "there is no hf://us/nothing, or it is private"),
    ):
        done = metazoo(*words, **variables)
        assert (done.returncode, done.stdout) == (code, "") and expected in done.stderr, (words, done)


def test_another_file_than_the_index_names(hugging_face, toy, tmp_path):
    push(toy, tmp_path)
    hugging_face.repositories["us/zoo"]["toy/1/saved_model.pb"] = b"another"
    with pytest.raises(HubError, match=r"saved_model.pb is not the file that the index names"):
        hub.download("toy", sources.parse("hf://us/zoo"), tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_without_a_network_the_cache_is_used(hugging_face, toy, tmp_path, monkeypatch):
    push(toy, tmp_path)
    version = hub.find("hf://us/zoo/toy")
    hugging_face.stop()
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between its attempts
    assert hub.find("hf://us/zoo/toy") == version
    with pytest.raises(HubError, match="the Hub does not answer"):
        hub.find("hf://us/another/toy")
