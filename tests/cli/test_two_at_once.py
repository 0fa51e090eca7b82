"""Two commands that write one file at the same time: one of them does, the other refuses."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from bgnb.files.locks import lock
from bgnb.files.output_directory import write_file
from tests.helpers.commands import error_of
from tests.helpers.errors import raises
from tests.helpers.files import names
from tests.helpers.model_directories import model_directory


def test_file_being_written_is_refused(tmp_path):
    """While a file is written, nobody else writes it, and nothing of the other content gets into it."""
    path = tmp_path / "out.txt"

    def pieces():
        yield b"first "
        with raises("in-use", path):
            write_file(path, b"second")
        yield b"half"

    write_file(path, pieces())
    assert path.read_bytes() == b"first half"
    assert names(tmp_path) == {"out.txt"}


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

    @contextmanager
    def late(path):
        if name in path.name:
            (tmp_path / name).write_text("first")
        with lock(path) as locked:
            yield locked

    monkeypatch.setattr("bgnb.files.output_directory.lock", late)
    monkeypatch.setattr("os.execv", lambda *_: pytest.fail("JupyterLab is started"))
    assert error_of(*command.split()).endswith("[exists]")
    assert (tmp_path / name).read_text() == "first"


def test_file_with_a_long_name(tmp_path):
    """A name as long as file systems permit leaves no room for additions."""
    path = tmp_path / ("x" * 255)
    write_file(path, b"content")
    assert path.read_bytes() == b"content"
