"""The gallery's application without a browser: what it answers, what it refuses, what it never gives out."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from metazoo.artefact.places import savedmodels_directory
from metazoo.gallery import site as sites
from metazoo.gallery.limits import Allowance
from metazoo.gallery.simulator import BusyError
from metazoo.gallery.site import Site
from metazoo.hub import listing

PAGE = Path(sites.__file__).with_name("page")


class Echo:
    """Answers at once with what it was asked."""

    def __init__(self):
        self.asked, self.busy, self.started = [], False, False

    async def ask(self, request):
        if self.busy:
            raise BusyError
        self.asked.append(request)
        return 200, json.dumps(request).encode()

    def start(self):
        self.started = True


class Visitor:
    """Requests as an ASGI server passes them on."""

    def __init__(self, token=None, directories=None):
        self.simulator = Echo()
        self.site = Site(directories or [savedmodels_directory()], token, self.simulator)

    def __call__(self, method, path, body=b"", **headers):
        raw, _, query = path.encode().partition(b"?")
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "method": method, "raw_path": raw, "query_string": query, "client": ("192.0.2.1", 1),
            "headers": [(b"host", b"zoo.example"), *given],
        }  # fmt: skip
        sent = []

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            sent.append(message)

        asyncio.run(self.site(scope, receive, send))
        self.headers = dict(sent[0]["headers"])
        return sent[0]["status"], sent[1]["body"]

    def error(self, *request, **headers):
        status, body = self(*request, **headers)
        return status, json.loads(body)["error"]


@pytest.fixture
def visitor():
    return Visitor()


def test_the_page_may_load_nothing_from_elsewhere_and_run_nothing_inline(visitor):
    status, body = visitor("GET", "/")
    assert status == 200
    policy = visitor.headers[b"content-security-policy"].decode()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert visitor.headers[b"x-content-type-options"] == b"nosniff"
    for file in PAGE.iterdir():
        if file.suffix in (".html", ".js", ".css"):
            text = file.read_text(encoding="utf-8")
            assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text, file
            assert 'style="' not in text and "onclick=" not in text, file
    assert b"<script>" not in body


def test_every_file_of_the_page_is_given_out_once(visitor):
    for file in PAGE.iterdir():
        status, body = visitor("GET", f"/gallery/page/{file.name}")
        assert (status, body) == (200, file.read_bytes())
    tag = visitor.headers[b"etag"].decode()
    assert visitor("GET", f"/gallery/page/{file.name}", if_none_match=tag) == (304, b"")
    assert visitor("HEAD", "/") == (200, b"")
    assert int(visitor.headers[b"content-length"]) > 500


def test_all_policies_are_listed_with_what_they_are_worth(visitor):
    status, body = visitor("GET", "/gallery/policies")
    rows = {row["name"]: row for row in json.loads(body)["policies"]}
    assert status == 200
    assert [*rows] == [*listing.policies(savedmodels_directory())]
    entry = next(one for one in listing.entries(savedmodels_directory()) if one["name"] == "maml_cartpole_goal")
    assert {key: rows["maml_cartpole_goal"][key] for key in ("before", "after", "sees")} == {
        key: entry[key] for key in ("before", "after", "sees")
    }
    assert len(rows["maml_cartpole_goal"]["curve"]) == 4
    assert rows["maml_cartpole_goal"]["about"] == "CartPole that must find and hold a hidden target position."


def test_a_policy_has_its_card_its_pictures_and_its_file_for_devices(visitor):
    _, body = visitor("GET", "/gallery/policies/maml_cartpole_goal")
    card = json.loads(body)
    assert "<table>" in card["card"] and 'src="gallery/files/maml_cartpole_goal/curve.png"' in card["card"]
    assert "library_name" not in card["card"] and "<h1" not in card["card"]
    status, picture = visitor("GET", "/gallery/files/maml_cartpole_goal/curve.png")
    assert (status, picture[:4]) == (200, b"\x89PNG")
    status, model = visitor("GET", f"/gallery/files/maml_cartpole_goal/{card['litert']['file']}")
    assert (status, len(model)) == (200, card["litert"]["bytes"])
    assert b"attachment" in visitor.headers[b"content-disposition"]


@pytest.mark.parametrize(
    "path",
    [
        "/gallery/files/maml_cartpole_goal/README.md",
        "/gallery/files/maml_cartpole_goal/..%2F..%2Findex.json",
        "/gallery/files/maml_cartpole_goal/1%2Fsaved_model.pb",
        "/gallery/files/maml_cartpole_goal/%2e%2e/maml_cartpole/curve.png",
        "/gallery/files/../curve.png",
        "/gallery/page/../site.py",
        "/gallery/page/%2e%2e%2fsite.py",
        "/gallery/page/nothing.js",
        "/gallery/policies/no_such",
        "/gallery/tasks/no_such",
        "/gallery/else",
    ],
)
def test_nothing_else_is_given_out(visitor, path):
    status, error = visitor.error("GET", path)
    assert status == 404
    assert error.startswith("There is no")


def test_only_its_own_paths_are_the_gallerys():
    site = Visitor().site
    assert all(map(site.handles, (b"/", b"/gallery/policies")))
    assert not any(map(site.handles, (b"/v1/models/a", b"/zoo/v1/policies", b"/x", b"/gallery", b"")))


def test_a_play_reaches_the_simulator_as_it_was_asked(visitor):
    body = json.dumps({"policy": "maml_navigation", "task": {"goal": [0.1, 0.2]}, "seed": 4}).encode()
    status, answer = visitor("POST", "/gallery/play", body)
    assert status == 200
    asked = json.loads(answer)
    assert (asked["job"], asked["task"], asked["seed"]) == ("play", {"goal": [0.1, 0.2]}, 4)
    assert Path(asked["version"]).parent.name == "maml_navigation"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "The body must be JSON"),
        (b"[1]", 400, "The body must be JSON"),
        (b'{"task": {}}', 400, "The body must be JSON"),
        (b'{"policy": "maml_navigation", "seed": -1}', 400, "seed is -1"),
        (b'{"policy": "maml_navigation", "seed": true}', 400, "seed is True"),
        (b'{"policy": "maml_navigation", "seed": 1e99}', 400, "seed is 1e+99"),
        (b'{"policy": "maml_navigation", "task": [1]}', 400, "task is [1]"),
        (b'{"policy": "../maml_navigation"}', 404, "There is no policy"),
        (b'{"policy": ["maml_navigation"]}', 404, "There is no policy"),
        (b"[" * 16000, 400, "The body must be JSON"),
        (b" " * 20000, 413, ""),
    ],
)
def test_a_play_that_cannot_be_is_refused(visitor, body, status, said):
    found, error = visitor.error("POST", "/gallery/play", body)
    assert found == status
    assert said in error
    assert not visitor.simulator.asked


def test_pages_of_other_sites_may_not_make_it_compute(visitor):
    body = b'{"policy": "maml_navigation"}'
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}):
        assert visitor.error("POST", "/gallery/play", body, **headers)[0] == 403
    assert not visitor.simulator.asked
    assert visitor("POST", "/gallery/play", body, origin="http://zoo.example", sec_fetch_site="same-origin")[0] == 200


def test_where_there_is_a_token_looking_is_free_and_computing_is_not():
    guarded, free = Visitor(token="a" * 20), Visitor()
    assert guarded("GET", "/gallery/policies")[0] == free("GET", "/gallery/policies")[0] == 200
    assert free.simulator.started and not guarded.simulator.started
    assert json.loads(guarded("GET", "/gallery/policies")[1])["token"] is True
    for method, path, body in (
        ("POST", "/gallery/play", b'{"policy": "maml_navigation"}'),
        ("POST", "/gallery/fit", b"PK"),
        ("GET", "/gallery/tasks/maml_navigation", b""),
    ):
        assert guarded.error(method, path, body)[0] == 401
        assert not guarded.simulator.asked
        assert guarded(method, path, body, authorization="Bearer " + "a" * 20)[0] == 200
        guarded.simulator.asked.clear()


def test_who_asks_too_often_waits(visitor):
    body = b'{"policy": "maml_navigation"}'
    answers = [visitor("POST", "/gallery/play", body)[0] for _ in range(70)]
    assert answers.count(200) in range(60, 65)
    assert answers[-1] == 429


def test_a_bucket_fills_again():
    now = [0.0]
    allowance = Allowance(2, 1, lambda: now[0])
    assert [allowance.take("a") for _ in range(3)] == [True, True, False]
    assert allowance.take("b")
    now[0] = 1.0
    assert [allowance.take("a") for _ in range(2)] == [True, False]


def test_a_full_queue_is_said(visitor):
    visitor.simulator.busy = True
    assert visitor.error("POST", "/gallery/play", b'{"policy": "maml_navigation"}')[0] == 503


def test_a_file_is_looked_at_under_a_name_of_ours_and_forgotten(visitor):
    status, answer = visitor("POST", "/gallery/fit?policy=maml_cartpole", b"PK anything")
    asked = json.loads(answer)
    assert status == 200
    assert [Path(one).parent.name for one in asked["versions"]] == ["maml_cartpole"]
    assert not Path(asked["file"]).exists()
    assert visitor.error("POST", "/gallery/fit", b"x" * (sites.FILE_BYTES + 1))[0] == 413


def test_a_file_of_any_kind_becomes_the_arrays_that_the_server_adapts_by(visitor):
    class Writes(Echo):
        async def ask(self, request):
            self.asked.append(request)
            Path(request["out"]).write_bytes(b"PK arrays")
            return 200, b"{}"

    visitor.site = Site([savedmodels_directory()], None, Writes())
    path = "/gallery/episodes?policy=maml_cartpole&file=bench%20robot.CSV"
    assert visitor("POST", path, b"a,b") == (200, b"PK arrays")
    (asked,) = visitor.site._simulator.asked
    assert asked["job"] == "convert" and asked["file"].endswith(".csv") and asked["out"].endswith(".npz")
    assert not Path(asked["file"]).exists() and not Path(asked["out"]).exists()
    assert visitor.error("POST", "/gallery/episodes?file=a.csv", b"a,b")[0] == 404
    status, said = visitor.error("POST", "/gallery/fit?file=film.gif", b"GIF")
    assert status == 400 and said == "the file's name is 'film.gif'; it must end in .npz, .json, .jsonl, .csv"


def test_other_methods_are_refused(visitor):
    assert visitor.error("DELETE", "/gallery/policies/maml_cartpole")[0] == 400


def test_an_empty_directory_shows_nothing(tmp_path):
    empty = Visitor(directories=[tmp_path / "none"])
    assert json.loads(empty("GET", "/gallery/policies")[1])["policies"] == []


def test_every_policy_that_comes_along_has_a_film():
    films = json.loads((PAGE / "previews.json").read_text(encoding="utf-8"))
    assert set(films) == set(listing.policies(savedmodels_directory()))
    assert all(film["before"]["states"] and film["after"]["states"] for film in films.values())


def test_a_new_policy_is_seen_at_once(tmp_path):
    shown = Visitor(directories=[tmp_path])
    assert shown.error("GET", "/gallery/policies/mine")[0] == 404
    shutil.copytree(savedmodels_directory() / "maml_cartpole", tmp_path / "mine")
    assert [row["name"] for row in json.loads(shown("GET", "/gallery/policies")[1])["policies"]] == ["mine"]
    assert shown("GET", "/gallery/policies/mine")[0] == 200
