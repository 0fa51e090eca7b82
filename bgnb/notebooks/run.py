"""Run notebooks with parameters, by papermill."""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bgnb._util.checks import check_type, finite_number
from bgnb._util.errors import BgnbError, enumerate_values, shortened
from bgnb._util.resource_limits import check_kernel_limits
from bgnb._util.signals import held_signals
from bgnb.files.caches import writable_places
from bgnb.files.manifest import MANIFEST
from bgnb.files.output_directory import check_target, only_writer
from bgnb.files.output_file import check_file_path, is_in, named_errors, source_date, write_file
from bgnb.notebooks.content import error_summary, executed_parameters, notebook_parameters, read_notebook
from bgnb.notebooks.shipped import find_notebook
from bgnb.notebooks.temporary import temporary_folder

# Managers of running kernels by the notebooks that are made.
_RUNNING: dict[Path, Any] = {}
# Name of the file beside the unfinished notebook for what a kernel writes to standard error.
_KERNEL_ERRORS = "kernel-errors"
# Tag of cells on an error, which papermill removes when the notebook is executed again.
_MARK = "papermill-error-cell-tag"


class NotebookError(BgnbError):
    """A notebook that failed; the message names the error of its cell and the file that shows it.

    Parameters
    ----------
    code, message : str
        See `BgnbError`.
    """


def run_notebook(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
    progress: bool | None = None,
) -> Path:
    """Run a notebook with parameters, in the running interpreter.

    The output appears when it is complete. If a cell fails, the notebook is kept beside it as
    ``….failed.ipynb``, with the error at its top. What it prints beyond 20 MB is left out.
    Notebooks import nothing from the current directory; own modules must be installed, or be found through ``PYTHONPATH``.

    Parameters
    ----------
    notebook : path or str
        A notebook, or the name of one that comes with bgnb.
    output : path
        The executed notebook. Paths among the parameters are relative to the current directory.
    parameters : mapping of str to values
        Values for parameters that the notebook declares, as plain JSON types. Others have their defaults or, in a
        notebook that was executed before, such as a failed one, the values with which it was.
    timeout : float, optional
        Maximum duration of a cell in s.
    progress : bool, optional
        Show a progress bar over the cells; by default on a terminal only.

    Returns
    -------
    `~pathlib.Path`
        The executed notebook.

    Raises
    ------
    BgnbError
        If a parameter is not declared or has another type, before anything starts; or if
        another process writes the same output.
    NotebookError
        If a cell fails or takes too long, or the kernel dies.

    Examples
    --------
    >>> import bgnb
    >>> values = {"outdir": "simulated", "n_runs": 2, "trigger_rate": 2.0}
    >>> path = bgnb.run_notebook("simulate_dataset", "simulated.ipynb", values)  # doctest: +SKIP
    >>> bgnb.notebook_result(path)["n_runs"]  # doctest: +SKIP
    2
    """
    parameters = {} if parameters is None else parameters
    check_type("parameters", parameters, Mapping)
    values = {str(name): value for name, value in parameters.items()}
    source, target = find_notebook(notebook), Path.cwd() / output  # kernels need the current directory
    declared = notebook_parameters(source)
    if unknown := sorted(values.keys() - declared.keys()):
        names = enumerate_values([shortened(name) for name in unknown])
        error = BgnbError("invalid-argument", f"{source.stem} has no parameter {names}. Its parameters are:")
        for each in declared.values():
            error.add_note(str(each))
        raise error
    values = {name: value for name, value in executed_parameters(source).items() if name in declared} | values
    for name, value in values.items():
        declared[name].check(value)
    with named_errors(target):
        same = target.is_dir() or is_in(target.resolve(), source.resolve())
    if target.suffix != ".ipynb" or target.match("*.failed.ipynb") or same:
        raise BgnbError("bad-target", f"{output}: use a file ….ipynb, not ….failed.ipynb nor the notebook itself")
    for path in (target, failed := target.with_name(f"{target.stem}.failed.ipynb")):
        check_file_path(path)
    check_timeout(timeout)
    check_kernel_limits()
    source_date()  # kernels with an invalid one never answer
    check_names(source, target)
    _check_outdir({name: each.default for name, each in declared.items()} | values, target)
    shown = Path(output).with_name(failed.name)
    with only_writer(target), temporary_folder() as folder:
        check_names(partial := folder / "executed.ipynb")
        content = _not_executed(source)  # which may be the failed one, after corrections
        try:
            executed = _execute(content, partial, target, values, timeout, progress)
        except BaseException as error:
            reason = error_summary(error, _written_errors(partial))
            no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            if no_space and is_in(Path(getattr(error, "filename", None) or folder), folder):
                reason = f"{folder.parent}: no space for temporary files; set TMPDIR to a directory with space"
            _keep_failed(partial, content, source, failed, error, reason)
            if not isinstance(error, Exception):
                error.add_note(f"The notebook, as far as it was executed, is in {shown}.")
                raise
            raise NotebookError("notebook-failed", f"{source.stem} failed: {reason}; see {shown}") from None
        finally:
            with held_signals():
                _end_kernel(_RUNNING.pop(target, None))
        _write(executed, source, target)
        failed.unlink(missing_ok=True)
    return target


def check_timeout(timeout: float | None) -> None:
    """Refuse a maximum duration of a cell that is not above 0 s, or infinite.

    Raises
    ------
    BgnbError
        If it is not.
    """
    if timeout is not None and finite_number("timeout", timeout) <= 0:
        raise BgnbError("invalid-argument", f"timeout must be above 0 s, got {timeout:g}")


def check_names(*paths: Path) -> None:
    """Refuse paths that notebooks cannot contain.

    Raises
    ------
    BgnbError
        If the name of one is not text in UTF-8.
    """
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            text = "its name is not text in UTF-8, so that notebooks cannot contain it; rename it, or use another path"
            raise BgnbError("invalid-argument", f"{path}: {text}") from None


def _check_outdir(values: Mapping[str, Any], target: Path) -> None:
    """Refuse, before a notebook is run, a directory ``outdir`` that it could not make or replace, or in which it would lie.

    Those that bgnb made may also be in ``outdir``, such as true and reco.
    """
    if isinstance(values.get("outdir"), str) and isinstance(values.get("overwrite"), bool):
        outdir = Path(values["outdir"])
        if is_in(target.resolve(), outdir.resolve()):
            raise BgnbError("bad-target", f"{target}: lies in {outdir}, which the notebook makes; use a path outside it")
        for directory in [manifest.parent for manifest in sorted(outdir.glob(f"*/{MANIFEST}"))] or [outdir]:
            check_target(directory, overwrite=values["overwrite"], kind=None)


def end_kernels(directory: Path) -> None:
    """Kill the kernels of the notebooks that are being made in a directory."""
    for target, manager in list(_RUNNING.items()):
        if target.parent == directory:
            _end_kernel(manager)


def _end_kernel(manager: Any) -> None:
    """Kill a kernel that runs; after a signal while it starts, nbclient leaves it, and it may notice no end of its parent."""
    process = getattr(getattr(manager, "provisioner", None), "process", None)
    if process is not None:
        process.kill()
        process.wait()


def _execute(
    content: Any, partial: Path, target: Path, values: dict[str, Any], timeout: float | None, progress: bool | None
) -> Any:
    """Execute a notebook, which papermill writes to ``partial`` after each cell."""
    for name in ("papermill", "traitlets"):  # errors are reported here
        logging.getLogger(name).addHandler(logging.NullHandler())
    logging.getLogger("asyncio").addFilter(_is_of_others)
    import nbformat
    from papermill import execute_notebook

    (copy := partial.with_name("notebook.ipynb")).write_text(nbformat.writes(content), "utf-8")
    paths = [re.sub("[{}]", r"\g<0>\g<0>", str(path)) for path in (copy, partial)]  # papermill fills in fields in braces
    kernel = {"kernel_name": "python3", "language": "python", "kernel_manager_class": _this_interpreter(partial.parent, target)}
    show = sys.stderr is not None and (sys.stderr.isatty() if progress is None else progress)
    options = {"progress_bar": show, "execution_timeout": timeout and math.ceil(timeout)}
    executed = execute_notebook(*paths, values, **kernel, **options)
    # After an interruption, papermill marks all cells as completed; only False says that a cell was executed to its end.
    if not all(cell.metadata.papermill.exception is False for cell in executed.cells):
        outputs = [output for cell in executed.cells for output in cell.get("outputs", ()) if output.output_type == "error"]
        # Papermill stops without an error at sys.exit(0).
        reasons = [f"a cell ended the execution ({output.ename}: {output.evalue})" for output in outputs]
        raise RuntimeError((reasons or ["the execution was interrupted"])[0])
    return executed


def _not_executed(source: Path) -> Any:
    """Read a notebook without what an earlier execution left in its metadata."""
    content = read_notebook(source)
    for name in ("papermill", "widgets"):
        content.metadata.pop(name, None)
    return content


def _is_of_others(record: logging.LogRecord) -> bool:
    """Return false for messages on tasks that nbclient leaves behind, such as at a timeout, which is reported here."""
    return "nbclient" not in record.getMessage()


def _this_interpreter(folder: Path, target: Path) -> type:
    """Make a kernel manager that starts the running interpreter, and connects to it by sockets in a folder."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    from bgnb.notebooks.kernels import KERNEL

    command = [*KERNEL, "--IPKernelApp.outstream_class=bgnb.notebooks.limited_output.LimitedOutput"]

    class ThisInterpreter(AsyncKernelManager):
        # Without the variable, debuggers before ipykernel 7 warn of modules of Python itself.
        kernel_spec = KernelSpec(argv=command, env={"PYDEVD_DISABLE_FILE_VALIDATION": "1"} | writable_places())
        if len(os.fsencode(folder)) < 80:  # socket paths are limited to about 100 bytes; the default is a loopback port
            transport, ip = "ipc", f"{folder}/kernel"

        async def start_kernel(self, **options: Any) -> None:
            """Start the kernel, which writes tracebacks of its own to a file, as when it is interrupted."""
            _RUNNING[target] = self
            self.connection_file = str(folder / "connection.json")  # removed with the folder, also after a signal
            with (folder / _KERNEL_ERRORS).open("ab") as file:
                await super().start_kernel(stderr=file, **options)

    return ThisInterpreter


def _keep_failed(partial: Path, content: Any, source: Path, failed: Path, error: BaseException, reason: str) -> None:
    """Keep a notebook that failed, as far as it was executed, with the error at its top."""
    from nbformat.v4 import new_markdown_cell
    from papermill.exceptions import PapermillExecutionError

    content = _unfinished(partial) or content
    if not isinstance(error, PapermillExecutionError):  # this one papermill writes itself
        text = f"**The execution of this notebook failed:**\n\n    {reason}"
        content.cells.insert(0, new_markdown_cell(text, metadata={"tags": [_MARK]}))
    _write(content, source, failed)


def _write(executed: Any, source: Path, target: Path) -> None:
    """Write an executed notebook."""
    import nbformat

    executed.metadata.setdefault("papermill", {}).update(input_path=str(source), output_path=str(target))
    widgets = executed.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    # Output widgets keep what they captured in their states. Without states, pages without kernel show the PNG of a dashboard.
    if not any(widget["model_name"] == "OutputModel" for widget in widgets.values()):
        executed.metadata.pop("widgets", None)
    write_file(target, nbformat.writes(executed).encode())


def _written_errors(partial: Path) -> str:
    """Return what the kernel of an unfinished notebook wrote to standard error, in a cell or before."""
    text = partial.with_name(_KERNEL_ERRORS)
    lines = [text.read_text("utf-8", "replace")] if text.exists() else []
    unfinished = _unfinished(partial)
    for cell in unfinished.cells if unfinished else []:
        lines += [each["text"] for each in cell.get("outputs", []) if each.get("name") == "stderr"]
    return "\n".join(lines)


def _unfinished(partial: Path) -> Any:
    """Read the notebook that papermill wrote last; None if it did not write one completely."""
    try:
        return read_notebook(partial)
    except BgnbError:
        return None
