"""Cells of notebooks that follow from the functions that they call: the parameters, and the call.

``python -m tests.helpers.notebooks`` writes them anew after a change of settings.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

import bgnb
from bgnb._util.settings_groups import Choice

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "simulate_dataset": bgnb.make_test_dataset,
    "make_bg_cube_models": bgnb.make_bg_cube_models,
    "true_reco": bgnb.make_true_reco,
    "validate": bgnb.cross_validate,
}
#: Arguments of functions that are not parameters of notebooks.
NOT_PARAMETERS = {"progress", "part"}
#: Parameters whose defaults differ, so that notebooks run as they are, and quickly.
OTHER_DEFAULTS = {"indir", "outdir", "dir1", "dir2", "overwrite", "trigger_rate", "test", "scheme", "n_runs"}


def arguments(name: str) -> dict[str, inspect.Parameter]:
    """The arguments of the function of a notebook that are its parameters."""
    taken = inspect.signature(FUNCTIONS[name]).parameters
    without = NOT_PARAMETERS | ({"sources"} if name == "simulate_dataset" else set())
    return {key: each for key, each in taken.items() if key not in without}


def parameters_cell(name: str, source: str) -> str:
    """Return the cell of parameters; lines of parameters that are not settings stay as they are."""
    lines = {re.split(r"[: =]", line)[0]: line for line in source.splitlines()}
    declared = FUNCTIONS[name].settings_group.declared()
    for key, argument in arguments(name).items():
        if key in declared and not (key in OTHER_DEFAULTS and key in lines):
            lines[key] = _line(key, declared[key].metadata["declaration"], argument.default)
    return "\n".join(lines[key] for key in arguments(name))


def call_cell(name: str, source: str) -> str:
    """Return a cell with the call of the function; what follows it stays as it is."""
    start = source.index("(") + 1
    end = source.index("\n)", start)
    given = [key if each.kind is each.POSITIONAL_OR_KEYWORD else f"{key}={key}" for key, each in arguments(name).items()]
    return source[:start] + "".join(f"\n    {each}," for each in given) + source[end:]


def rewritten(name: str) -> Any:
    """Return a notebook with its cells written anew."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    call = f"bgnb.{FUNCTIONS[name].__name__}("
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = parameters_cell(name, cell.source)
        elif cell.cell_type == "code" and f" = {call}\n    " in cell.source:
            cell.source = call_cell(name, cell.source)
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


if __name__ == "__main__":
    for name in FUNCTIONS:
        (NOTEBOOKS / f"{name}.ipynb").write_text(nbformat.writes(rewritten(name)) + "\n")
