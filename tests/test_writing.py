"""A file is whole or as it was, whatever the disk says, and writers wait for each other."""

import errno
import os
import threading

import pytest

from planner import writing
from planner.cli.defaults import read_defaults, write_default
from planner.errors import WorldError
from planner.writing import locked, write_whole


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_nothing_that_was_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / ".config"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorldError, match="No space left on device"):
        write_default("count", 2)
    assert not list(tmp_path.iterdir())


def test_what_the_check_refuses_stays_as_it_was(tmp_path):
    path = tmp_path / "rows.yaml"
    write_whole(path, "one\n")
    with pytest.raises(ValueError, match="two"):
        write_whole(path, "two\n", lambda part: (_ for _ in ()).throw(ValueError(part.read_text())))
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"rows.yaml": "one\n"}


def test_defaults_that_are_set_at_once_are_all_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    values = {"gpu": "h100", "count": 2, "prices": "mine.yaml", "host": "desktop"}
    begun = threading.Barrier(len(values))

    def write(key, value):
        begun.wait()
        write_default(key, value)

    writers = [threading.Thread(target=write, args=pair) for pair in values.items()]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {name: default.value for name, default in read_defaults().items()} == values


def test_who_holds_a_folder_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    """`flock . plan …` holds it until plan ends."""
    monkeypatch.setattr(writing, "LONGEST_S", 0.05)
    with locked(tmp_path), locked(tmp_path):
        write_whole(tmp_path / "x", "1")
    assert (tmp_path / "x").read_text() == "1"


def test_a_file_that_others_may_not_read_stays_so(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("")
    path.chmod(0o600)
    write_whole(path, "count = 2\n")
    assert path.stat().st_mode & 0o777 == 0o600
