"""Small notebooks, pictures in notebooks, and the cells of make_bg_cube_models that follow from its function.

These cells are the parameters, and the call.
``python -m tests.helpers.notebooks`` writes them anew after a change of settings.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

import bgnb
from bgnb._util.setting_kinds import Choice

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "make_bg_cube_models.ipynb"
#: Arguments of the function that are not parameters of the notebook.
NOT_PARAMETERS = {"progress", "part"}
#: Parameters whose defaults differ, so that the notebook runs as it is.
OTHER_DEFAULTS = {"indir", "outdir", "overwrite", "scheme", "test"}


def notebook(path: Path, *cells: str, parameters: str = "seconds: float = 1.0  # to sleep") -> Path:
    """Write a notebook with a cell of parameters and some others."""
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *(new_code_cell(cell) for cell in cells)]
    nbformat.write(
        new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}}), path
    )
    return path


def arguments() -> dict[str, inspect.Parameter]:
    """The arguments of the function that are parameters of the notebook."""
    taken = inspect.signature(bgnb.make_bg_cube_models).parameters
    return {key: each for key, each in taken.items() if key not in NOT_PARAMETERS}


def parameters_cell(source: str) -> str:
    """Return the cell of parameters; lines of parameters that are not settings stay as they are."""
    lines = {re.split(r"[: =]", line)[0]: line for line in source.splitlines()}
    declared = bgnb.make_bg_cube_models.settings_group.declared()
    for key, argument in arguments().items():
        if key in declared and key not in OTHER_DEFAULTS:
            lines[key] = _line(key, declared[key].metadata["declaration"], argument.default)
    return "\n".join(lines[key] for key in arguments())


def call_cell(source: str) -> str:
    """Return a cell with the call of the function; what follows it stays as it is."""
    start = source.index("(") + 1
    end = source.index("\n)", start)
    given = [key if each.kind is each.POSITIONAL_OR_KEYWORD else f"{key}={key}" for key, each in arguments().items()]
    return source[:start] + "".join(f"\n    {each}," for each in given) + source[end:]


def rewritten() -> Any:
    """Return the notebook with its cells written anew."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = parameters_cell(cell.source)
        elif cell.cell_type == "code" and " = bgnb.make_bg_cube_models(\n    " in cell.source:
            cell.source = call_cell(cell.source)
    return notebook


def _line(name: str, declared: Any, default: Any) -> str:
    text = re.split(r"[.;] ", declared.help.rstrip("."))[0]
    text = text[0].lower() + text[1:] if text[1].islower() else text
    if isinstance(declared.kind, Choice):
        text += f" ({', '.join(declared.kind.names())})"
    if declared.default_text:
        text += f"; by default {declared.default_text}"
    if default is None:
        return f"{name} = None  # type: {declared.kind.json}|None {text}"
    value = list(default) if isinstance(default, tuple) else default
    return f"{name}: {declared.kind.json} = {json.dumps(value) if isinstance(value, str | list) else repr(value)}  # {text}"


def pictures(path: Path) -> int:
    """Count the PNG pictures in an executed notebook, which must not contain Bokeh or widgets."""
    text = path.read_text()
    assert len(text) < 2_000_000
    assert "bokeh" not in text.lower()
    assert "application/vnd" not in text
    return text.count('"image/png"')


if __name__ == "__main__":
    NOTEBOOK.write_text(nbformat.writes(rewritten()) + "\n")
