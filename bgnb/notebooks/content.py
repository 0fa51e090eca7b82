"""Parameters and outputs of notebooks."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tokenize import COMMENT, generate_tokens
from typing import Any
from warnings import catch_warnings

from bgnb._util.errors import BgnbError, DataError, quoted
from bgnb._util.extras import require
from bgnb._util.reading import FILE_MAX, read_text
from bgnb.notebooks.shipped import find_notebook

# Maximum length of the cell with parameters.
_PARAMETERS_MAX = 100_000
# Types of parameters, those of JSON.
_TYPES = ("str", "int", "float", "bool", "list", "dict", "None")


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
        except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two, of Python's parser, for nested texts
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


def executed_parameters(source: Path) -> dict[str, Any]:
    """Return the values of parameters with which a notebook was executed before; none if it was not."""
    cells = [cell for cell in read_notebook(source).cells if "injected-parameters" in cell.metadata.get("tags", [])]
    values = {}
    for name, _, value, _ in _assignments(source, cells[0].source) if cells else ():
        with suppress(ValueError):  # a value that papermill cannot have written
            values[name] = ast.literal_eval(value)
    return values


def _assignments(source: Path, code: str) -> Iterator[tuple[str, str, ast.expr, str]]:
    """Iterate over the assignments of a cell, as name, annotation, value and comment.

    Papermill finds neither ``x: str | None = None``, nor the end of a text with a #.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        if len(code) > _PARAMETERS_MAX:
            raise ValueError
        code = TransformerManager().transform_cell(code)  # type: ignore[no-untyped-call]  # magics
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError, RuntimeError):  # RuntimeError: too many magics
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
        with catch_warnings(action="ignore", category=nbformat.warnings.DuplicateCellId):  # the cells get new identifiers
            notebook = nbformat.reads(read_text(path, FILE_MAX), as_version=nbformat.NO_CONVERT)
        if notebook.nbformat < 4:  # papermill cannot run it
            text = "is a notebook in an old format; convert it with jupyter nbconvert --to notebook"
            raise DataError("bad-notebook", f"{path}: {text}")
        nbformat.validate(notebook)
        json.dumps(notebook, ensure_ascii=False).encode()
    except DataError:
        raise
    except UnicodeEncodeError as error:
        text = f"contains {error.object[error.start]!r}, which is half of a character, so that it cannot be written; remove it"
        raise BgnbError("bad-notebook", f"{path}: {text}") from None
    except Exception as error:  # nbformat raises many kinds
        raise BgnbError("bad-notebook", f"{path}: is not a notebook ({error_summary(error)})") from None
    return notebook


def parameter_cell(notebook: Any) -> Any:
    """Find the cell of a notebook with the tag ``parameters``; None if there is none."""
    return next((cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])), None)


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


def error_summary(error: BaseException, written: str = "") -> str:
    """Return the first line of an error, or of the error in the kernel that it reports.

    If it states no reason, that is the last line that the kernel wrote to standard error.
    """
    name, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error)).strip()
    reason = written.strip().rpartition("\n")[2]
    if not text and name == "CellExecutionError":  # the kernel could not report its error
        text = reason or "the kernel gave no reason"
    elif text.startswith("Kernel died before") and reason:
        text = f"{text} ({reason})"
    return ": ".join([name, *text.splitlines()[:1]])
