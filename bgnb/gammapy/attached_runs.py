"""Backgrounds of the runs of a data store, made in chunks on any workers."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from bgnb._util.compression import HAS_ISAL, compress
from bgnb._util.errors import BgnbError, DataError, numbered
from bgnb._util.threads import one_blas_thread
from bgnb._version import __version__
from bgnb.cubes.compare import note_on_rates
from bgnb.cubes.coverage import Coverage, notes_on_coverage
from bgnb.cubes.event_cuts import RunCounts
from bgnb.cubes.model_set import ModelSet
from bgnb.cubes.run_norm import RunNorm, notes_on_norms, prior_scatter
from bgnb.files.epoch_directory import read_all_models
from bgnb.gammapy.run_background import RunBackground, RunBackgrounds
from bgnb.gammapy.settings import BackgroundSettings
from bgnb.observations.event_list import RunFiles
from bgnb.observations.run_selection import Reason
from bgnb.production.workers import Workers

#: Minimum number of events, observed or predicted, of a run whose rate is compared with that of the models.
MIN_EVENTS = 100
#: Number of runs in a chunk: the files of a run have up to 1 MB.
CHUNK_RUNS = 5
# Fraction of the events of a run outside the good time intervals above which it is noted.
_MANY_OUTSIDE = 0.001
_NO_MATRIX = np.empty((0, 0))
# Header keywords of the events from which Gammapy takes the location of the observatory.
_SITE = (("GEOLON",), ("GEOLAT",), ("GEOALT", "ALTITUDE"))


@dataclass(frozen=True)
class AttachedRun:
    """Result for one run of the input: attached, or skipped for a reason.

    Parameters
    ----------
    obs_id : int
        OBS_ID.
    reason : Reason or None
        Reason for which the run is skipped.
    groups : mapping of int to float
        Mean weights of the groups whose models make the background; empty for a spline.
    livetime_over_ontime : float or None
        Factor from rates per livetime to rates per ontime.
    fovalign : str or None
        Frame of the background: ALTAZ, RADEC or REVERSE_LON_RADEC; None for radial backgrounds.
    missing : tuple of str
        Components that Gammapy requires by default and the index lacks; ``site`` if the
        header of the events does not state the location of the observatory.
    norm : RunNorm or None
        Norm and tilt of the background relative to the models, and their uncertainty. Its covariances are empty: they are
        in the file of the background.
    coverage : `~bgnb.cubes.coverage.Coverage` or None
        Numbers of events outside the axes of the models.
    continued_tev : tuple of float or None
        Minimum and maximum energy, TeV, of a background continued beyond the energies of the models.
    epoch : str
        Epoch of its models, "" if they are for all runs.
    notes : tuple of str
        Notes on the run, see ``docs/reference/checks.md``.
    """

    obs_id: int
    reason: Reason | None = None
    groups: Mapping[int, float] = field(default_factory=dict)
    livetime_over_ontime: float | None = None
    fovalign: str | None = None
    missing: tuple[str, ...] = ()
    norm: RunNorm | None = None
    coverage: Coverage | None = None
    continued_tev: tuple[float, float] | None = None
    epoch: str = ""
    notes: tuple[str, ...] = ()

    @property
    def observed_over_predicted(self) -> float | None:
        """Observed over predicted events that were compared, before the norm is applied; None if there are few."""
        if self.norm is None or max(self.norm.counts, self.norm.expected) < MIN_EVENTS or not self.norm.expected:
            return None
        return max(self.norm.counts, 1) / self.norm.expected

    def as_dict(self) -> dict[str, Any]:
        """Return the entry in ``report.json``."""
        status = "attached" if self.reason is None else "skipped"
        entry = asdict(self) | {"reason": None if self.reason is None else str(self.reason)}
        entry |= {"norm": self.norm and self.norm.as_dict(), "observed_over_predicted": self.observed_over_predicted}
        entry["notes"] = list(self.notes)
        return {"obs_id": entry.pop("obs_id"), "status": status, **entry}


@dataclass(frozen=True, kw_only=True)
class BackgroundSource:
    """Models and settings from which a worker makes backgrounds; workers keep those of the last source.

    Parameters
    ----------
    modeldir : path
        Absolute path of the models.
    digest : str
        Digest of their files, see `digest_of`.
    settings : bytes
        Pickled `BackgroundSettings` and exclusion regions, which need no further files.
    version : str
        Version of bgnb.
    has_isal : bool
        If files are compressed by ISA-L, which makes other bytes than zlib.
    """

    modeldir: Path
    digest: str
    settings: bytes
    version: str = __version__
    has_isal: bool = HAS_ISAL

    @classmethod
    def of(
        cls, modeldir: Path, digest: str, settings: BackgroundSettings, makers: Mapping[str, RunBackgrounds]
    ) -> BackgroundSource:
        """Describe models that are in memory, with the digest of their files before they were read."""
        path, mask = modeldir.resolve(), next(iter(makers.values())).mask
        of_worker = BackgroundSettings(model_lookup=settings.model_lookup, kind=settings.kind, norm=settings.norm)
        return cls(modeldir=path, digest=digest, settings=pickle.dumps((of_worker, mask)))


@dataclass(frozen=True, kw_only=True, eq=False)
class BackgroundChunk:
    """Runs whose backgrounds are made together.

    Parameters
    ----------
    runs : tuple of `~bgnb.observations.event_list.RunFiles`
        The runs.
    epochs : mapping of int to str
        Epoch of the models of each run, by OBS_ID.
    source : BackgroundSource or None
        Models and settings; None in the process that has read them.
    """

    runs: tuple[RunFiles, ...]
    epochs: Mapping[int, str]
    source: BackgroundSource | None = None

    def __str__(self) -> str:
        return numbered("run", [run.obs_id for run in self.runs], CHUNK_RUNS)


@dataclass(frozen=True, kw_only=True, eq=False)
class MadeBackground:
    """Result of a run, and the content of the file with its background.

    Parameters
    ----------
    run : AttachedRun
        The result for the run.
    content : bytes
        Compressed FITS file.
    counted : `~bgnb.cubes.event_cuts.RunCounts`
        Numbers of events, and notes on the run.
    """

    run: AttachedRun
    content: bytes
    counted: RunCounts


#: Results by OBS_ID; errors of runs that cannot be used.
MadeBackgrounds = dict[int, MadeBackground | DataError]


def make_backgrounds(
    chunks: Iterable[BackgroundChunk],
    makers: Mapping[str, RunBackgrounds],
    source: Callable[[], BackgroundSource],
    workers: Workers,
) -> Iterator[tuple[int, MadeBackground | DataError]]:
    """Make the backgrounds of runs, in any order.

    Parameters
    ----------
    chunks : iterable of BackgroundChunk
        The runs.
    makers : mapping of str to `~bgnb.gammapy.run_background.RunBackgrounds`
        Functions that make backgrounds in this process, by epoch.
    source : callable
        Function that describes the models for other processes.
    workers : `~bgnb.production.workers.Workers`
        The workers.

    Yields
    ------
    obs_id : int
        OBS_ID.
    background : MadeBackground or DataError
        Result of the run, or the error for which it cannot be used.

    Raises
    ------
    BgnbError
        If a worker died, or sees other files or another version than this process.
    """
    here = partial(_make_chunk, makers)
    if workers.submit is None:
        for _, made in workers.map(here, chunks):
            yield from made.items()
        return
    elsewhere = source()
    for chunk, made in workers.map(_make_on_worker, (replace(chunk, source=elsewhere) for chunk in chunks)):
        if errors := [run for run in chunk.runs if isinstance(made[run.obs_id], DataError)]:
            again = here(replace(chunk, runs=tuple(errors)))
            if error := next((made[obs_id] for obs_id, one in again.items() if not isinstance(one, DataError)), None):
                advice = "but this process can read it; check that all workers see the same files"
                raise BgnbError("unreadable", f"a worker reports: {error}; {advice}")
        yield from made.items()


def digest_of(modeldir: Path) -> str:
    """Compute a digest of the names, sizes and modification times of the files that define models: FITS files and groups."""
    paths: list[Path] = []
    with suppress(OSError):  # reading the models raises it
        paths = sorted([*modeldir.rglob("*.fits*"), *modeldir.rglob("*.ecsv")])
    states = [(path.relative_to(modeldir).as_posix(), _state(path)) for path in paths]
    return sha256(repr(states).encode()).hexdigest()


def _state(path: Path) -> tuple[int, int] | None:
    """Return the size and the modification time of a file, or None for a link to no file; reading it raises the error."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _make_on_worker(chunk: BackgroundChunk) -> MadeBackgrounds:
    """Make the backgrounds of a chunk in a worker."""
    assert chunk.source is not None
    return _make_chunk(_makers_of(chunk.source), chunk)


@lru_cache(maxsize=1)
def _makers_of(source: BackgroundSource) -> Mapping[str, RunBackgrounds]:
    """Read the models in a worker, once for all chunks; they must be those of the process that sent the chunks."""
    if source.version != __version__:
        where = f"a worker has bgnb {__version__}, this is bgnb {source.version}"
        raise BgnbError("version-mismatch", f"{where}; install the same version everywhere")
    if source.has_isal != HAS_ISAL:
        where = "the package isal is installed for some processes and workers, but not for all"
        raise BgnbError("version-mismatch", f"{where}; install it everywhere, or nowhere")
    if digest_of(source.modeldir) != source.digest:
        advice = "check that all workers see the same files"
        raise BgnbError("unreadable", f"{source.modeldir}: a worker finds other models there, or none; {advice}")
    settings, mask = pickle.loads(source.settings)
    return {name: RunBackgrounds(models, settings, mask) for name, models in read_all_models(source.modeldir).items()}


def _make_chunk(makers: Mapping[str, RunBackgrounds], chunk: BackgroundChunk) -> MadeBackgrounds:
    """Make the backgrounds of a chunk, with one BLAS thread: the rounding does not depend on the number of cores."""
    made: MadeBackgrounds = {}
    with one_blas_thread():
        for files in chunk.runs:
            epoch = chunk.epochs[files.obs_id]
            try:
                background = makers[epoch](files)
            except DataError as error:
                made[files.obs_id] = DataError(*error.args)  # the traceback of the original keeps the file in memory
            else:
                made[files.obs_id] = MadeBackground(
                    run=replace(attached_run(background), epoch=epoch),
                    content=compress(b"".join(background.hdus)),
                    counted=background.counted,
                )
    return made


def attached_run(background: RunBackground) -> AttachedRun:
    """Return the result for a run."""
    states_site = all(any(background.header.get(name) is not None for name in names) for names in _SITE)
    energies = background.rate.axes.energy.value
    return AttachedRun(
        background.run.obs_id,
        groups=background.groups,
        livetime_over_ontime=background.run.livetime / background.run.stated_ontime,
        fovalign=background.fovalign,
        missing=() if states_site else ("site",),
        norm=replace(background.norm, covariance=_NO_MATRIX, of_models=_NO_MATRIX),
        coverage=background.coverage,
        notes=background.counted.all_notes,
        continued_tev=(float(energies[0]), float(energies[-1])) if background.is_continued else None,
    )


def notes_on_backgrounds(
    models: ModelSet, settings: BackgroundSettings, attached: Sequence[AttachedRun], counted: Mapping[int, RunCounts]
) -> list[str]:
    """List notes on runs that do not match the models of their backgrounds.

    Parameters
    ----------
    models : `~bgnb.ModelSet`
        The models.
    settings : `BackgroundSettings`
        Settings of the backgrounds.
    attached : sequence of AttachedRun
        The runs with backgrounds from these models.
    counted : mapping of int to `~bgnb.cubes.event_cuts.RunCounts`
        Numbers of events of these runs, by OBS_ID.
    """
    norms = {run.obs_id: run.norm for run in attached if run.norm is not None}
    ratios = {run.obs_id: run.observed_over_predicted for run in attached if run.observed_over_predicted is not None}
    consequences = (
        "the backgrounds are continued along a power law, over a factor of 100 in energy at most",
        "there is no background there; make the models with a larger --fov-max",
    )
    return [
        *models.notes_on(counted),
        *_notes_on_good_time(counted),
        *notes_on_norms(norms, settings.norm, prior_scatter(models)),
        *note_on_rates(ratios, "the observed rate", "the predicted one", "run"),
        *notes_on_coverage({run.obs_id: run.coverage for run in attached if run.coverage is not None}, *consequences),
    ]


def _notes_on_good_time(counted: Mapping[int, RunCounts]) -> list[str]:
    """Note the events outside the good time, which Gammapy does not remove, of runs with many of them."""
    outside = {obs_id: run for obs_id, run in counted.items() if run.events_outside_gti > _MANY_OUTSIDE * run.events}
    if not outside:
        return []
    events, number = sum(run.events for run in outside.values()), sum(run.events_outside_gti for run in outside.values())
    share = f"{number} of {events} events ({100 * number / events:.1f} %) of {numbered('run', outside)}"
    consequence = "Gammapy counts them, but there is no background for them; remove them from the event lists"
    return [f"{share} lie outside the good time intervals; {consequence}"]


def notes_on_selection(condition: str | None) -> list[str]:
    """Note that Gammapy reads also the events that do not meet a condition; nothing without one."""
    if condition is None:
        return []
    return [f"the backgrounds are those of events with {condition}; Gammapy reads all events, unless they are selected as well"]
