"""Two commands that write one file at the same time: one of them does, the other refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bgnb.files.output_file import write_file
from tests.helpers.commands import error_of
from tests.helpers.errors import raises
from tests.helpers.files import names
from tests.helpers.model_directories import model_directory


def test_files_written_at_the_same_time_do_not_mix(tmp_path):
    """A file has the content of one of two processes that write it, and nothing else is left."""
    path = tmp_path / "out.txt"

    def pieces():
        yield b"first "
        write_file(path, b"second")
        yield b"half"

    write_file(path, pieces())
    assert path.read_bytes() == b"first half"
    assert names(tmp_path) == {"out.txt"}


@pytest.mark.parametrize("links", [True, False])
def test_new_file_replaces_none(tmp_path, monkeypatch, links):
    """A file that was made while another one of the same name was written is kept, also on file systems without hard links."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: Path("/nothing").stat())
    path = tmp_path / "out.txt"

    def pieces():
        yield b"second"
        path.write_bytes(b"first")

    with raises("exists", path):
        write_file(path, pieces(), overwrite=False)
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == {"out.txt"}
    write_file(other := tmp_path / "other.txt", b"new", overwrite=False)
    assert other.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("plot models --dpi 30 -o out.png", "out.png"),
        ("make-test-bg-cube-model out.fits --n-energy 2 --n-fov 4", "out.fits"),
        ("copy-notebooks .", "explore.ipynb"),
        ("lab models", "explore.ipynb"),
    ],
)
def test_file_of_another_command_is_not_replaced(tmp_path, monkeypatch, command, name):
    """A file that another command finished while this one worked is not replaced."""
    model_directory(tmp_path / "models")
    monkeypatch.chdir(tmp_path)

    def late(size):
        (tmp_path / name).write_text("first")
        return "0" * size

    monkeypatch.setattr("bgnb.files.output_file.token_hex", late)
    monkeypatch.setattr("os.execve", lambda *_: pytest.fail("JupyterLab is started"))
    assert error_of(*command.split()).endswith("[exists]")
    assert (tmp_path / name).read_text() == "first"


def test_file_with_a_long_name(tmp_path):
    """A name as long as file systems permit leaves no room for additions."""
    path = tmp_path / ("x" * 255)
    write_file(path, b"content")
    assert path.read_bytes() == b"content"
