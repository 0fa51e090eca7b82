"""Which runs are stacked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from astropy import units as u
from astropy.table import Table

from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError, DataError, enumerate_values, printable
from bgnb.observations.coordinates import separation
from bgnb.observations.datastore import Runs

#: What to do with a run that cannot be used: leave it out and report it, or stop.
OnError = Literal["skip", "fail"]
#: Distance from a known source, besides twice its extension, within which runs are dropped.
EXCLUSION_RADIUS = 3 * u.deg
#: The kind of reason of a run that cannot be used.
FAULT = "cannot be used"


@dataclass(frozen=True)
class Reason:
    """Why a run is left out: the kind of reason, and what is particular to the run."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind

    @classmethod
    def from_text(cls, text: str) -> Reason:
        """Parse the text of a reason, as in ``report.json``."""
        return cls(*text.split(": ", 1))


@dataclass(frozen=True)
class Selection:
    """Which runs to stack.

    Parameters
    ----------
    kept : tuple of int
        OBS_IDs, in order.
    left_out : mapping of int to `Reason`
        Every other run of the table, and why it is left out.
    """

    kept: tuple[int, ...]
    left_out: Mapping[int, Reason]


def fault(description: str) -> Reason:
    """The reason of a run that cannot be used."""
    return Reason(FAULT, printable(description))


def read_catalog(catalog: str | Path | Table | None = None) -> Table:
    """Read a catalogue of known sources.

    Parameters
    ----------
    catalog : path or `~astropy.table.Table`, optional
        Any table, or file of one that Astropy reads, with RA and DEC (deg where no unit is
        stated), and optionally EXTENSION (radius, deg; empty for a point source) and NAME.
        By default the catalogue that comes with bgnb: the known TeV sources of gamma-cat (2018-07).

    Returns
    -------
    `~astropy.table.Table`
        With columns NAME, RA, DEC and EXTENSION, in deg.

    Raises
    ------
    BgnbError
        Where it cannot be read, lacks positions, or has impossible ones.
    """
    if catalog is None:
        with as_file(files("bgnb.observations") / "tev_sources.ecsv") as default:
            return read_catalog(default)
    if isinstance(catalog, Table):
        return _checked_catalog(catalog, "catalog")
    try:
        table = Table.read(catalog)
    except FileNotFoundError:
        raise BgnbError(f"{catalog}: there is no such catalogue") from None
    except Exception as error:  # astropy's readers raise many kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BgnbError(f"{catalog}: cannot be read as a table: {reason[0]}") from None
    return _checked_catalog(table, str(catalog))


def _checked_catalog(table: Table, where: str) -> Table:
    if not len(table):
        raise BgnbError(f"{where}: the catalogue has no sources")
    columns = {name.upper(): table[name] for name in table.colnames}
    catalog = Table()
    catalog["NAME"] = columns.get("NAME", [f"source {row + 1}" for row in range(len(table))])
    for name, least, most in (("RA", -360, 360), ("DEC", -90, 90), ("EXTENSION", 0, 180)):
        if name not in columns and name != "EXTENSION":
            raise BgnbError(f"{where}: the catalogue has no column {name}; it has {', '.join(table.colnames)}")
        values = columns.get(name, np.zeros(len(table)))
        try:
            filled = np.ma.filled(values, 0 if name == "EXTENSION" else np.nan)  # an empty extension: a point source
            degrees = u.Quantity(filled, getattr(values, "unit", None) or "deg").to_value("deg")
        except (TypeError, ValueError) as error:
            raise BgnbError(f"{where}: column {name} of the catalogue is not an angle: {error}") from None
        if len(wrong := np.flatnonzero(~((degrees >= least) & (degrees <= most)))):
            source = f"{name} of {catalog['NAME'][wrong[0]]} is {degrees[wrong[0]]:g} deg"
            raise BgnbError(f"{where}: {source}, and must lie within {least} and {most} deg")
        catalog[name] = degrees
        catalog[name].unit = "deg"
    return catalog


def select_off_runs(runs: Runs, catalog: Table | None = None, exclusion_radius: u.Quantity = EXCLUSION_RADIUS) -> Selection:
    """Keep the runs that point far from all known sources.

    A run is left out where a source lies within ``exclusion_radius`` plus twice the
    source's extension of its pointing.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    catalog : `~astropy.table.Table`, optional
        Known sources, as `read_catalog` takes them.
    exclusion_radius : `~astropy.units.Quantity`
        Distance for a source without extension.

    Returns
    -------
    Selection
        The runs kept, and the reasons for the others.
    """
    catalog = read_catalog(catalog)
    ra_pnt, dec_pnt = (np.asarray(runs.table[name]) for name in ("RA_PNT", "DEC_PNT"))
    excess = np.zeros(len(runs))  # over the radius around the source that is nearest to it, where it is negative
    details: dict[int, str] = {}
    for name, ra, dec, extension in zip(*(catalog[name].tolist() for name in ("NAME", "RA", "DEC", "EXTENSION")), strict=True):
        radius = exclusion_radius.to_value("deg") + 2 * extension
        rows = np.flatnonzero(np.abs(dec_pnt - dec) < radius)  # no other run can be near
        distance = separation(ra_pnt[rows], dec_pnt[rows], ra, dec)
        nearer = distance - radius < excess[rows]
        excess[rows[nearer]] = (distance - radius)[nearer]
        details |= {row: f"{name}, {apart:.2f} deg" for row, apart in zip(rows[nearer], distance[nearer], strict=True)}
    obs_ids = runs.obs_ids
    near = {obs_ids[row]: Reason("near a known source", detail) for row, detail in details.items()}
    return _selection(runs, near | _faults(runs))


def select_all_runs(runs: Runs) -> Selection:
    """Keep every run that can be used.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.

    Returns
    -------
    Selection
        The runs kept, and the reasons for the others.
    """
    return _selection(runs, _faults(runs))


def select_listed_runs(runs: Runs, obs_ids: Iterable[int]) -> Selection:
    """Keep the runs with these OBS_IDs.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    obs_ids : iterable of int
        OBS_IDs of the runs to keep.

    Returns
    -------
    Selection
        The runs kept, and the reasons for the others.

    Raises
    ------
    BgnbError
        Where a run is asked for that is not in the table.
    """
    wanted, known = set(obs_ids), set(runs.obs_ids)
    if unknown := sorted(wanted - known):
        raise BgnbError(f"{runs.path} has no run {enumerate_values(unknown)}")
    return _selection(runs, _faults(runs) | dict.fromkeys(sorted(known - wanted), Reason("not in the list of runs")))


def select_runs(
    runs: Runs,
    select: str | Path | Sequence[int] = "far",
    catalog: str | Path | Table | None = None,
    exclusion_radius: u.Quantity = EXCLUSION_RADIUS,
    on_error: OnError = "skip",
) -> Selection:
    """Keep the runs far from known sources, or all, or those listed.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    select : {"far", "all"}, path or sequence of int
        Which: `select_off_runs`, `select_all_runs`, or `select_listed_runs` with the
        OBS_IDs in a text file or a sequence.
    catalog : path or `~astropy.table.Table`, optional
        Known sources, see `read_catalog`.
    exclusion_radius : `~astropy.units.Quantity`
        See `select_off_runs`.
    on_error : {"skip", "fail"}
        Leave out runs that by the index cannot be used, or stop at the first.
    """
    if str(select).lower() == "far":
        selection = select_off_runs(runs, read_catalog(catalog), exclusion_radius)
    elif str(select).lower() == "all":
        selection = select_all_runs(runs)
    else:
        selection = select_listed_runs(runs, read_run_list(select) if isinstance(select, str | Path) else select)
    if on_error == "fail":
        for reason in selection.left_out.values():
            if reason.kind == FAULT:
                raise DataError(reason.detail)
    return selection


def check_effect(select: str | Path | Sequence[int], catalog: str | Path | Table | None, exclusion_radius: float) -> None:
    """Complain of sources, or a distance (deg) from them, that would be passed over without a word.

    Raises
    ------
    BgnbError
        Where runs are not selected by their distance from sources, or it cannot be one.
    """
    if exclusion_radius < 0:
        raise BgnbError(f"exclusion_radius must not be negative, got {exclusion_radius:g} deg")
    changed = not math.isclose(exclusion_radius, EXCLUSION_RADIUS.to_value("deg"))
    for name, given in (("catalog", catalog is not None), ("exclusion_radius", changed)):
        if given and str(select).lower() != "far":
            raise BgnbError(
                f"{name} has an effect only where sources decide: select = far" + ", or sources = mask" * (name == "catalog")
            )


def checked_on_error(on_error: str) -> OnError:
    """What to do with runs that cannot be used, in lower case, or a `BgnbError`."""
    return checked_choice("on_error", on_error, get_args(OnError))


def read_run_list(path: str | Path) -> list[int]:
    """OBS_IDs from a text file, one a line; empty lines and what follows a # are passed over.

    Raises
    ------
    BgnbError
        Where the file is missing or a line is not a number.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise BgnbError(f"select must be 'far', 'all' or a text file of OBS_IDs; '{path}' cannot be read as text") from None
    obs_ids = []
    for number, line in enumerate(lines, start=1):
        if text := line.partition("#")[0].strip():
            if not text.isdecimal():
                raise BgnbError(f"{path}, line {number}: '{text}' is not an OBS_ID")
            obs_ids.append(int(text))
    if not obs_ids:
        raise BgnbError(f"{path}: lists no OBS_ID")
    return obs_ids


def spread_out(selection: Selection, most: int) -> Selection:
    """At most ``most`` of the kept runs, evenly spread over the table."""
    if len(selection.kept) <= most:
        return selection
    rows = np.linspace(0, len(selection.kept) - 1, most).round().astype(int)
    kept = tuple(selection.kept[row] for row in rows)
    rest = {obs_id: Reason(f"quick test with {most} runs") for obs_id in selection.kept if obs_id not in kept}
    return Selection(kept, {**selection.left_out, **rest})


def _faults(runs: Runs) -> dict[int, Reason]:
    return {obs_id: fault(description) for obs_id, description in runs.faults.items()}


def _selection(runs: Runs, left_out: Mapping[int, Reason]) -> Selection:
    return Selection(tuple(obs_id for obs_id in runs.obs_ids if obs_id not in left_out), left_out)
