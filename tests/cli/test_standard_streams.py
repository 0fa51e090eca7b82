"""Standard output or standard error that is full, closed, or a pipe that nobody reads; little memory; no directory."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import sleep

import numpy as np
import pytest

import bgnb
from bgnb.files.model_directory import ModelDirectory
from bgnb.production import count_chunks
from tests.helpers.commands import error_of, output_of
from tests.helpers.files import names
from tests.helpers.processes import ROOT, started, until
from tests.helpers.run_files import run, write_gadf

_PYTHON = f"'{sys.executable}' -m bgnb"


def in_shell(command: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command line of Bash; ``bgnb`` is the command."""
    line = f'set -o pipefail; bgnb() {{ {_PYTHON} "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture
def making(tmp_path) -> tuple[str, Path]:
    """Return a command with two workers and its output."""
    write_gadf(tmp_path / "in", [run(obs_id, 100) for obs_id in (2, 4)])
    out = tmp_path / "out"
    options = "--select all --n-energy 5 --n-fov 8 --method classic --workers 2"
    return f"bgnb make-bg-cube-models {tmp_path / 'in'} GADF {out} {options}", out


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["--help", "make-bg-cube-models --help", "--version"])
def test_full_standard_output_is_one_line(arguments):
    """If standard output cannot be written, there is one line, whatever is written."""
    done = in_shell(f"bgnb {arguments} > /dev/full")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: standard output ")
    assert line.endswith("[not-writable]")


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2> /dev/full", "2> >(true)"])
def test_full_standard_error_keeps_the_status(redirection):
    """If the message of an error cannot be written, the status is that of the error."""
    done = in_shell(f"bgnb inspect nowhere GADF {redirection}")
    assert (done.returncode, done.stderr) == (2, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "status", "lines"),
    [("> /dev/full", 2, 1), ("| true", 1, 0), ("<&- >&- 2>&-", 0, 0)],
)
def test_output_is_made_without_streams(making, redirection, status, lines):
    """A command makes its output even if its streams cannot be written, and prints no traceback."""
    command, out = making
    done = in_shell(f"{command} {redirection}")
    assert (done.returncode, len(done.stderr.splitlines())) == (status, lines), done.stderr
    assert not any(bgnb.check(out).values())


def _sleeps(pid: int) -> bool:
    """Return true if a process does nothing for a second."""
    states = set()
    for _ in range(10):
        sleep(0.1)
        states.add(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
    return states == {"S"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_stream_may_be_non_blocking(stream):
    """A full pipe that another program has made non-blocking is waited for: all of the text arrives."""
    arguments = {"stdout": ["make-bg-cube-models", "--help"], "stderr": ["inspect", "nowhere", "GADF"]}[stream]
    expected = subprocess.run([sys.executable, "-m", "bgnb", *arguments], capture_output=True, check=False)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"-")
    with started([sys.executable, "-m", "bgnb", *arguments], **{stream: writer}) as process, os.fdopen(reader, "rb") as pipe:
        os.close(writer)
        until(partial(_sleeps, process.pid), "waiting for the pipe", process)
        assert pipe.read().lstrip(b"-") == getattr(expected, stream)
        assert process.wait() == expected.returncode


def test_processes_inherit_replaced_streams():
    """A closed stream is replaced by one that other processes get, such as kernels."""
    code = "import os, bgnb._util.standard_streams as s; s.open_closed_streams(); os._exit(42 * os.get_inheritable(1))"
    assert in_shell(f'{sys.executable} -c "{code}" >&-').returncode == 42


def test_too_little_memory_is_one_line(making, monkeypatch):
    """If memory does not suffice, there is one line, and nothing is left."""
    command, out = making
    monkeypatch.setattr(count_chunks, "read_pieces", lambda _: np.empty(2**62, dtype=np.uint8))
    line = error_of(*command.split()[1:-2])
    assert line.endswith("[out-of-memory]")
    assert names(out.parent) == {"in"}


@pytest.mark.slow
def test_too_few_open_files_are_one_line(making, monkeypatch):
    """If workers cannot be started, or a file cannot be opened, there is one line, and nothing is left."""
    command, out = making
    done = in_shell(f"ulimit -n 14; {command}", timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "cannot be started: Too many open files; use --workers 1" in line
    assert line.endswith("[worker-died]")
    monkeypatch.setattr(count_chunks, "read_pieces", _too_many)
    line = error_of(*command.split()[1:-2])
    assert line.endswith("permit more (ulimit -n), or use fewer workers [too-many-files]")
    assert names(out.parent) == {"in"}


def _too_many(_):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["v", "d"])
def test_low_memory_limit_is_one_line(making, limit):
    """Limits with which the import of SciPy fails abruptly, or never ends, are refused before."""
    command, out = making
    for mebibytes in (100, 214, 250):
        done = in_shell(f"ulimit -{limit} {mebibytes << 10}; {command}", timeout=60)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.endswith(f"limited to {mebibytes} MiB; allow at least 512 MiB (ulimit -{limit}) [out-of-memory]")
    assert names(out.parent) == {"in"}


@pytest.mark.slow
def test_memory_is_reserved_for_one_core(making):
    """With limited memory OpenBLAS reserves it for one core, not for each of the machine."""
    command, _ = making
    code = f"""
from threadpoolctl import threadpool_info
from bgnb.cli.main import main
main({command.split()[1:-2]}, standalone_mode=False)
print(max(library["num_threads"] for library in threadpool_info()))
"""
    line = f"unset OMP_NUM_THREADS; ulimit -v {1 << 20}; {shlex.join([sys.executable, '-c', code])}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1"


@pytest.mark.slow
def test_names_of_files_send_nothing_to_the_terminal(making):
    """Control characters in names, and bytes that are no text, are replaced in what commands print."""
    command, out = making
    output_of(*command.split()[1:-2])
    for name in (b"\x1b]0;title\x07", b"\n'all files are as bgnb wrote them", b"\xff"):
        (out / os.fsdecode(name)).touch()
    new = out.with_name("\x07new")
    out.rename(new)
    (lines,) = [in_shell(f"bgnb check {shlex.quote(str(new))}").stdout.splitlines()]
    assert len(lines) == 3
    assert all(line.endswith(": was not written by bgnb") and line.isprintable() for line in lines)
    picture = in_shell(f"bgnb plot {shlex.quote(str(new))} --dpi 30 -o {shlex.quote(str(new))}.png").stdout
    assert "\N{REPLACEMENT CHARACTER}new.png" in picture
    assert picture.replace("\n", "").isprintable()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    ["{making}", "run-notebook explore {there}", "copy-notebooks here"],
)
def test_removed_directory_is_one_line(making, tmp_path, arguments):
    """In a directory that was removed, a command that needs it ends with one line."""
    (tmp_path / "here").mkdir()
    command = arguments.format(
        making=making[0].removeprefix("bgnb ").replace(str(making[1]), "out"), there=tmp_path / "x.ipynb"
    )
    done = in_shell(f"cd '{tmp_path / 'here'}'; rmdir ../here; bgnb {command}", env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: the current directory was removed")


def test_no_temporary_directory_is_one_line(tmp_path, monkeypatch):
    """If no directory for temporary files can be written, a command that needs one ends with one line."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    line = error_of("run-notebook", "explore", tmp_path / "out.ipynb")
    assert line.endswith("set TMPDIR to one that is [not-writable]")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_of_files_reach_the_terminal_without_control_characters(tmp_path, monkeypatch, encoding):
    """Names that terminals would interpret, or that cannot be encoded, are printed with replacements."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    (tmp_path / "manifest.json").write_text(
        '{"creator": "bgnb", "kind": "runs", "files": {"a\\u0007\\u009b": "0", "\\ud800": "0"}}'
    )
    done = subprocess.run([sys.executable, "-m", "bgnb", "check", tmp_path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    text = done.stdout.decode(encoding)
    assert text.count("is missing") == 2
    assert all(line.isprintable() for line in text.splitlines())


def test_library_that_does_not_fit_in_memory_is_one_line(tmp_path, monkeypatch):
    """A library that cannot be mapped is an error of memory."""

    def fail(_: object) -> None:
        raise ImportError("lib.so: failed to map segment from shared object")

    monkeypatch.setattr("bgnb.files.manifest.check", fail)
    assert error_of("check", tmp_path).endswith("[out-of-memory]")


@pytest.mark.parametrize("value", ['"group_id": Infinity', f'"group_id": 1, "counts": {"9" * 400}'])
def test_numbers_too_large_in_a_report_are_ignored(tmp_path, value):
    """Numbers of a report that are no floats are as if there were no report."""
    (tmp_path / "bg_cube_model_group1_table.fits").touch()
    (tmp_path / "report.json").write_text(f'{{"groups": [{{{value}}}]}}')
    assert ModelDirectory(tmp_path).group_rows == {}
