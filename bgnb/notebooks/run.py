"""Run notebooks with parameters, by papermill."""

from __future__ import annotations

import ast
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tokenize import COMMENT, generate_tokens
from typing import Any

from bgnb._util.errors import BgnbError, DataError, enumerate_values, quoted, shortened
from bgnb._util.extras import require
from bgnb._util.reading import FILE_MAX, read_text
from bgnb._util.resource_limits import check_kernel_limits
from bgnb._util.signals import held_signals
from bgnb.files.caches import writable_places
from bgnb.files.manifest import MANIFEST
from bgnb.files.output_directory import check_file_path, check_target, named_errors, only_writer, source_date, write_file
from bgnb.notebooks.shipped import find_notebook
from bgnb.notebooks.temporary import temporary_folder

# Managers of running kernels by the notebooks that are made.
_RUNNING: dict[Path, Any] = {}
# Name of the file beside the unfinished notebook for what a kernel writes to standard error.
_KERNEL_ERRORS = "kernel-errors"
# Types of parameters, those of JSON.
_TYPES = ("str", "int", "float", "bool", "list", "dict", "None")


class NotebookError(BgnbError):
    """A notebook that failed; the message names the error of its cell and the file that shows it.

    Parameters
    ----------
    code, message : str
        See `BgnbError`.
    """


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Parameter of a notebook: its name, types, default value and meaning."""

    name: str
    types: tuple[str, ...]
    default: Any
    meaning: str

    def __str__(self) -> str:
        return f"  {self.name}: {' or '.join(self.types)} = {self.default!r}  {self.meaning}"

    def from_text(self, text: str) -> Any:
        """Convert a text of the command line; one that fits no type of the parameter stays a text."""
        if "str" in self.types and not ("None" in self.types and text in ("None", "null")):
            return text
        constants = {"true": True, "false": False, "none": None, "null": None}
        try:
            return constants[text.lower()] if text.lower() in constants else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text

    def check(self, value: Any) -> None:
        """Refuse a value of another type, or one that papermill cannot pass.

        Raises
        ------
        BgnbError
            If the value has none of the parameter's types, or is not plain JSON.
        """
        try:
            text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()  # notebooks are text in UTF-8
            plain = json.loads(text)
            kind = "None" if plain is None else type(plain).__name__
            valid = plain == value and (kind in self.types or (kind == "int" and "float" in self.types))
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise BgnbError("invalid-argument", f"parameter {self.name} must be {' or '.join(self.types)}, got {quoted(value)}")


def notebook_parameters(notebook: str | Path) -> dict[str, Parameter]:
    """Read the parameters of a notebook from its cell with the tag ``parameters``.

    Parameters
    ----------
    notebook : path or str
        A notebook, or the name of one that comes with bgnb.

    Returns
    -------
    dict of str to Parameter
        Parameters by name.

    Raises
    ------
    BgnbError
        If there is no such notebook, or a parameter has a default or type that papermill cannot pass.

    Examples
    --------
    >>> import bgnb
    >>> parameters = bgnb.notebook_parameters("group_report")
    >>> print(parameters["group_id"])
    group_id: int = 27  GROUP_ID of the group
    """
    require("notebooks")
    source = find_notebook(notebook)
    content = read_notebook(source)
    for part, key in (("kernelspec", "language"), ("language_info", "name")):
        if str(language := content.metadata.get(part, {}).get(key, "python")).lower() != "python":
            raise BgnbError("bad-notebook", f"{source}: is a notebook in {language}; use one in Python")
    cell = parameter_cell(content)
    return {each[0]: _parameter(source, *each) for each in (_assignments(source, cell.source) if cell else ())}


def _assignments(source: Path, code: str) -> Iterator[tuple[str, str, ast.expr, str]]:
    """Iterate over the assignments of a cell, as name, annotation, value and comment.

    Papermill finds neither ``x: str | None = None``, nor the end of a text with a #.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    code = TransformerManager().transform_cell(code)  # type: ignore[no-untyped-call]  # magics
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BgnbError("bad-notebook", f"{source}: the cell with the tag parameters is not valid Python") from None
    tokens = generate_tokens(StringIO(code).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == COMMENT}
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            (target, *others) = node.targets if isinstance(node, ast.Assign) else [node.target]
            if isinstance(target, ast.Name) and not others:
                annotation = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
                in_comment, meaning = re.findall(r"^#?\s*(?:type:\s*(\S+)\s*)?(.*)", comments.get(node.end_lineno or 0, ""))[0]
                yield target.id, annotation.strip("'\"") or in_comment, node.value, meaning


def _parameter(source: Path, name: str, annotation: str, value: ast.expr, meaning: str) -> Parameter:
    try:
        default = ast.literal_eval(value)
        kind = annotation or type(default).__name__
        types = tuple(part.strip().replace("NoneType", "None") for part in kind.split("|"))
        if not set(_TYPES).issuperset(types):
            raise ValueError
    except (ValueError, SyntaxError):
        needed = f"a literal as default, and a type of {', '.join(_TYPES)}"
        raise BgnbError("bad-notebook", f"{source}: parameter {name} must have {needed}") from None
    return Parameter(name=name, types=types, default=default, meaning=meaning)


def read_notebook(path: Path) -> Any:
    """Read a notebook.

    Raises
    ------
    BgnbError
        If the file is not a notebook.
    """
    import nbformat

    try:
        notebook = nbformat.reads(read_text(path, FILE_MAX), as_version=nbformat.NO_CONVERT)
        if notebook.nbformat < 4:  # papermill cannot run it
            text = "is a notebook in an old format; convert it with jupyter nbconvert --to notebook"
            raise DataError("bad-notebook", f"{path}: {text}")
        nbformat.validate(notebook)
    except DataError:
        raise
    except Exception as error:  # nbformat raises many kinds
        raise BgnbError("bad-notebook", f"{path}: is not a notebook ({_summary(error)})") from None
    return notebook


def parameter_cell(notebook: Any) -> Any:
    """Find the cell of a notebook with the tag ``parameters``; None if there is none."""
    return next((cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])), None)


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
    ``….failed.ipynb``, with the error at its top. Notebooks import nothing from the current
    directory; own modules must be installed, or be found through ``PYTHONPATH``.

    Parameters
    ----------
    notebook : path or str
        A notebook, or the name of one that comes with bgnb.
    output : path
        The executed notebook. Paths among the parameters are relative to the current directory.
    parameters : mapping of str to values
        Values for parameters that the notebook declares, as plain JSON types.
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
    source, target, values = find_notebook(notebook), Path(output).absolute(), dict(parameters or {})
    declared = notebook_parameters(source)
    import nbformat

    if unknown := sorted(values.keys() - declared.keys()):
        names = enumerate_values([shortened(name) for name in unknown])
        error = BgnbError("invalid-argument", f"{source.stem} has no parameter {names}. Its parameters are:")
        for each in declared.values():
            error.add_note(str(each))
        raise error
    for name, value in values.items():
        declared[name].check(value)
    with named_errors(target):
        same = target.is_dir() or target.resolve() == source.resolve()
    if target.suffix != ".ipynb" or target.match("*.failed.ipynb") or same:
        raise BgnbError("bad-target", f"{output}: use a file ….ipynb, not ….failed.ipynb nor the notebook itself")
    check_file_path(failed := target.with_name(f"{target.stem}.failed.ipynb"))
    check_timeout(timeout)
    check_kernel_limits()
    source_date()  # kernels with an invalid one never answer
    check_names(source, target)
    _check_outdir({name: each.default for name, each in declared.items()} | values)
    shown = Path(output).with_name(failed.name)
    with only_writer(target), temporary_folder() as folder:
        check_names(partial := folder / "executed.ipynb")
        failed.unlink(missing_ok=True)
        try:
            executed = _execute(source, partial, target, values, timeout, progress)
        except BaseException as error:
            reason = _summary(error, _written_errors(partial))
            _keep_failed(partial, source, failed, error, reason)
            if not isinstance(error, Exception):
                raise
            raise NotebookError("notebook-failed", f"{source.stem} failed: {reason}; see {shown}") from None
        finally:
            with held_signals():
                _end_kernel(_RUNNING.pop(target, None))
        executed.metadata.papermill["output_path"] = str(target)
        write_file(target, nbformat.writes(executed).encode())
    return target


def check_timeout(timeout: float | None) -> None:
    """Refuse a maximum duration of a cell that is not above 0 s, or infinite.

    Raises
    ------
    BgnbError
        If it is not.
    """
    if timeout is not None and not 0 < timeout < math.inf:
        raise BgnbError("invalid-argument", f"timeout must be above 0 s and finite, got {timeout}")


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


def _check_outdir(values: Mapping[str, Any]) -> None:
    """Refuse, before a notebook is run, a directory ``outdir`` that it could not make or replace.

    Those that bgnb made may also be in ``outdir``, such as true and reco.
    """
    if isinstance(values.get("outdir"), str) and isinstance(values.get("overwrite"), bool):
        outdir = Path(values["outdir"])
        for directory in [manifest.parent for manifest in sorted(outdir.glob(f"*/{MANIFEST}"))] or [outdir]:
            check_target(directory, overwrite=values["overwrite"])


def notebook_result(path: str | Path) -> dict[str, Any]:
    """Return the last JSON output of an executed notebook, its machine-readable result.

    Parameters
    ----------
    path : path
        The executed notebook.

    Returns
    -------
    dict
        The JSON object.

    Raises
    ------
    BgnbError
        If it has none.

    Examples
    --------
    >>> import bgnb
    >>> values = {"outdir": "simulated", "n_runs": 2, "trigger_rate": 2.0}
    >>> path = bgnb.run_notebook("simulate_dataset", "simulated.ipynb", values)  # doctest: +SKIP
    >>> bgnb.notebook_result(path)["n_runs"]  # doctest: +SKIP
    2
    """
    require("notebooks")
    result = json_output(read_notebook(Path(path)))
    if result is None:
        raise BgnbError("bad-notebook", f"{path}: has no output that is a JSON object")
    return result


def json_output(notebook: Any) -> dict[str, Any] | None:
    """Return the last output of a notebook that is a JSON object, or None."""
    found = (data.get("application/json") for data in outputs_of(notebook))
    return next((result for result in reversed([*found]) if isinstance(result, dict)), None)


def outputs_of(notebook: Any) -> Iterator[Mapping[str, Any]]:
    """Iterate over the outputs of all cells of a notebook, as data by MIME type."""
    return (output["data"] for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output)


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
    source: Path, partial: Path, target: Path, values: dict[str, Any], timeout: float | None, progress: bool | None
) -> Any:
    """Execute a notebook, which papermill writes to ``partial`` after each cell."""
    import logging

    for name in ("papermill", "traitlets"):  # errors are reported here
        logging.getLogger(name).addHandler(logging.NullHandler())
    from papermill import execute_notebook

    kernel = {"kernel_name": "python3", "language": "python", "kernel_manager_class": _this_interpreter(partial.parent, target)}
    show = sys.stderr.isatty() if progress is None else progress
    # Without widget state, pages that have no kernel show the PNG of a dashboard.
    options = {"progress_bar": show, "execution_timeout": timeout and math.ceil(timeout), "store_widget_state": False}
    executed = execute_notebook(source, partial, values, **kernel, **options)
    # After an interruption, papermill marks all cells as completed; only False says that a cell was executed to its end.
    if not all(cell.metadata.papermill.exception is False for cell in executed.cells):
        raise RuntimeError("the execution was interrupted")
    return executed


def _this_interpreter(folder: Path, target: Path) -> type:
    """Make a kernel manager that starts the running interpreter, and connects to it by sockets in a folder."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    from bgnb.notebooks.kernels import KERNEL

    class ThisInterpreter(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=KERNEL, env=writable_places())
        if len(str(folder)) < 80:  # socket paths are limited to about 100 bytes; the default is a loopback port
            transport, ip = "ipc", f"{folder}/kernel"

        async def start_kernel(self, **options: Any) -> None:
            """Start the kernel, which writes tracebacks of its own to a file, as when it is interrupted."""
            _RUNNING[target] = self
            self.connection_file = str(folder / "connection.json")  # removed with the folder, also after a signal
            with (folder / _KERNEL_ERRORS).open("ab") as file:
                await super().start_kernel(stderr=file, **options)

    return ThisInterpreter


def _keep_failed(partial: Path, source: Path, failed: Path, error: BaseException, reason: str) -> None:
    """Keep a notebook that failed, as far as it was executed, with the error at its top."""
    import nbformat
    from papermill.exceptions import PapermillExecutionError

    content = _unfinished(partial) or read_notebook(source)
    if not isinstance(error, PapermillExecutionError):  # this one papermill writes itself
        text = f"**The execution of this notebook failed:**\n\n    {reason}"
        content.cells.insert(0, nbformat.v4.new_markdown_cell(text))
    write_file(failed, nbformat.writes(content).encode())


def _summary(error: BaseException, written: str = "") -> str:
    """Return the first line of an error, or of the error in the kernel that it reports.

    If it states no reason, that is the last line that the kernel wrote to standard error.
    """
    name, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error)).strip()
    if not text and name == "CellExecutionError":  # the kernel could not report its error
        text = written.strip().rpartition("\n")[2] or "the kernel gave no reason"
    return ": ".join([name, *text.splitlines()[:1]])


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
