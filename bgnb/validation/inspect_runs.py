"""Overview of a directory of runs, before models are made."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from bgnb._util.errors import DataError, command_line, enumerate_values
from bgnb._util.progress import progress_bar
from bgnb._util.settings_groups import options_of, with_settings
from bgnb.cubes.event_cuts import RunCounts, add_pieces
from bgnb.files.output_directory import check_target, new_directory
from bgnb.files.output_file import write_file
from bgnb.files.report_json import write_report
from bgnb.observations.catalog import read_catalog
from bgnb.observations.coordinates import date_of, separation
from bgnb.observations.datastore import Runs, checked_scheme, open_runs
from bgnb.observations.event_list import EventList
from bgnb.observations.event_reader import read_pieces
from bgnb.observations.event_selection import notes_on_condition
from bgnb.observations.findings import Findings
from bgnb.observations.groups import OUTSIDE, ObservationGroups
from bgnb.observations.reading_settings import ALLOWED, TRUSTED, ReadingSettings
from bgnb.observations.run_selection import EXCLUSION_RADIUS, RunList, select_runs
from bgnb.production.run_comparison import notes_on_runs, unlikely_runs
from bgnb.validation.inspection import GROUPS, REASONS, RUNS, SOURCES, USABLE, Inspection, make_table, to_page
from bgnb.validation.settings import InspectionSettings

# Options that messages of errors may name.
_HEADER = ("pointing", "header")
_OPTIONS = (_HEADER, ("pointing", "computed"), *(("trust", each) for each in TRUSTED), *(("allow", each) for each in ALLOWED))


@with_settings(InspectionSettings)
def inspect(
    indir: str | Path,
    scheme: str,
    outdir: str | Path | None = None,
    *,
    settings: InspectionSettings,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Inspection:
    """Describe a directory of runs before models are made from it.

    Every run is read and checked, as for models. Runs that are not usable are read again with each option that their
    errors name.

    Parameters
    ----------
    indir : path
        Directory of runs.
    scheme : str
        Its layout, see `open_runs`.
    outdir : path, optional
        Directory to make, with all of this as a page, ``runs.html``, the runs in ``runs.ecsv``, and ``report.json``.
    {settings}
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with an inspection.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Inspection
        Tables of the runs, groups, sources near runs and reasons for skipping runs.

    Raises
    ------
    BgnbError
        If an argument or the directory cannot be used. Errors of single runs are reported.

    Examples
    --------
    >>> import bgnb
    >>> inspection = bgnb.inspect("runs", "GADF")
    >>> inspection.summary["livetime"]
    '2.50 h, ontime 3.00 h'
    >>> inspection.command
    'bgnb make-bg-cube-models runs GADF models --select all'
    """
    if outdir is not None:
        check_target(Path(outdir), overwrite=overwrite, kind="inspections")  # before reading
    catalog, reading = read_catalog(settings.catalog), settings.reading
    scheme = checked_scheme(scheme)
    runs = open_runs(indir, scheme, **options_of(reading))
    skipped = select_runs(runs, settings.select, catalog).skipped
    if isinstance(settings.select, tuple):
        runs = runs.subset(settings.select)
    rows: dict[int, dict[str, Any]] = _sources_of_runs(runs, catalog)
    errors: dict[int, DataError] = {}
    counted: dict[int, RunCounts] = {}
    livetimes: dict[int, dict[int, float]] = {}
    notes: dict[int, tuple[str, ...]] = {}
    with progress_bar(len(runs), "run", progress) as bar:
        for obs_id, row in rows.items():
            try:
                if obs_id in skipped and obs_id not in runs.errors:
                    row |= {"STATUS": skipped[obs_id].kind, "REASON": skipped[obs_id].detail}
                    continue
                pieces = read_pieces(runs.files(obs_id))  # several for runs that do not track a position
                notes[obs_id] = pieces[0].notes
                counted[obs_id] = add_pieces(
                    [RunCounts.of(piece, events_outside_gti=int(np.count_nonzero(~piece.in_gti))) for piece in pieces]
                )
                row |= _row(pieces[0], counted[obs_id])
                for piece in pieces:
                    for group_id, seconds in _livetime_in_groups(piece, settings.edges.groups).items():
                        in_group = livetimes.setdefault(group_id, {})
                        in_group[obs_id] = in_group.get(obs_id, 0.0) + seconds
            except DataError as error:
                errors[obs_id] = DataError(error.code, error.message)  # a traceback would keep the content of files
                row |= {"STATUS": error.code, "REASON": error.message}
            finally:
                bar.update()
    unlikely = Findings(reading)
    for obs_id, unlikely_error in unlikely_runs(runs, counted).items():
        try:
            unlikely.refuse(unlikely_error)
        except DataError as refused:
            rows[obs_id] |= {"STATUS": refused.code, "REASON": refused.message}
            for seconds_of in livetimes.values():
                seconds_of.pop(obs_id, None)
    usable_with = _try_options(Path(indir), scheme, reading, errors)
    outside = sum(livetimes.pop(OUTSIDE, {}).values()) / 3600
    real = rows.keys() if settings.catalog is not None else rows.keys() - runs.simulated
    usable = {obs_id: run for obs_id, run in counted.items() if rows[obs_id]["STATUS"] == USABLE}
    on_all = [*runs.notes, *notes_on_condition(reading.events), *unlikely.notes, *notes_on_runs(runs, usable)]
    result = Inspection(
        runs=runs,
        scheme=scheme,
        simulated=not real,
        table=make_table(RUNS, rows.values()),
        groups=_groups(settings.edges.groups, livetimes, rows),
        outside=outside,
        sources=_sources([row["near"] for obs_id, row in rows.items() if obs_id in real]),
        reasons=_reasons(rows, usable_with),
        notes=dict.fromkeys(on_all, ()) | _notes_by_kind(notes),
        command=_command(Path(indir), scheme, settings, rows, usable_with, simulated=not real),
    )
    if outdir is not None:
        with new_directory(Path(outdir), overwrite=overwrite, kind="inspections", inputs=(Path(indir),)) as directory:
            write_report(
                directory, {"settings": {"indir": str(indir), "scheme": scheme} | settings.as_dict()} | result.as_dict()
            )
            text = io.StringIO()
            result.table.write(text, format="ascii.ecsv")
            write_file(directory / "runs.ecsv", text.getvalue().encode())
            write_file(directory / "runs.html", to_page(result).encode("utf-8", "replace"))
    return result


def _row(events: EventList, counted: RunCounts) -> dict[str, Any]:
    """Return the values of a run that was read, by column; events are those of its first piece."""
    in_gti = counted.events - counted.events_outside_gti
    return {
        "TELESCOP": events.telescop,
        "N_TELS": events.n_tels,
        "DATE": date_of(events.mjdref + float(events.gti[0, 0]) / 86400),
        "LIVETIME": counted.livetime_s,
        "ONTIME": counted.ontime_s,
        "ALT_PNT": counted.alt_pnt,
        "AZ_PNT": counted.az_pnt,
        "LO_THRES": events.energy_threshold,
        "EVENTS": in_gti,
        "RATE": in_gti / counted.livetime_s,
        "STATUS": USABLE,
        "NOTES": "; ".join(events.notes),
    }


def _livetime_in_groups(events: EventList, groups: ObservationGroups) -> dict[int, float]:
    """Return the livetime in each group, s."""
    pieces = events.split(lambda alt_pnt, az_pnt: groups.group_ids(alt_pnt, az_pnt).tolist())
    return {group_id: piece.livetime for group_id, piece in pieces.items()}


def _sources_of_runs(runs: Runs, catalog: Table) -> dict[int, dict[str, Any]]:
    """Return for each run its name, the nearest source, and under ``near`` the distance of each source near it, deg."""
    names = [str(name) for name in catalog["NAME"]]
    ra, dec, extension = (np.asarray(catalog[name]) for name in ("RA", "DEC", "EXTENSION"))
    objects = runs.table["OBJECT"].tolist() if "OBJECT" in runs.table.colnames else [""] * len(runs)
    pointings = zip(runs.obs_ids, objects, *(runs.table[name].tolist() for name in ("RA_PNT", "DEC_PNT")), strict=True)
    rows = {}
    for obs_id, name, ra_pnt, dec_pnt in pointings:
        row = {"OBS_ID": obs_id, "OBJECT": str(name), "FAR": False, "REASON": "", "NOTES": "", "near": {}}
        if np.isfinite(ra_pnt) and np.isfinite(dec_pnt):
            distance = separation(ra_pnt, dec_pnt, ra, dec)
            near = np.flatnonzero(distance < EXCLUSION_RADIUS.to_value("deg") + 2 * extension)
            nearest = int(distance.argmin())
            row |= {"SOURCE": names[nearest], "DISTANCE": float(distance[nearest]), "FAR": not len(near)}
            row["near"] = {names[number]: float(distance[number]) for number in near}
        rows[obs_id] = row
    return rows


def _sources(near: Iterable[Mapping[str, float]]) -> Table:
    """Return the table of the sources near runs, those near most runs first."""
    found: dict[str, list[float]] = {}
    for name, distance in (item for each in near for item in each.items()):
        found.setdefault(name, []).append(distance)
    rows = [{"NAME": name, "RUNS": len(distances), "NEAREST": min(distances)} for name, distances in found.items()]
    return make_table(SOURCES, sorted(rows, key=lambda row: (-row["RUNS"], row["NEAREST"])))


def _groups(groups: ObservationGroups, livetimes: Mapping[int, Mapping[int, float]], rows: Mapping[int, Any]) -> Table:
    """Return the table of the groups with runs, from livetimes in s by GROUP_ID and OBS_ID."""
    found = []
    for group_id, seconds in sorted((each for each in livetimes.items() if each[1]), key=lambda each: each[0]):
        far = [value for obs_id, value in seconds.items() if rows[obs_id]["FAR"]]
        row = dict(zip(groups.table.colnames, groups.table[group_id], strict=True))
        row |= {"RUNS": len(seconds), "LIVETIME": sum(seconds.values()) / 3600}
        found.append(row | {"FAR_RUNS": len(far), "FAR_LIVETIME": sum(far) / 3600})
    return make_table(GROUPS, found)


def _try_options(
    indir: Path, scheme: str, reading: ReadingSettings, errors: Mapping[int, DataError]
) -> dict[tuple[str, str], set[int]]:
    """Find the runs that an option makes usable: those that their errors name."""
    found = {}
    for name, value in _OPTIONS:
        named = [obs_id for obs_id, error in errors.items() if f"--{name} {value}" in error.message]
        if not named:
            continue
        changed = value if name == "pointing" else (*getattr(reading, name), value)
        runs = open_runs(indir, scheme, **options_of(replace(reading, **{name: changed})))
        found[name, value] = {obs_id for obs_id in named if _is_usable(runs, obs_id)}
    return found


def _is_usable(runs: Runs, obs_id: int) -> bool:
    try:
        read_pieces(runs.files(obs_id))
    except DataError:
        return False
    return True


def _reasons(rows: Mapping[int, Mapping[str, Any]], usable_with: Mapping[tuple[str, str], set[int]]) -> Table:
    """Return the table of the reasons for skipping runs, the most frequent first."""
    skipped: dict[str, list[int]] = {}
    for obs_id, row in rows.items():
        if row["STATUS"] != USABLE:
            skipped.setdefault(row["STATUS"], []).append(obs_id)
    found = []
    for status, obs_ids in sorted(skipped.items(), key=lambda item: -len(item[1])):
        numbers = {option: len(runs.intersection(obs_ids)) for option, runs in usable_with.items()}
        options = "; ".join(f"{number} usable with --{' '.join(option)}" for option, number in numbers.items() if number)
        row = {"REASON": status, "RUNS": len(obs_ids), "OBS_IDS": enumerate_values(obs_ids)}
        found.append(row | {"OPTIONS": options, "EXAMPLE": rows[obs_ids[0]]["REASON"]})
    return make_table(REASONS, found)


def _notes_by_kind(notes: Mapping[int, Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """Combine notes that differ in numbers only: the first of each kind, and the runs of all."""
    first: dict[str, str] = {}
    found: dict[str, list[int]] = {}
    for obs_id, note in ((obs_id, note) for obs_id, texts in notes.items() for note in texts):
        found.setdefault(first.setdefault(re.sub(r"[\d.]+", "#", note), note), []).append(obs_id)
    return {note: tuple(dict.fromkeys(obs_ids)) for note, obs_ids in found.items()}


def _command(
    indir: Path,
    scheme: str,
    settings: InspectionSettings,
    rows: Mapping[int, Mapping[str, Any]],
    usable_with: Mapping[tuple[str, str], set[int]],
    *,
    simulated: bool,
) -> str:
    """Return the command that makes models from the usable runs, with the settings of the inspection."""
    usable = {obs_id for obs_id, row in rows.items() if row["STATUS"] == USABLE}
    options: dict[str, Any] = {}
    for group in (settings.edges, settings.reading):
        options |= {name: value for name, value in options_of(group).items() if not group.is_default(name)}
    if len(helped := usable_with.get(_HEADER, set())) > len(usable):  # otherwise it would cost more than it gains
        usable, options["pointing"] = usable | helped, "header"
    if not usable:
        return ""
    listed = isinstance(settings.select, tuple)
    if listed or len({rows[obs_id].get("TELESCOP") for obs_id in usable} - {None}) > 1:
        options["select"] = settings.select.path if isinstance(settings.select, RunList) else "runs.txt"
    elif simulated:
        options["select"] = "all"
    far = [obs_id for obs_id in usable if rows[obs_id]["FAR"]]
    if not simulated and (len(far) < len(usable) if listed else not far):
        options["sources"] = "mask"
    if isinstance(settings.catalog, str) and ("select" not in options or "sources" in options):
        options["catalog"] = settings.catalog
    words: list[object] = ["make-bg-cube-models", indir, scheme, "models"]
    for name, value in options.items():
        values = value if isinstance(value, tuple) else [value]
        text = ",".join(f"{each:.15g}" if isinstance(each, float) else str(each) for each in values)
        words += [f"--{name.replace('_', '-')}", text]
    return command_line(*words)
