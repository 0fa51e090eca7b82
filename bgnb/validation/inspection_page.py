"""HTML page of an overview of runs; it needs neither a server nor the network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from itertools import zip_longest

from astropy.table import Table

from bgnb._util.errors import numbered
from bgnb.validation.inspection import RUNS_LEGEND, Inspection

_STYLE = (
    "body{font:14px/1.4 sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.2em .6em;text-align:left;"
    "vertical-align:top}tr{border-top:1px solid #ddd}thead th{background:#f4f4f4;position:sticky;top:0}"
    "small{font-weight:normal}.number{text-align:right;white-space:nowrap}pre{background:#f4f4f4;padding:.7em;white-space:pre-wrap}"
    ".marked{font-size:12px;white-space:nowrap}.detail{border:0;color:#555;white-space:normal}.skipped{background:#fdecea}"
)
# Masked values and booleans.
_WORDS = {"--": "–", "True": "yes", "False": "no"}


def to_page(inspection: Inspection) -> str:
    """Show the overview and all runs on a page.

    Parameters
    ----------
    inspection : `~bgnb.validation.inspection.Inspection`
        The overview.
    """
    title = f"Runs in {inspection.runs.path.resolve().name}"
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
    rows = "".join(f"<tr><th scope=row>{escape(name)}<td>{escape(text)}" for name, text in inspection.summary.items())
    parts = [head, f"<h1>{escape(title)}</h1><table>{rows}</table>"]
    if len(inspection.reasons):
        parts.append(f"<h2>Skipped runs</h2>{_table(inspection.reasons)}")
    if inspection.command:
        parts.append(f"<h2>To make models</h2><pre>{escape(inspection.command)}</pre>")
    if inspection.notes:
        parts.append(f"<h2>Notes</h2><ul>{''.join(_note(*item) for item in inspection.notes.items())}</ul>")
    parts += [f"<h2>{escape(name)}</h2><p>{legend}</p>{_table(table)}" for name, (table, legend) in inspection.sections.items()]
    runs = inspection.table.copy()
    details = ["; ".join(filter(None, texts)) for texts in zip(runs["REASON"], runs["NOTES"], strict=True)]
    runs.remove_columns(["REASON", "NOTES"])
    marks = ["" if usable else "skipped" for usable in inspection.is_usable]
    return "\n".join([*parts, f"<h2>All runs</h2><p>{RUNS_LEGEND}</p>{_table(runs, marks, details)}</html>\n"])


def _note(note: str, obs_ids: Collection[int]) -> str:
    return f"<li>{escape(note)}" + (f": {numbered('run', obs_ids, len(obs_ids))}" if obs_ids else "")


def _table(table: Table, marks: Sequence[str] = (), details: Sequence[str] = ()) -> str:
    """Draw a table, with numbers aligned to the right, and a class and a line of details for each row."""
    columns = list(table.columns.values())
    kinds = [" class=number" * (column.dtype.kind in "if") for column in columns]
    units = [f"<br><small>{escape(str(column.unit))}</small>" if column.unit else "" for column in columns]
    head = "".join(f"<th{kind}>{column.name}{unit}" for kind, column, unit in zip(kinds, columns, units, strict=True))
    texts = [[_WORDS.get(text, text) for text in column.iter_str_vals()] for column in columns]
    rows = []
    for values, mark, detail in zip_longest(zip(*texts, strict=True), marks, details, fillvalue=""):
        cells = "".join(f"<td{kind}>{escape(text)}" for kind, text in zip(kinds, values, strict=True))
        rows.append(f"<tr class='{mark}'>{cells}")
        rows += [f"<tr class='detail {mark}'><td><td colspan={len(columns) - 1}>{escape(detail)}"] if detail else []
    return f"<table{' class=marked' * bool(marks)}><thead><tr>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
