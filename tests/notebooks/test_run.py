"""Notebooks of bgnb and of users, executed by papermill."""

import asyncio
import errno
import gc
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from threading import Thread

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import bgnb
from bgnb import NotebookError, notebook_result, run_groups, run_notebook
from bgnb.cli.main import SHORT, main
from bgnb.notebooks.content import notebook_parameters
from tests.helpers.commands import command, error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.files import names
from tests.helpers.model_directories import model_directory
from tests.helpers.notebooks import notebook
from tests.helpers.processes import PATIENCE, ROOT, alive, started, until


@pytest.mark.slow
def test_kernel_is_running_interpreter(tmp_path):
    """The kernel is the interpreter that runs bgnb, whatever kernels are installed."""
    path = notebook(tmp_path / "n.ipynb", "import sys; from IPython.display import JSON; JSON({'python': sys.executable})")
    assert notebook_result(run_notebook(path, tmp_path / "out.ipynb")) == {"python": sys.executable}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"inder": "x"}, ["make_bg_cube_models", "inder"]),
        ({"test": "false"}, ["test", "bool", "'false'"]),
        ({"n_fov": 2.5}, ["n_fov", "int or None", "2.5"]),
        ({"n_fov": True}, ["n_fov", "int or None", "True"]),
        ({"alt_edges": (0, 90)}, ["alt_edges", "list or None"]),
        ({"alt_edges": [0, {1, 2}]}, ["alt_edges", "list or None"]),
        ({"alt_edges": [0, np.arange(2)]}, ["alt_edges", "list or None"]),
        ({"alt_edges": [0, np.nan]}, ["alt_edges", "list or None"]),
        ({"indir\nimport os": "x"}, ["has no parameter", "import os"]),
    ],
)
def test_invalid_parameters_are_refused(tmp_path, parameters, words):
    """Unknown names, other types and values that papermill cannot pass are refused before the start."""
    with raises("invalid-argument", *words):
        run_notebook("make_bg_cube_models", tmp_path / "out.ipynb", parameters)
    assert list(tmp_path.iterdir()) == []


def test_unknown_parameter_lists_the_others(tmp_path):
    """The parameters of the notebook follow the message, one a line."""
    lines = command("run-notebook", "make_bg_cube_models", tmp_path / "out.ipynb", "-p", "inder", "x").output.splitlines()
    (first,) = (number for number, line in enumerate(lines) if line.endswith("[invalid-argument]"))
    assert "inder" in lines[first]
    assert [line.partition(":")[0].strip() for line in lines[first + 1 :]] == list(notebook_parameters("make_bg_cube_models"))


def test_long_unknown_parameter_is_shortened(tmp_path):
    """The message does not contain all of a name of any length, nor all of many names."""
    names = {f"{number}" * 5000: 1 for number in range(10)} | {f"x{number}": 1 for number in range(100)}
    with pytest.raises(bgnb.BgnbError, match="has no parameter") as caught:
        run_notebook("make_bg_cube_models", tmp_path / "out.ipynb", names)
    assert len(caught.value.message) < 1000


def test_numpy_floats_are_valid_parameters():
    """NumPy floats are Python floats, which papermill passes."""
    notebook_parameters("make_bg_cube_models")["alt_edges"].check([0, np.float64(90)])


@pytest.mark.slow
def test_connection_file_is_in_the_temporary_folder(tmp_path):
    """The file with which the kernel is found is removed with the folder, also if a signal ends the start of the kernel."""
    code = "import ipykernel; from IPython.display import JSON; JSON({'file': ipykernel.get_connection_file()})"
    made = notebook_result(run_notebook(notebook(tmp_path / "n.ipynb", code), tmp_path / "out.ipynb"))["file"]
    assert Path(made).parent.name.startswith("bgnb-")
    assert not Path(made).parent.exists()


def test_invalid_date_is_refused(tmp_path, monkeypatch):
    """IPython does not answer with a SOURCE_DATE_EPOCH that is no number."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with raises("invalid-argument", "SOURCE_DATE_EPOCH", "today"):
        run_notebook(notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb")


@pytest.mark.slow
def test_texts_become_the_declared_types(tmp_path):
    """Values on the command line are converted to the declared types."""
    declared = "a: str = ''  # t\nb: bool = True  # t\nc: float = 0.5  # t\nd = None  # type: list|None t\ne = 3  # type: int t"
    cell = "from IPython.display import JSON; JSON({'all': [a, b, c, d, e]})"
    path = notebook(tmp_path / "n.ipynb", cell, parameters=declared)
    arguments = ("run", path, tmp_path / "out.ipynb")
    output_of(*arguments, "-p", "a", 7, "-p", "b", "false", "-p", "c", 2, "-p", "d", "[1, 2.5]", "-p", "e", -4)
    assert notebook_result(tmp_path / "out.ipynb")["all"] == ["7", False, 2, [1, 2.5], -4]
    for name, kind, text in (("b", "bool", "maybe"), ("e", "int", "x()")):
        line = error_of(*arguments, "-p", name, text)
        assert f"parameter {name} must be {kind}, got '{text}'" in line
        assert line.endswith("[invalid-argument]")


@pytest.mark.slow
def test_failed_notebook_begins_with_error(tmp_path):
    """A notebook that fails is kept with the error at its top, beside an older result, until a later run succeeds."""
    parameters = "seconds: float = 1.0  # s\nother: int = 2  # number"
    path = notebook(tmp_path / "n.ipynb", "print('before')", "1 / 0", "print('after')", parameters=parameters)
    (tmp_path / "out.ipynb").write_text("an older result")
    with raises("notebook-failed", "n failed: ZeroDivisionError: division by zero", "out.failed.ipynb", kind=NotebookError):
        run_notebook(path, tmp_path / "out.ipynb", {"seconds": 2.0, "other": 4})
    assert (tmp_path / "out.ipynb").read_text() == "an older result"
    failed = nbformat.read(tmp_path / "out.failed.ipynb", as_version=4)
    assert "An Exception was encountered" in failed.cells[0].source
    assert "ZeroDivisionError" in (tmp_path / "out.failed.ipynb").read_text()
    assert names(tmp_path) == {"n.ipynb", "out.failed.ipynb", "out.ipynb"}
    failed.cells[-2].source = "assert (seconds, other) == (3.0, 4)"  # corrected there
    nbformat.write(failed, tmp_path / "out.failed.ipynb")
    run_notebook(tmp_path / "out.failed.ipynb", tmp_path / "out.ipynb", {"seconds": 3.0})
    assert nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1].outputs[0].text == "after\n"
    assert not (tmp_path / "out.failed.ipynb").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "timeout", "word"),
    [
        ("import time; time.sleep(600)", 0.5, "timed out"),
        ("import os; os._exit(1)", None, "Kernel died"),
        ("import sys; sys.exit(0)", None, "ended the execution (SystemExit: 0)"),
    ],
)
def test_timeout_or_dead_kernel_is_failure(tmp_path, cell, timeout, word):
    """No result appears if a cell takes too long or ends the execution, or the kernel dies; the error is at its top."""
    path = notebook(tmp_path / "n.ipynb", cell, "print('after')")
    with raises("notebook-failed", word, "out.failed.ipynb", kind=NotebookError):
        run_notebook(path, tmp_path / "out.ipynb", timeout=timeout)
    assert not (tmp_path / "out.ipynb").exists()
    failed = nbformat.read(tmp_path / "out.failed.ipynb", as_version=4)
    assert failed.cells[0].cell_type == "markdown"
    assert word in failed.cells[0].source
    if timeout:  # corrected there, it shows no error
        failed.cells[2].source = "1"
        nbformat.write(failed, tmp_path / "out.failed.ipynb")
        run_notebook(tmp_path / "out.failed.ipynb", tmp_path / "out.ipynb")
        assert nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0].cell_type == "code"


@pytest.mark.slow
def test_failed_tasks_left_behind(tmp_path, caplog):
    """After a notebook, asyncio reports failed tasks of others, but not those that nbclient leaves, as at a timeout."""
    run_notebook(notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb")

    async def others():
        raise ValueError

    async def leave():
        client, cell = NotebookClient(new_notebook()), new_code_cell()
        tasks = [asyncio.ensure_future(task) for task in (client._async_poll_output_msg("", cell, 0), others())]
        await asyncio.wait(tasks)

    asyncio.run(leave())
    gc.collect()
    (message,) = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert "ValueError()" in message


@pytest.mark.slow
def test_missing_runs_fail_with_our_message(tmp_path):
    """The error of bgnb in a notebook is the error of the command."""
    line = error_of(
        "run", "make_bg_cube_models", tmp_path / "out.ipynb", "-p", "indir", "/nowhere", "-p", "outdir", tmp_path / "m"
    )
    assert "BgnbError: /nowhere: " in line
    assert line.endswith("[notebook-failed]")
    assert (tmp_path / "out.failed.ipynb").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_signal_leaves_no_result_nor_kernel(tmp_path, number):
    """A signal ends the command and the kernel; the unfinished notebook is kept as a failed one."""
    kernel = tmp_path / "kernel"
    path = notebook(
        tmp_path / "n.ipynb", f"import os, time; open({str(kernel)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(600)"
    )
    with started([sys.executable, "-m", "bgnb", "run", path, tmp_path / "out.ipynb"]) as process:
        until(lambda: kernel.exists() and kernel.read_text().endswith("."), "a notebook that runs", process)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=PATIENCE)
        kept = f"The notebook, as far as it was executed, is in {tmp_path / 'out.failed.ipynb'}."
        assert (process.returncode, errors) == (128 + number, f"Interrupted; unfinished output is removed.\n{kept}\n")
        until(lambda: not alive(int(kernel.read_text()[:-1])), "the end of the kernel")
    assert names(tmp_path) == {"n.ipynb", "kernel", "out.failed.ipynb"}


def test_signal_while_kernel_starts_ends_it(tmp_path, monkeypatch):
    """A kernel that has just been started ends with its notebook, although nbclient does not know it yet."""
    from jupyter_client.provisioning import LocalProvisioner

    started_kernels = []

    async def start_and_exit(self, *arguments, **options):
        await launch(self, *arguments, **options)
        started_kernels.append(self.process)
        raise SystemExit(129)

    launch = LocalProvisioner.launch_kernel
    monkeypatch.setattr(LocalProvisioner, "launch_kernel", start_and_exit)
    with pytest.raises(SystemExit):
        run_notebook(notebook(tmp_path / "n.ipynb", "1 + 1"), tmp_path / "out.ipynb")
    (process,) = started_kernels
    assert not alive(process.pid)


@pytest.mark.slow
def test_error_that_kernel_cannot_format_has_its_reason(tmp_path):
    """If the kernel fails to format an error, as without free file descriptors, the message states what it wrote."""
    code = (
        "import sys\ndef fail(*_, **__):\n    print('no descriptors left', file=sys.stderr)\nget_ipython().showtraceback = fail"
    )
    path = notebook(tmp_path / "n.ipynb", code, "1 / 0")
    with pytest.raises(NotebookError, match="no descriptors left"):
        run_notebook(path, tmp_path / "out.ipynb")


def test_invalid_sources_and_outputs_fail(tmp_path):
    """Impossible outputs, files that are not notebooks, and parameters that papermill cannot pass are refused."""
    path = notebook(tmp_path / "n.ipynb", "1")
    (tmp_path / "d.ipynb").mkdir()
    (tmp_path / "text.ipynb").write_text("hello")
    (tmp_path / "empty.ipynb").write_text("{}")
    odd = notebook(tmp_path / "odd.ipynb", "1", parameters='root: str = "a" + "b"  # not a literal')
    strange = notebook(tmp_path / "strange.ipynb", "1", parameters="x: set = {1}  # not a type of JSON")
    out = tmp_path / "out.ipynb"
    for source, output, code, *words in (
        (path, path, "bad-target", path),
        (path, tmp_path / "d.ipynb", "bad-target", "d.ipynb"),
        (path, tmp_path / "out.html", "bad-target", "out.html"),
        (path, tmp_path / "out.failed.ipynb", "bad-target", "out.failed.ipynb"),
        (tmp_path / "text.ipynb", out, "bad-notebook", "text.ipynb"),
        (tmp_path / "empty.ipynb", out, "bad-notebook", "empty.ipynb"),
        (odd, out, "bad-notebook", "parameter root", "literal"),
        (strange, out, "bad-notebook", "parameter x", "type"),
    ):
        with raises(code, *words):
            run_notebook(source, output)
    for timeout in (0, float("inf"), float("nan")):
        with raises("invalid-argument", "timeout", timeout):
            run_notebook(path, out, timeout=timeout)
    assert not out.exists()


def test_odd_outputs_are_refused(tmp_path):
    """A loop of links, names that are too long, and a directory in place of the failed notebook are refused at once."""
    path = notebook(tmp_path / "n.ipynb", "1")
    (tmp_path / "loop.ipynb").symlink_to("loop.ipynb")
    (tmp_path / "out.failed.ipynb").mkdir()
    before = names(tmp_path)
    for name, code in (
        ("loop", "not-writable"),
        ("a" * 300, "not-writable"),
        ("a" * 246, "not-writable"),  # the name of the failed one is too long
        ("out", "bad-target"),
    ):
        with raises(code, tmp_path / name):
            run_notebook(path, tmp_path / f"{name}.ipynb")
    assert names(tmp_path) == before


def test_other_languages_and_old_formats_are_refused(tmp_path):
    """A notebook in R, in an old format, or with half of a character, is refused; nothing is run in Python."""
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [], "metadata": {}}]}
    (tmp_path / "old.ipynb").write_text(json.dumps(old))
    kernel = {"name": "ir", "display_name": "R", "language": "R"}
    for name, metadata in (("kernel", {"kernelspec": kernel}), ("language", {"language_info": {"name": "R"}})):
        cells = [new_code_cell("print(1)")]
        nbformat.write(new_notebook(cells=cells, metadata=metadata), tmp_path / f"{name}.ipynb")
    notebook(tmp_path / "cell.ipynb", "1", parameters="n = = 3")
    (tmp_path / "half.ipynb").write_text(json.dumps(new_notebook(cells=[new_code_cell("print('\ud83d')")])))
    words = {"old": "nbconvert", "kernel": "R", "language": "R", "cell": "not valid Python", "half": r"'\ud83d', which is half"}
    for name, word in words.items():
        with raises("bad-notebook", f"{name}.ipynb", word):
            run_notebook(tmp_path / f"{name}.ipynb", tmp_path / "out.ipynb")
    assert not list(tmp_path.glob("out*"))


def test_names_that_are_no_text_fail(tmp_path, monkeypatch):
    """Paths and values that are not UTF-8 are refused, as notebooks contain them; nothing is left."""
    bad = os.fsdecode(b"b\xff")
    path, there = notebook(tmp_path / "n.ipynb", "1", parameters='x: str | list = ""'), tmp_path / bad
    there.mkdir()
    copy = notebook(there / "n.ipynb", "1")
    models = model_directory(there / "models")
    for source, output, values in (
        (path, tmp_path / "out.ipynb", {"x": bad}),
        (path, tmp_path / "out.ipynb", {"x": [bad]}),
        (path, there / "out.ipynb", {}),
        (copy, tmp_path / "out.ipynb", {}),
    ):
        with raises("invalid-argument", "b\N{REPLACEMENT CHARACTER}" if not values else "parameter x"):
            run_notebook(source, output, values)
    for one, out in ((models, tmp_path / "out"), (model_directory(tmp_path / "models"), there / "out")):
        with raises("invalid-argument", "b\N{REPLACEMENT CHARACTER}"):
            run_groups(one, out)
    monkeypatch.setattr("tempfile.tempdir", str(there))
    with raises("invalid-argument", "b\N{REPLACEMENT CHARACTER}"):
        run_notebook(path, tmp_path / "out.ipynb")
    assert names(tmp_path) == {"n.ipynb", bad, "models"}
    assert names(there) == {"n.ipynb", "models"}


def test_other_place_without_space(tmp_path, monkeypatch):
    """A place outside the temporary folder that is full, such as a home, is named."""

    def execute(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded", "/home/u/kernel.json")

    monkeypatch.setattr("bgnb.notebooks.run._execute", execute)
    with raises("notebook-failed", "/home/u/kernel.json", "quota", kind=NotebookError) as caught:
        run_notebook(notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb")
    assert "TMPDIR" not in str(caught.value)


def test_notebook_that_is_not_written_is_failure(tmp_path, monkeypatch):
    """If papermill fails while it writes the notebook, that of the user is kept as the failed one."""

    def execute(_: Path, partial: Path, *__: object) -> None:
        partial.write_text("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bgnb.notebooks.run._execute", execute)
    path = notebook(tmp_path / "n.ipynb", "1")
    with raises("notebook-failed", gettempdir(), "no space", "TMPDIR", "out.failed.ipynb", kind=NotebookError):
        run_notebook(path, tmp_path / "out.ipynb")
    assert "no space" in nbformat.read(tmp_path / "out.failed.ipynb", as_version=4).cells[0].source
    assert names(tmp_path) == {"n.ipynb", "out.failed.ipynb"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ("run-notebook group_report o.ipynb", "-n 64"),
        ("run-groups models reports", f"-v {600 << 10}"),
        ("lab models", "-n 64"),
    ],
)
def test_limits_for_kernels(tmp_path, arguments, limit):
    """Limits with which kernels fail abruptly, or outlive the command, are refused before anything is made.

    One function examines both limits for all commands, so each command meets one of them.
    """
    memory = "limited to 600 MiB; allow at least 1280 MiB (ulimit -v) [out-of-memory]"
    message = memory if "-v" in limit else "may open 64 files; notebooks need 128 (ulimit -n) [too-many-files]"
    model_directory(tmp_path / "models")
    line = f"ulimit {limit}; exec '{sys.executable}' -m bgnb {arguments}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"{message}\n")
    assert names(tmp_path) == {"models"}


def test_limited_threads(tmp_path, monkeypatch):
    """If few threads are permitted, with which a kernel would outlive the command, a notebook is refused."""
    started = []

    def start(self: Thread, start=Thread.start) -> None:
        if len(started) == 20:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    path = notebook(tmp_path / "n.ipynb", "1")
    monkeypatch.setattr(Thread, "start", start)
    with raises("too-many-processes", "32 more threads", "ulimit -u"):
        run_notebook(path, tmp_path / "out.ipynb")
    for thread in started:
        thread.join()
    assert names(tmp_path) == {"n.ipynb"}


@pytest.mark.slow
def test_kernel_and_annotations_are_optional(tmp_path):
    """A notebook without kernel metadata and type annotations runs; types are those of the defaults."""
    cells = [new_code_cell("a = 3\nb = {}", metadata={"tags": ["parameters"]}), new_code_cell("print(a)")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "n.ipynb")
    assert [p.types for p in notebook_parameters(tmp_path / "n.ipynb").values()] == [("int",), ("dict",)]
    assert run_notebook(tmp_path / "n.ipynb", tmp_path / "out.ipynb", {"a": 4}).exists()


@pytest.mark.slow
def test_unusual_notebook_runs(tmp_path, monkeypatch):
    """A byte order mark, repeated identifiers, an earlier execution and braces in paths do no harm; Output widgets work."""
    folder = tmp_path / "{x}"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    captured = "from ipywidgets import Output\nout = Output()\nwith out:\n    print('captured')\nout"
    content = nbformat.read(notebook(folder / "n.ipynb", "print(seconds)", captured), as_version=4)
    content.metadata |= {"papermill": [1], "widgets": {"application/vnd.jupyter.widget-state+json": 5}}
    content.cells[1].id = content.cells[0].id
    (folder / "n.ipynb").write_text(json.dumps(content), "utf-8-sig")
    executed = nbformat.read(run_notebook(folder / "n.ipynb", folder / "out.ipynb"), as_version=4)
    assert [output.text for cell in executed.cells for output in cell.get("outputs", ()) if "text" in output] == ["1.0\n"]
    assert "captured" in json.dumps(executed.metadata.widgets)
    assert executed.metadata.papermill.input_path == str(folder / "n.ipynb")
    assert names(folder) == {"n.ipynb", "out.ipynb"}


@pytest.mark.slow
def test_temporary_folder_may_be_long(tmp_path, monkeypatch):
    """If the temporary folder has too long a name for sockets, in bytes, the kernel listens on a port."""
    with TemporaryDirectory(prefix="й" * 40) as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        assert run_notebook(notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb").exists()


def test_examples_of_help_are_valid():
    """Commands, options and parameters in the examples of all help texts exist."""
    followed = dict.fromkeys(main.commands, 0)
    for name, described in main.commands.items():
        options = {option for parameter in described.params for option in parameter.opts}
        for line in described.help.splitlines():
            words = line.partition(" -- ")[0].split()
            if words[:1] != ["bgnb"]:
                continue
            assert words[1] == name, line
            assert {word for word in words if word.startswith("--")} <= options, line
            if name == "run-notebook":
                given = {words[i + 1] for i, word in enumerate(words) if word == "-p"}
                assert given, line
                assert given <= set(notebook_parameters(words[2])), line
            followed[name] += 1
    assert min(followed.values()) > 0
    for name in SHORT:
        assert "Example" in output_of(name, "--help")


@pytest.mark.slow
def test_second_run_of_same_output_fails(tmp_path):
    """While a run writes an output, a second one with this output is refused."""
    at_work, go_on = tmp_path / "at_work", tmp_path / "go_on"
    cell = f"""
from pathlib import Path
from time import sleep
Path({str(at_work)!r}).touch()
while not Path({str(go_on)!r}).exists():
    sleep(0.05)
"""
    path = notebook(tmp_path / "n.ipynb", cell)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run_notebook, path, tmp_path / "out.ipynb", timeout=PATIENCE)
        try:
            until(lambda: at_work.exists() or first.done(), "a notebook that runs")
            with raises("in-use", "out.ipynb"):
                run_notebook(path, tmp_path / "out.ipynb")
        finally:
            go_on.touch()
    assert first.result() == tmp_path / "out.ipynb"
    assert first.result().exists()


def test_output_in_the_directory_that_is_made(tmp_path, monkeypatch):
    """A notebook cannot lie in the directory that it makes, which contains files of bgnb only."""
    monkeypatch.chdir(tmp_path)
    for output in ("new/out.ipynb", "new/folder/out.ipynb"):
        with raises("bad-target", output, "lies in new"):
            run_notebook("simulate_dataset", output, {"outdir": "new"})
    assert names(tmp_path) == set()


@pytest.mark.parametrize("name", ["make_bg_cube_models", "true_reco", "compare_models", "validate", "simulate_dataset"])
def test_existing_outdir_is_refused_first(tmp_path, name):
    """A directory that the notebook would have to replace is refused before the kernel starts, and no notebook is kept."""
    made = tmp_path / "made" / "reco" if name == "true_reco" else tmp_path / "made"
    bgnb.make_test_dataset(made, n_runs=1, trigger_rate=1, progress=False)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").touch()
    arguments = ["run-notebook", name, tmp_path / "out.ipynb", "-p", "outdir"]
    assert "use --overwrite to replace it [exists]" in error_of(*arguments, tmp_path / "made")
    assert "mine.txt" in error_of(*arguments, foreign, "--overwrite")
    assert not list(tmp_path.glob("*.ipynb"))
