"""Directories of simulated runs, with the same layout as those of real runs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from bgnb._util.arrays import Floats
from bgnb._util.progress import progress_bar
from bgnb._util.settings_groups import options_of, with_settings
from bgnb._version import __version__
from bgnb.files.fits_writer import GADF_KEYWORDS, columns_hdu, index_hdu, primary_hdu, table_hdu, write_fits
from bgnb.files.output_directory import new_directory
from bgnb.files.report_json import write_report
from bgnb.observations.datastore import checked_scheme, hess_run_file
from bgnb.observations.event_list import EventList
from bgnb.observations.reading_settings import Scheme
from bgnb.production.workers import open_workers
from bgnb.simulation.event_lists import PointSource, make_test_observation_table, simulate_run
from bgnb.simulation.settings import DatasetSettings
from bgnb.simulation.true_model import LIVETIME, TrueModel

#: CPU time of a simulation, s, per run and per event (``benchmarks/workers.py``).
SECONDS_PER_RUN, SECONDS_PER_EVENT = 3e-3, 250e-9


@with_settings(DatasetSettings)
def make_test_dataset(
    outdir: str | Path,
    scheme: str = "GADF",
    *,
    settings: DatasetSettings,
    point_sources: Sequence[PointSource] = (),
    overwrite: bool = False,
    workers: int | Executor | None = None,
    progress: bool | None = None,
) -> Table:
    """Simulate a data set: an observation table, and the events and effective area of each run.

    The same seed gives the same files, regardless of the number of workers.

    Parameters
    ----------
    outdir : path
        Directory to make. With sources, their catalogue is written to ``sources.ecsv``.
    scheme : str
        Layout, see `open_runs`.
    {settings}
    point_sources : sequence of `PointSource`
        Gamma-ray sources.
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with simulated runs.
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes, or an executor; see `make_models`.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    `~astropy.table.Table`
        The observation table.

    Raises
    ------
    BgnbError
        If an argument cannot be used, or ``outdir`` exists.

    Examples
    --------
    >>> import bgnb
    >>> table = bgnb.make_test_dataset("new-runs", n_runs=2, trigger_rate=2, observatory="CTAO-NORTH")
    >>> bgnb.open_runs("new-runs", "GADF")
    Runs(2 runs in new-runs)
    >>> table["LIVETIME"].quantity.sum()
    <Quantity 3000. s>
    """
    layout = checked_scheme(scheme)
    table = make_test_observation_table(**options_of(settings.observations))
    model, n_runs, seed = TrueModel(**options_of(settings.true_model)), len(table), settings.observations.seed
    with new_directory(Path(outdir), overwrite=overwrite, kind="runs") as directory:
        common = (model, tuple(point_sources), settings.energy_threshold, seed, directory, layout)
        tasks = [_Task(row, table[row : row + 1], *common) for row in range(n_runs)]
        counts = np.zeros(n_runs, dtype=np.int64)
        seconds = n_runs * (SECONDS_PER_RUN + SECONDS_PER_EVENT * model.trigger_rate * LIVETIME)
        with progress_bar(n_runs, "run", progress) as bar, open_workers(workers, seconds=seconds) as executor:
            for task, count in executor.map(_write_run, tasks):
                counts[task.row] = count
                bar.update()
        table["EVENT_COUNT"] = counts
        if layout != "FILES":
            (_write_gadf_index if layout == "GADF" else _write_hess_index)(table, directory)
        if point_sources:
            catalog = Table([asdict(source) for source in point_sources])
            catalog.rename_columns(["name", "ra", "dec", "rate"], ["NAME", "RA", "DEC", "RATE"])
            catalog.write(directory / "sources.ecsv")
        used = {"scheme": layout} | settings.as_dict() | {"point_sources": [asdict(source) for source in point_sources]}
        write_report(directory, {"settings": used, "events": table["EVENT_COUNT"].sum()})
    return table


@dataclass(frozen=True)
class _Task:
    """One run to simulate and write."""

    row: int
    observation: Table
    model: TrueModel
    point_sources: tuple[PointSource, ...]
    energy_threshold: float | None
    seed: int
    directory: Path
    scheme: Scheme

    def __str__(self) -> str:
        return f"run {self.observation['OBS_ID'][0]}"


def _gadf_run_file(obs_id: int) -> Path:
    return Path("data") / f"run{obs_id:06d}.fits.gz"


def _write_run(task: _Task) -> int:
    """Simulate and write one run; return the number of events."""
    row = task.observation[0]
    events, detxy = simulate_run(
        row, task.model, energy_threshold=task.energy_threshold, point_sources=task.point_sources, seed=task.seed
    )
    detx, dety = detxy if task.model.fovalign == "ALTAZ" else events.detxy("ALTAZ")
    hdus = [primary_hdu(), _events_hdu(row, events, detx, dety), _gti_hdu(row, events)]
    aeff = _aeff_hdu(row, events)
    if task.scheme != "HESS":
        files = {task.directory / _gadf_run_file(events.obs_id): [*hdus, aeff]}
    else:
        files = {
            hess_run_file(task.directory, events.obs_id, "events"): hdus,
            hess_run_file(task.directory, events.obs_id, "aeff_2d"): [primary_hdu(), aeff],
        }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_fits(path, content)
    return len(events)


def _header(row: Any, hduclas: Sequence[str]) -> dict[str, Any]:
    keywords = GADF_KEYWORDS | {f"HDUCLAS{number}": name for number, name in enumerate(hduclas, start=1)}
    telescope = row.meta["TELESCOP"]
    keywords |= {"CREATOR": f"bgnb {__version__}", "ORIGIN": "bgnb simulation", "INSTRUME": telescope}
    return keywords | {"OBS_ID": int(row["OBS_ID"])} | dict(row.meta)


def _events_hdu(row: Any, events: EventList, detx: Floats, dety: Floats) -> memoryview:
    columns = {
        "EVENT_ID": ("K", "", np.arange(1, len(events) + 1)),
        "TIME": ("D", "s", events.time),
        "RA": ("D", "deg", events.ra),
        "DEC": ("D", "deg", events.dec),
        "ENERGY": ("E", "TeV", events.energy),
        "DETX": ("E", "deg", detx),
        "DETY": ("E", "deg", dety),
    }
    keywords = _header(row, ["EVENTS"])
    keywords |= {"OBS_MODE": "POINTING", "RADECSYS": "ICRS", "EQUINOX": 2000.0, "EUNIT": "TeV", "TASSIGN": "SIMULATED"}
    names = ("OBJECT", "RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT", "ONTIME", "LIVETIME", "DEADC", "TSTART", "TSTOP")
    for name in (*names, "MUONEFF", "N_TELS"):
        value = row[name]
        keywords[name] = value.item() if isinstance(value, np.generic) else value
    return columns_hdu("EVENTS", columns, keywords)


def _gti_hdu(row: Any, events: EventList) -> memoryview:
    columns = {"START": ("D", "s", events.gti[:, 0]), "STOP": ("D", "s", events.gti[:, 1])}
    return columns_hdu("GTI", columns, _header(row, ["GTI"]))


def _aeff_hdu(row: Any, events: EventList) -> memoryview:
    """Make an effective area of plausible size, whose header states the energy threshold of the run."""
    energy, theta = np.geomspace(0.05, 100, 34), np.linspace(0, 6, 7)
    middle, offset = np.sqrt(energy[1:] * energy[:-1]), (theta[1:] + theta[:-1]) / 2
    area = 3e5 / (1 + (middle / 0.4) ** -2.5) * np.exp(-0.5 * (offset[:, None] / 3) ** 2)
    columns = {
        "ENERG_LO": ("E", "TeV", energy[None, :-1]),
        "ENERG_HI": ("E", "TeV", energy[None, 1:]),
        "THETA_LO": ("E", "deg", theta[None, :-1]),
        "THETA_HI": ("E", "deg", theta[None, 1:]),
        "EFFAREA": ("E", "m2", area[None]),
    }
    keywords = _header(row, ["RESPONSE", "EFF_AREA", "FULL-ENCLOSURE", "AEFF_2D"])
    keywords |= {"LO_THRES": (events.energy_threshold, "[TeV]"), "HI_THRES": (float(energy[-1]), "[TeV]")}
    return columns_hdu("AEFF", columns, keywords)


def _write_gadf_index(table: Table, directory: Path) -> None:
    kinds = (("events", "events", "EVENTS"), ("gti", "gti", "GTI"), ("aeff", "aeff_2d", "AEFF"))
    rows = []
    for obs_id in table["OBS_ID"].tolist():
        path = _gadf_run_file(obs_id)
        rows += [(obs_id, hdu_type, hdu_class, str(path.parent), path.name, name) for hdu_type, hdu_class, name in kinds]
    hdus = Table(rows=rows, names=("OBS_ID", "HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME"))
    for content, kind in ((table, "OBS"), (hdus, "HDU")):
        write_fits(directory / f"{kind.lower()}-index.fits.gz", [primary_hdu(), index_hdu(content, kind)])


def _write_hess_index(table: Table, directory: Path) -> None:
    keywords = {"HIERARCH OBSERVATORY_NAME": table.meta["TELESCOP"]}
    write_fits(directory / "runinfo.fits", [primary_hdu(), table_hdu(table, "RUNINFO", keywords)])
