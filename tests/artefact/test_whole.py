"""Files and directories that are whole or not there."""

import os

import pytest

from metazoo.artefact import store, whole
from metazoo.artefact.scratch import whole_directory


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "run.json"
    whole.write_whole(path, b"old")
    whole.write_whole(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_content_and_name_are_on_the_disk_before_it_returns(tmp_path, monkeypatch):
    path, done = tmp_path / "run.json", []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (done.append(name), real(*args))[1])
    whole.write_whole(path, b"new")
    assert done == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("at", ["write", "fsync", "replace"])
def test_a_full_disk_or_an_interrupt_leaves_the_old_file_alone(tmp_path, monkeypatch, at):
    path = tmp_path / "log.csv"
    path.write_text("old")

    def full(*_):
        raise KeyboardInterrupt if at == "replace" else OSError(28, "No space left on device")

    if at != "write":
        monkeypatch.setattr(os, at, full)
    with pytest.raises((OSError, KeyboardInterrupt)), whole.aside(path) as part:
        part.write_text("half")
        if at == "write":
            full()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_directory_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "policy" / "1"
    with pytest.raises(ValueError, match="half way"), whole_directory(target) as work:
        (work / "a").write_text("a")
        assert not target.exists()
        raise ValueError("half way")
    assert list(target.parent.iterdir()) == []
    with whole_directory(target) as work:
        (work / "a").write_text("a")
    assert (target / "a").read_text() == "a" and store.versions(target.parent) == {1: target}
    with pytest.raises(OSError, match="not empty"), whole_directory(target) as work:
        (work / "b").write_text("b")
    assert [path.name for path in target.iterdir()] == ["a"] and list(target.parent.iterdir()) == [target]
