"""Overview of a directory of runs: its tables, its text, and its HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from typing import Any

import numpy as np
from astropy.table import Column, MaskedColumn, Table

from bgnb._util.arrays import Bools, Floats
from bgnb._util.errors import numbered, printable
from bgnb.observations.datastore import Runs
from bgnb.observations.run_selection import EXCLUSION_RADIUS
from bgnb.validation.result import table_lines

#: Status of runs that can be used.
USABLE = "usable"
#: Unit and format of each column of the tables.
RUNS = {"OBS_ID": ("", "d"), "OBJECT": ("", ""), "TELESCOP": ("", ""), "N_TELS": ("", "d"), "DATE": ("", "")}
RUNS |= {"LIVETIME": ("s", ".0f"), "ONTIME": ("s", ".0f"), "ALT_PNT": ("deg", ".1f"), "AZ_PNT": ("deg", ".1f")}
RUNS |= {"LO_THRES": ("TeV", ".3f"), "EVENTS": ("", "d"), "RATE": ("Hz", ".2f"), "SOURCE": ("", "")}
RUNS |= {"DISTANCE": ("deg", ".2f"), "FAR": ("", ""), "STATUS": ("", ""), "REASON": ("", ""), "NOTES": ("", "")}
GROUPS = {"GROUP_ID": ("", "d")} | {f"{axis}_{end}": ("deg", "g") for axis in ("ALT", "AZ") for end in ("MIN", "MAX")}
GROUPS |= {"RUNS": ("", "d"), "LIVETIME": ("h", ".2f"), "FAR_RUNS": ("", "d"), "FAR_LIVETIME": ("h", ".2f")}
SOURCES = {"NAME": ("", ""), "RUNS": ("", "d"), "NEAREST": ("deg", ".2f")}
REASONS = {"REASON": ("", ""), "RUNS": ("", "d"), "OBS_IDS": ("", ""), "OPTIONS": ("", ""), "EXAMPLE": ("", "")}
#: Meaning of columns.
RUNS_LEGEND = (
    f"SOURCE: the known source nearest to the pointing, at DISTANCE. FAR: no known source within {EXCLUSION_RADIUS:g} plus "
    "twice its extension, so that --select far uses the run."
)
GROUPS_LEGEND = "A run whose pointing passes through several groups counts in the RUNS of each, with the LIVETIME spent there."

_STYLE = (
    "body{font:14px/1.4 sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.2em .6em;text-align:left;"
    "vertical-align:top}tr{border-top:1px solid #ddd}thead th{background:#f4f4f4;position:sticky;top:0}"
    "small{font-weight:normal}.number{text-align:right;white-space:nowrap}pre{background:#f4f4f4;padding:.7em;white-space:pre-wrap}"
    ".marked{font-size:12px;white-space:nowrap}.detail{border:0;color:#555;white-space:normal}.skipped{background:#fdecea}"
)
# Masked values and booleans.
_WORDS = {"--": "–", "True": "yes", "False": "no"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """Result of `bgnb.inspect`; its text is the overview that the command prints.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    scheme : str
        Layout of their directory.
    simulated : bool
        True if all runs are simulated and no catalogue of their sources is given.
    table : `~astropy.table.Table`
        One row per run: OBS_ID, OBJECT, instrument, date of the start, livetime and ontime, mean altitude and azimuth,
        energy threshold, events in the good time and their rate per livetime; nearest known source, its distance, and
        FAR for runs that ``select far`` selects; STATUS, which is ``usable``, the code of an error, or another reason
        for skipping the run; REASON, and NOTES. Values of runs that were not read are masked.
    groups : `~astropy.table.Table`
        Groups with runs: edges, number of runs and livetime, of usable runs and of those far from known sources.
    outside : float
        Livetime while usable runs point outside all groups, h.
    sources : `~astropy.table.Table`
        Known sources near runs: number of these runs and minimum distance.
    reasons : `~astropy.table.Table`
        Reasons for skipping runs: number of runs, OBS_IDs, options with which some of them are usable, and an example.
    notes : mapping of str to tuple of int
        First note of each kind, with the OBS_IDs of all runs with such a note; none if it is about the directory.
    command : str
        Command that makes models from the usable runs, "" without any.
    """

    runs: Runs
    scheme: str
    simulated: bool
    table: Table
    groups: Table
    outside: float
    sources: Table
    reasons: Table
    notes: Mapping[str, tuple[int, ...]]
    command: str

    def __repr__(self) -> str:
        return f"Inspection({self.summary['runs']})"

    @property
    def usable(self) -> Table:
        """Rows of `table` with usable runs."""
        return self.table[self.is_usable]

    @property
    def is_usable(self) -> Bools:
        """Mask of the rows of `table` with usable runs."""
        return np.asarray(self.table["STATUS"]) == USABLE

    @property
    def summary(self) -> dict[str, str]:
        """Number of runs, and ranges of their properties, as text."""
        number, usable = len(self.table), self.usable
        column = {name: np.ma.compressed(usable[name]) for name in usable.colnames}
        lines = {"runs": f"{_runs(number)} in {self.runs.path} ({self.scheme}), {len(usable)} usable"}
        if not len(usable):
            return lines
        hours = column["LIVETIME"] / 3600
        lines["instrument"] = _instruments(usable)
        lines["dates"] = " to ".join(sorted({min(column["DATE"]), max(column["DATE"])}))
        lines["livetime"] = f"{hours.sum():.2f} h, ontime {column['ONTIME'].sum() / 3600:.2f} h"
        lines["altitude"] = _range(column["ALT_PNT"], "deg", ".1f")
        lines["zenith angle"] = _range(90 - column["ALT_PNT"], "deg", ".1f")
        first, last = _arc(column["AZ_PNT"])
        north = " through north" * (first > last)
        lines["azimuth"] = f"{first:.1f}{f'{north} to {last:.1f}' * (first != last)} deg"
        thresholds = column["LO_THRES"]
        stated = [_range(thresholds, "TeV", ".3g")] if len(thresholds) else []
        if without := len(usable) - len(thresholds):
            stated.append(f"{_runs(without)} without a threshold, of which all energies count")
        lines["energy threshold"] = "; ".join(stated)
        lines["events per run"] = _range(column["EVENTS"], "", ".0f")
        lines["rate of events"] = _range(column["RATE"], "Hz", ".3g")
        lines["known sources"] = (
            "simulated runs contain none (--select all)" if self.simulated else _far_and_near(column["FAR"], hours)
        )
        if self.outside:
            lines["outside all groups"] = f"{self.outside:.2f} h; use other edges: --alt-edges, --az-edges"
        return lines

    @property
    def sections(self) -> dict[str, tuple[Table, str]]:
        """Tables with rows, and their legends, by title."""
        tables = {
            "Livetime in groups, of usable runs and of those far from known sources": (self.groups, GROUPS_LEGEND),
            f"Known sources near runs, within {EXCLUSION_RADIUS:g} plus twice their extension": (self.sources, ""),
        }
        return {title: (table, legend) for title, (table, legend) in tables.items() if len(table)}

    def __str__(self) -> str:
        width = max(map(len, self.summary)) + 2
        lines = [f"{name + ':':{width}}{text}" for name, text in self.summary.items()]
        for title, (table, legend) in self.sections.items():
            lines += ["", f"{title}:", *table_lines(table), *[legend] * bool(legend)]
        if len(self.reasons):
            lines += ["", "Skipped runs:"]
        for row in self.reasons:
            options = f"; {row['OPTIONS']}" if row["OPTIONS"] else ""
            lines.append(f"  {row['REASON']}: {_runs(row['RUNS'])} ({row['OBS_IDS']}){options}")
            lines += [f"    {row['EXAMPLE']}"] * bool(row["EXAMPLE"])
        lines += [""] * bool(self.notes)
        for note, obs_ids in self.notes.items():
            lines.append(f"note: {note}" + (f": {numbered('run', obs_ids)}" if obs_ids else ""))
        lines += ["", "To make models:", f"  {self.command}"] * bool(self.command)
        return "\n".join(map(printable, lines))

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``report.json``."""
        tables = {"runs": self.table, "groups": self.groups, "sources": self.sources, "reasons": self.reasons}
        content: dict[str, Any] = {"summary": self.summary, "livetime_outside_groups_h": self.outside, "command": self.command}
        content["notes"] = [{"note": note, "obs_ids": obs_ids} for note, obs_ids in self.notes.items()]
        return content | {name: _records(table) for name, table in tables.items()}


def to_page(inspection: Inspection) -> str:
    """Make an HTML page of the overview and all runs; it needs neither a server nor the network."""
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


def make_table(columns: Mapping[str, tuple[str, str]], rows: Iterable[Mapping[str, Any]]) -> Table:
    """Make a table with units and formats; missing values are masked."""
    table, rows = Table(), list(rows)
    for name, (unit, form) in columns.items():
        values = [row.get(name) for row in rows]
        missing = [value is None for value in values]
        empty: Any = "" if not form else 0 if form == "d" else np.nan
        filled = np.array([empty if value is None else value for value in values], dtype=None if rows else type(empty))
        table[name] = MaskedColumn(filled, mask=missing) if any(missing) else Column(filled)
        table[name].unit = unit or None
        table[name].info.format = form or None
    return table


def _records(table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table for ``report.json``, with units in the names and None for masked values."""
    names = [f"{name}_{column.unit}".lower() if column.unit else name.lower() for name, column in table.columns.items()]
    return [dict(zip(names, row, strict=True)) for row in zip(*(table[name].tolist() for name in table.colnames), strict=True)]


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def _instruments(usable: Table) -> str:
    """Describe the instruments of runs."""
    names, n_tels = (usable[name].tolist() for name in ("TELESCOP", "N_TELS"))
    telescopes = [f", {number} telescope{'s' * (number > 1)}" if number else "" for number in n_tels]
    found = Counter(f"{name or 'TELESCOP is not stated'}{more}" for name, more in zip(names, telescopes, strict=True))
    text = "; ".join(f"{name} ({_runs(number)})" for name, number in found.items())
    return f"{text}; models are made from runs of one instrument, list them for --select" if len(set(names)) > 1 else text


def _far_and_near(far: Bools, hours: Floats) -> str:
    """Describe which runs are far from known sources, and which are near some."""
    numbers = [f"{_runs(int(mask.sum()))} ({hours[mask].sum():.2f} h)" for mask in (far, ~far)]
    text = f"{numbers[0]} far from all (default selection)" if far.any() else "no run is far from all"
    return text if far.all() else f"{text}; {numbers[1]} near some (used with --sources mask)"


def _range(values: Any, unit: str, form: str) -> str:
    """Describe values by minimum, maximum and median."""
    low, high, median = (format(float(function(values)), form) for function in (np.min, np.max, np.median))
    return f"{low}{f' to {high}' * (low != high)}{f' {unit}' * bool(unit)}{f', median {median}' * (low != high)}"


def _arc(azimuth: Floats) -> tuple[float, float]:
    """Return the ends of the shortest arc that contains all azimuths, deg, from north through east.

    >>> _arc(np.array([350.0, 20.0, 5.0]))
    (350.0, 20.0)
    """
    ordered = np.sort(azimuth % 360)
    last = int(np.diff(ordered, append=ordered[0] + 360).argmax())
    return float(ordered[(last + 1) % len(ordered)]), float(ordered[last])
