"""Run bgnb's notebooks with parameters, by papermill.

A result appears under its name only when it is complete. What failed is kept beside it
as ``….failed.ipynb``, with the error at its top.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bgnb._util.errors import BgnbError
from bgnb._util.extras import require
from bgnb.files.locks import lock
from bgnb.files.output_directory import write_file

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "list": list,
    "dict": dict,
    "None": type(None),
}


class NotebookError(BgnbError):
    """A notebook did not run to its end; the message names the cell's error and the file that shows it.

    Parameters
    ----------
    code, message : str
        See `BgnbError`.
    """


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
    here = Path(__file__).parent
    return next(path for path in (here / "ipynb", here.parents[1] / "notebooks") if path.is_dir())


def notebook_names() -> list[str]:
    """Names of the notebooks that come with bgnb."""
    return sorted(path.stem for path in notebook_directory().glob("*.ipynb"))


def copy_notebooks(directory: str | Path) -> list[Path]:
    """Copy the notebooks that come with bgnb to a directory to work in.

    Parameters
    ----------
    directory : path
        Directory to copy to; it is made if it does not exist.

    Returns
    -------
    list of `~pathlib.Path`
        The copies.

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
    """Read the parameters of a notebook, from its cell with the tag ``parameters``.

    Parameters
    ----------
    notebook : path or str
        A notebook, or the name of one that comes with bgnb.

    Returns
    -------
    dict of str to Parameter
        Name, types, default and meaning of each parameter.
    """
    require("notebooks")
    from papermill.translators import PythonTranslator

    source = find_notebook(notebook)
    cell = next((cell for cell in _read(source).cells if "parameters" in cell.metadata.get("tags", [])), None)
    found = PythonTranslator.inspect(cell) if cell else []
    return {name: _parameter(source, name, kind, default, meaning) for name, kind, default, meaning in found}


def _parameter(source: Path, name: str, kind: str, text: str, meaning: str) -> Parameter:
    try:
        default = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise BgnbError(f"{source}: the default of parameter {name} must be a literal, not {text}") from None
    types = (type(default).__name__,) if kind == "None" else tuple(part.strip() for part in kind.split("|"))
    types = tuple("None" if part == "NoneType" else part for part in types)
    if unknown := [part for part in types if part not in _TYPES]:
        raise BgnbError(f"{source}: parameter {name} has the type {unknown[0]}; use {', '.join(_TYPES)}")
    return Parameter(name, types, default, meaning)


def _read(path: Path) -> Any:
    """A notebook, or a `BgnbError` that says that it is none."""
    require("notebooks")
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises many kinds
        raise BgnbError(f"{path}: is not a notebook: {_first_line(error)}") from None
    return notebook


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
    _check_output(source, target, output)
    if timeout is not None and not timeout > 0:
        raise BgnbError(f"timeout must be above 0 s, got {timeout}")
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

    Parameters
    ----------
    path : path
        The executed notebook.

    Returns
    -------
    dict of str to values
        The JSON object.

    Raises
    ------
    BgnbError
        Where it has none.
    """
    for data in reversed(list(outputs_of(_read(Path(path))))):
        if isinstance(data.get("application/json"), dict):
            return dict(data["application/json"])
    raise BgnbError(f"{path}: has no output that is a JSON object")


def _check_output(source: Path, target: Path, output: str | Path) -> None:
    if target.suffix != ".ipynb" or target.name.endswith(".failed.ipynb"):
        raise BgnbError(f"{output}: the executed notebook must be named ….ipynb, and not ….failed.ipynb")
    if target.is_dir():
        raise BgnbError(f"{output}: is a directory; name a file")
    if target.exists() and target.samefile(source):
        raise BgnbError(f"{output}: is the notebook itself; name another file")


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
            store_widget_state=False,  # a page without Python then shows the picture of a dashboard
        )
    # After an interruption every cell says "completed"; those that did not run have no word on exceptions.
    if not all(cell.metadata.papermill.exception is False for cell in executed.cells):
        raise RuntimeError("the execution was interrupted")


def _this_interpreter(folder: str) -> type:
    """A kernel of the running interpreter, whatever kernels are installed, that listens in a folder and on no network port."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import Unicode

    address = f"{folder}/kernel"

    class ThisInterpreter(AsyncKernelManager):
        if len(address) < 90:  # the system takes about 100 letters; else the loopback port that is the default
            transport = "ipc"
            ip = Unicode(address)

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
    import nbformat

    notebook = nbformat.read(partial if partial.exists() else source, as_version=4)
    if not isinstance(error, Exception) or not _shows_error(notebook):
        text = f"**This notebook did not run to its end:**\n\n    {_first_line(error)}"
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
    """Refuse a second run into one output."""
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock(target.with_name(f".{target.name}.lock")))
        except BlockingIOError:
            raise BgnbError(f"{target}: is being written by another run") from None
        except OSError as error:
            raise BgnbError(f"{target}: cannot be written: {error.strerror}") from None
        yield


def outputs_of(notebook: Any) -> Iterator[Mapping[str, Any]]:
    """The outputs of all cells of a notebook, as data by MIME type."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:
                yield output["data"]
