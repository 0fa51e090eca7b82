"""Run bgnb's notebooks with parameters, by papermill.

A result appears under its name only when it is complete. What failed is kept beside it
as ``….failed.ipynb``, with the error at its top.
"""

from __future__ import annotations

import ast
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat

import bgnb
from bgnb.errors import BgnbError
from bgnb.outdir import write_file

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "None": type(None),
}


class NotebookError(BgnbError):
    """A notebook did not run to its end; the message names the cell's error and the file that shows it."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook: its name, types, default value and meaning."""

    name: str
    types: tuple[str, ...]
    default: Any
    meaning: str

    def __str__(self) -> str:
        return f"  {self.name}: {' or '.join(self.types)} = {self.default!r}  {self.meaning}"

    def from_text(self, text: str) -> Any:
        """The value that a text on the command line stands for.

        Raises
        ------
        BgnbError
            Where it stands for none of the parameter's types.
        """
        if "str" in self.types and not ("None" in self.types and text in ("None", "null")):
            return text
        literal = {"true": "True", "false": "False", "null": "None", "none": "None"}.get(text.lower(), text)
        try:
            return self.checked(ast.literal_eval(literal))
        except (ValueError, SyntaxError):
            raise BgnbError(f"parameter {self.name} must be {' or '.join(self.types)}, got '{text}'") from None

    def checked(self, value: Any) -> Any:
        """The value, if it is of one of the parameter's types and plain JSON."""
        fits = any(isinstance(value, _TYPES[name]) and (name == "bool" or not isinstance(value, bool)) for name in self.types)
        try:
            plain = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError):
            plain = False
        if not fits or not plain:
            raise BgnbError(f"parameter {self.name} must be {' or '.join(self.types)}, got {value!r}")
        return value


def notebook_directory() -> Path:
    """Where the notebooks of the installed package, or of a checkout, are."""
    package = Path(bgnb.__file__).parent
    return next(path for path in (package / "notebooks", package.parent / "notebooks") if path.is_dir())


def notebook_names() -> list[str]:
    """Names of the notebooks that come with bgnb."""
    return sorted(path.stem for path in notebook_directory().glob("*.ipynb"))


def copy_notebooks(directory: str | Path) -> list[Path]:
    """Copy the notebooks that come with bgnb to a directory to work in.

    Raises
    ------
    BgnbError
        Where a file of the same name is there already.
    """
    target = Path(directory)
    sources = [notebook_directory() / f"{name}.ipynb" for name in notebook_names()]
    if there := [source.name for source in sources if (target / source.name).exists()]:
        raise BgnbError(f"{target}: holds {', '.join(there)} already; name another directory")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BgnbError(f"{target}: cannot be made: {error.strerror}") from None
    for source in sources:
        write_file(target / source.name, source.read_bytes())
    return [target / source.name for source in sources]


def find_notebook(notebook: str | Path) -> Path:
    """A notebook by path, or by the name of one that comes with bgnb.

    Raises
    ------
    BgnbError
        Where there is none; the message lists the names.
    """
    path = Path(notebook)
    if path.suffix == ".ipynb" and path.is_file():
        return path.absolute()
    if path.parent == Path() and path.stem in notebook_names():
        return notebook_directory() / f"{path.stem}.ipynb"
    raise BgnbError(f"{notebook}: there is no such notebook; bgnb has {', '.join(notebook_names())}")


def notebook_parameters(notebook: str | Path) -> dict[str, Parameter]:
    """Parameters of a notebook by name, from its cell with the tag ``parameters``."""
    from papermill.inspection import inspect_notebook

    parameters = {}
    for name, found in inspect_notebook(str(find_notebook(notebook))).items():
        types = tuple(part.strip() for part in found["inferred_type_name"].split("|"))
        parameters[name] = Parameter(name, types, ast.literal_eval(found["default"]), found["help"])
    return parameters


def run_notebook(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
    progress: bool | None = None,
) -> Path:
    """Run a notebook with parameters, in the running interpreter.

    Parameters
    ----------
    notebook : path or str
        A notebook, or the name of one that comes with bgnb.
    output : path
        The executed notebook. Paths among the parameters count from the current directory.
    parameters : mapping of str to values
        Values for parameters that the notebook declares, as plain JSON types.
    timeout : float, optional
        Seconds that a cell may take.
    progress : bool, optional
        Show a progress bar over the cells; by default on a terminal only.

    Returns
    -------
    `~pathlib.Path`
        The executed notebook.

    Raises
    ------
    BgnbError
        Where a parameter is not declared or has another type, before anything starts; or
        another run is writing the same output.
    NotebookError
        Where a cell fails or takes too long, or the kernel dies.
    """
    source, target = find_notebook(notebook), Path(output).absolute()
    values = _checked_parameters(source, parameters or {})
    if target.suffix != ".ipynb":
        raise BgnbError(f"{output}: the executed notebook must be named ….ipynb")
    with _only_writer(target):
        partial = target.with_name(f".{target.stem}.partial.ipynb")
        failed = target.with_name(f"{target.stem}.failed.ipynb")
        failed.unlink(missing_ok=True)
        try:
            _execute(source, partial, values, timeout, progress)
            _publish(partial, target)
        except BaseException as error:
            _keep_failed(partial, failed, source, error)
            if not isinstance(error, Exception):
                raise
            raise NotebookError(f"{source.stem} failed: {_first_line(error)}; see {failed}") from None
        finally:
            partial.unlink(missing_ok=True)
    return target


def notebook_result(path: str | Path) -> dict[str, Any]:
    """The last JSON output of an executed notebook: its machine-readable result.

    Raises
    ------
    BgnbError
        Where it has none.
    """
    for data in reversed(list(outputs_of(nbformat.read(path, as_version=4)))):
        if "application/json" in data:
            return dict(data["application/json"])
    raise BgnbError(f"{path}: has no JSON output")


def _checked_parameters(source: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    declared = notebook_parameters(source)
    if unknown := sorted(set(values) - set(declared)):
        listed = "\n".join(str(parameter) for parameter in declared.values())
        raise BgnbError(f"{source.stem} has no parameter {', '.join(unknown)}. Its parameters are:\n{listed}")
    return {name: declared[name].checked(value) for name, value in values.items()}


def _execute(source: Path, partial: Path, values: dict[str, Any], timeout: float | None, progress: bool | None) -> None:
    from papermill import execute_notebook

    show = sys.stderr.isatty() if progress is None else progress
    with TemporaryDirectory(prefix="bgnb-") as folder:
        executed = execute_notebook(
            source,
            str(partial),
            values,
            kernel_name="python3",
            language="python",
            progress_bar=show,
            execution_timeout=timeout,
            kernel_manager_class=_this_interpreter(folder),
        )
    # After an interruption every cell says "completed"; those that did not run have no word on exceptions.
    if not all(cell.metadata.papermill.exception is False for cell in executed.cells):
        raise RuntimeError("the execution was interrupted")


def _this_interpreter(folder: str) -> type:
    """A kernel of the running interpreter, whatever kernels are installed, that listens in a folder and on no network port."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import Unicode

    class ThisInterpreter(AsyncKernelManager):  # type: ignore[misc] # jupyter_client is not typed for us
        transport = "ipc"
        ip = Unicode(f"{folder}/kernel")

        @property
        def kernel_spec(self) -> KernelSpec:
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    return ThisInterpreter


def _publish(partial: Path, target: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)


def _keep_failed(partial: Path, failed: Path, source: Path, error: BaseException) -> None:
    """Keep what there is of a notebook, with the error at its top."""
    notebook = nbformat.read(partial if partial.exists() else source, as_version=4)
    if not isinstance(error, Exception) or not _shows_error(notebook):
        text = f"**This notebook did not run to its end: {_first_line(error)}**"
        cell = nbformat.v4.new_markdown_cell(text)
        if notebook.get("nbformat_minor", 5) < 5:
            cell.pop("id", None)
        notebook.cells.insert(0, cell)
    write_file(failed, nbformat.writes(notebook).encode())


def _shows_error(notebook: Any) -> bool:
    """Whether papermill has put the failing cell's error at the top."""
    return bool(notebook.cells) and "papermill-error-cell-tag" in notebook.cells[0].metadata.get("tags", [])


def _first_line(error: BaseException) -> str:
    name, value = getattr(error, "ename", None), getattr(error, "evalue", None)
    if name:
        return f"{name}: {value}"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _only_writer(target: Path) -> Iterator[None]:
    """Refuse a second run into one output; the lock dies with its process."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(f".{target.name}.lock").open("w")
    except OSError as error:
        raise BgnbError(f"{target}: cannot be written: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BgnbError(f"{target}: is being written by another run") from None
        try:
            yield
        finally:
            Path(lock.name).unlink(missing_ok=True)


def outputs_of(notebook: Any) -> Iterator[Mapping[str, Any]]:
    """The outputs of all cells of a notebook, as data by MIME type."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:
                yield output["data"]
