"""Run bgnb's notebooks with parameters, one or one per group, by papermill.

A result appears under its name only when it is complete. What failed is kept beside it
as ``….failed.ipynb``, with the error at its top.
"""

from __future__ import annotations

import ast
import fcntl
import json
import os
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from tqdm import tqdm

import bgnb
from bgnb.comparisons import model_files
from bgnb.errors import BgnbError
from bgnb.outdir import REPORT, new_directory, write_file

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


def run_groups(
    modeldir: str | Path,
    outdir: str | Path,
    *,
    notebook: str | Path = "group_report",
    workers: int = 2,
    timeout: float | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> dict[int, str]:
    """Run a notebook once for each group of models, several at a time, and make an index of the results.

    Parameters
    ----------
    modeldir : path
        A directory of models.
    outdir : path
        Directory to make: ``index.html``, and per group the executed notebook, the same as
        HTML, and a picture.
    notebook : path or str
        A notebook with the parameters ``modeldir`` and ``group_id``.
    workers : int
        How many at a time; each has a kernel of its own.
    timeout, progress
        See `run_notebook`.
    overwrite : bool
        Replace ``outdir``, if bgnb made it.

    Returns
    -------
    dict of int to str
        What went wrong, by GROUP_ID; empty where all went well.

    Raises
    ------
    BgnbError
        Where there are no models, or ``outdir`` is in the way.
    """
    source, models = find_notebook(notebook), Path(modeldir).absolute()
    if workers < 1:
        raise BgnbError(f"workers must be 1 or more, got {workers}")
    groups = sorted(model_files(models))
    problems: dict[int, str] = {}
    with new_directory(Path(outdir), overwrite=overwrite, inputs=(models,)) as directory, ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(_run_group, source, models, directory, group_id, timeout): group_id for group_id in groups}
        bar = tqdm(as_completed(futures), total=len(groups), unit="group", disable=None if progress is None else not progress)
        figures = {}
        try:
            for future in bar:
                try:
                    figures[futures[future]] = future.result()
                except BgnbError as error:
                    problems[futures[future]] = str(error).replace(f"{directory}{os.sep}", "")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        write_file(directory / "index.html", _index(models.name, groups, figures, problems).encode())
        report = {"creator": f"bgnb {bgnb.__version__}", "groups": groups, "problems": problems}
        write_file(directory / REPORT, (json.dumps(report, indent=1) + "\n").encode())
    return dict(sorted(problems.items()))


def notebook_result(path: str | Path) -> dict[str, Any]:
    """The last JSON output of an executed notebook: its machine-readable result.

    Raises
    ------
    BgnbError
        Where it has none.
    """
    for data in reversed(list(_outputs(nbformat.read(path, as_version=4)))):
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


def _run_group(source: Path, models: Path, directory: Path, group_id: int, timeout: float | None) -> dict[str, Any]:
    """Run one group's notebook; its figures. Its picture and HTML are written beside it."""
    parameters = {"modeldir": str(models), "group_id": group_id}
    executed = run_notebook(source, directory / f"group{group_id}.ipynb", parameters, timeout=timeout, progress=False)
    notebook = nbformat.read(executed, as_version=4)
    write_file(executed.with_suffix(".html"), _html(notebook).encode())
    picture = next((data["image/png"] for data in _outputs(notebook) if "image/png" in data), None)
    if picture:
        write_file(executed.with_suffix(".png"), b64decode(picture))
    return notebook_result(executed) | {"picture": bool(picture)}


def _outputs(notebook: Any) -> Iterator[Mapping[str, Any]]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:
                yield output["data"]


def _html(notebook: Any) -> str:
    """The notebook as one HTML file that asks the network for nothing."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(require_js_url="", mathjax_url="", jquery_url="", mermaid_js_url="", exclude_input_prompt=True)
    html, _ = exporter.from_notebook_node(notebook)
    return str(html)


def _index(name: str, groups: Sequence[int], figures: Mapping[int, Mapping[str, Any]], problems: Mapping[int, str]) -> str:
    cards = []
    for group_id in groups:
        if group_id in problems:
            link = f'<a href="group{group_id}.failed.ipynb">group{group_id}.failed.ipynb</a>'
            cards.append(f"<article class=failed><h2>Group {group_id}</h2><p>{escape(problems[group_id])}</p>{link}</article>")
            continue
        found = figures[group_id]
        rows = "".join(
            f"<tr><th>{escape(str(key))}<td>{escape(f'{value:.4g}' if isinstance(value, float) else str(value))}"
            for key, value in found.items()
            if isinstance(value, int | float | str) and not isinstance(value, bool)
        )
        picture = f'<img src="group{group_id}.png" alt="Rate of group {group_id}">' if found["picture"] else ""
        cards.append(
            f'<article><h2><a href="group{group_id}.html">Group {group_id}</a></h2>{picture}'
            f'<table>{rows}</table><a href="group{group_id}.ipynb">notebook</a></article>'
        )
    style = (
        "body{font-family:sans-serif;margin:2em}main{display:grid;grid-template-columns:repeat(auto-fill,minmax(20em,1fr));gap:1em}"
        "article{border:1px solid #ccc;border-radius:6px;padding:1em}img{max-width:100%}th{text-align:left;padding-right:1em}"
        ".failed{border-color:#c00}h2{margin-top:0}"
    )
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(name)}</title><style>{style}</style>"
    return f"{head}<h1>Models in {escape(name)}</h1><main>{''.join(cards)}</main></html>\n"
