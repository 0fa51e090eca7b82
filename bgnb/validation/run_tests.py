"""Tests of a run: norm, rate against time, field of view, spectrum, and unknown sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import norm as normal
from scipy.stats import poisson

from bgnb._util.arrays import Bools, Floats, Ints
from bgnb._util.errors import DataError
from bgnb.cubes.coverage import interpolable_rate
from bgnb.cubes.cube import RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.event_cuts import RunCounts, measured_planes
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.group_model import RateForRun
from bgnb.cubes.model_set import ModelSet
from bgnb.cubes.prediction import point_rate, predicted_rate
from bgnb.cubes.rotate import rotate_to_radec
from bgnb.cubes.run_norm import RunNorm, norm_of_run, prior_scatter
from bgnb.cubes.scan_statistic import Scan, Trend, as_windows, scan, successive_cells
from bgnb.cubes.stack import stack_runs
from bgnb.observations.coordinates import separation
from bgnb.observations.event_list import EventList

#: Tests, in this order.
TESTS = ("norm", "time", "field", "energy", "source")
#: Length of a time cell, and limits of the length of a window of time, s.
TIME_CELL, TIME_WINDOWS = 30.0, (60.0, 600.0)
#: Standard deviation of the slow change of the rate within `DRIFT_TIME` (s), relative to its mean.
DRIFT, DRIFT_TIME = 0.1, 1800.0
#: Width of the pixels of the field of view and of the sky, deg.
PIXEL, SKY_PIXEL = 0.1, 0.05
#: Numbers of cells of the field of view in radius and in azimuth about the pointing, and widths of sectors, in cells.
N_RINGS, N_SECTORS, SECTOR_WIDTHS = 6, 24, (1, 2, 3, 4, 6, 12)
#: Radii of the circles in which a source is sought, deg.
RADII = (0.1, 0.2)
# Nodes and range of the integral over log norm, standard deviations.
_NODES, _RANGE = 801, 9.0


@dataclass(frozen=True, kw_only=True)
class RunTest:
    """Result of one test of a run.

    Parameters
    ----------
    p_value : float
        Probability of such a result, or a less likely one, if the run agrees with the models.
    where : str
        Place of the largest deviation, such as the minutes.
    counts : int
        Observed counts there.
    expected : float
        Expected counts there.
    significance : float
        Deviation there, standard deviations; positive for an excess.
    """

    p_value: float
    where: str
    counts: int
    expected: float
    significance: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Observed and expected counts in cells of time or energy.

    Parameters
    ----------
    edges : ndarray, shape (n, 2)
        Edges of the cells: s since the start of the first good time interval, or TeV.
    counts, expected : ndarray, shape (n,)
        Observed counts, and the fitted expectation.
    marked : ndarray of bool, shape (n,)
        Cells of the window with the largest deviation.
    """

    edges: Floats
    counts: Ints
    expected: Floats
    marked: Bools


@dataclass(frozen=True, kw_only=True, eq=False)
class Map:
    """Significance on the field of view or on the sky.

    Parameters
    ----------
    edges : ndarray, shape (n + 1,)
        Edges of the pixels in both directions, deg.
    significance : ndarray, shape (n, n)
        Deviation of the cell of each pixel, or of the circle around it, standard deviations; NaN outside.
    marked : ndarray of bool, shape (n, n)
        Pixels of the window with the largest deviation.
    """

    edges: Floats
    significance: Floats
    marked: Bools


@dataclass(frozen=True, kw_only=True, eq=False)
class RunResult:
    """Results of all tests of a run.

    Parameters
    ----------
    obs_id : int
        OBS_ID.
    alt_pnt, az_pnt : float
        Mean pointing, deg.
    events : int
        Number of events in the good time, at all energies.
    norm : `~bgnb.cubes.run_norm.RunNorm`
        Norm and tilt of the run relative to the models.
    tests : mapping of str to RunTest
        Results by test.
    time, energy : Cells
        Counts against time and energy.
    field, sky : Map
        Field of view, in the frame of the models, and sky, relative to the pointing in the frame RADEC.
    counted : `~bgnb.cubes.event_cuts.RunCounts`
        Numbers of events, and notes on the run.
    """

    obs_id: int
    alt_pnt: float
    az_pnt: float
    events: int
    norm: RunNorm
    tests: Mapping[str, RunTest]
    time: Cells
    energy: Cells
    field: Map
    sky: Map
    counted: RunCounts


def run_tests(
    models: ModelSet, found: RateForRun, run: EventList, mask: SourceMask | None = None, offset_max: float = 2.5
) -> RunResult:
    """Test a run against models.

    Random numbers depend on OBS_ID only, so that the result does not depend on other runs.

    Parameters
    ----------
    models : `~bgnb.ModelSet`
        The models.
    found : `~bgnb.cubes.group_model.RateForRun`
        Their rate for the run, see `~bgnb.ModelSet.mean_rate_for`.
    run : `~bgnb.EventList`
        The run.
    mask : `~bgnb.cubes.exclusion_mask.SourceMask`, optional
        Exclusion regions.
    offset_max : float
        Maximum offset of events from the pointing in all tests but ``norm`` and ``time``, deg. Offsets that the models do
        not cover in all directions are not tested.

    Returns
    -------
    RunResult

    Raises
    ------
    DataError
        If the models predict no events in the energy range and field of view of the run, outside exclusion regions.
    """
    axes, (alt_pnt, az_pnt) = found.rate.axes, run.mean_pointing
    planes = measured_planes(run.energy_threshold, run.energy_limit, axes)
    text = "the models predict no events in its energy range and field of view, outside exclusion regions"
    nothing = DataError("nothing-to-compare", f"run {run.obs_id}: {text}")
    offset_max = min(offset_max, covered_offset(axes))
    if planes.start == planes.stop or offset_max <= 0:
        raise nothing
    field_axes = _square(axes.energy[planes.start : planes.stop + 1], offset_max, PIXEL)
    rate = point_rate(interpolable_rate(found.rate))
    inside = _polar(field_axes)[0] <= offset_max
    stack = stack_runs([run], field_axes, models.fovalign, mask)
    counts, expected = stack.counts * inside, predicted_rate(rate, field_axes, "gammapy") * stack.livetime.value * inside
    if not expected.any():
        raise nothing
    of_models = _model_counts(models, found, field_axes)
    rng = np.random.default_rng([run.obs_id])
    norm = norm_of_run(models, found, run, "run", mask)
    time_test, time = compare_time(run, mask, rng)
    field_test, field = compare_field(field_axes, counts, expected, of_models, rng)
    energy_test, energy = compare_energy(models, field_axes, counts, expected, of_models, rng)
    source_test, sky = find_source(models, rate, run, mask, field_axes.energy[[0, -1]], offset_max, rng)
    return RunResult(
        obs_id=run.obs_id,
        alt_pnt=alt_pnt,
        az_pnt=az_pnt,
        events=int(np.count_nonzero(run.in_gti)),
        norm=norm,
        tests={
            "norm": compare_norm(models, found, norm, planes, (alt_pnt, az_pnt)),
            "time": time_test,
            "field": field_test,
            "energy": energy_test,
            "source": source_test,
        },
        time=time,
        energy=energy,
        field=field,
        sky=sky,
        counted=stack.runs[0],
    )


def covered_offset(axes: CubeAxes) -> float:
    """Return the largest offset from the pointing that axes cover in all directions, deg; not above 0 if there is none."""
    return float(min(sign * edges.value[end] for edges in (axes.detx, axes.dety) for end, sign in ((0, -1), (-1, 1))))


@np.errstate(under="ignore")
def compare_norm(models: ModelSet, found: RateForRun, norm: RunNorm, planes: slice, pointing: tuple[float, float]) -> RunTest:
    """Compare the counts with the prediction and the scatter from run to run: Poisson counts with a log-normal mean."""
    variance = prior_scatter(models) ** 2
    if models.obs_ids:
        share = (found.rate.quantity * found.rate.axes.bin_volume).to_value("s-1").sum(axis=(1, 2))[planes]
        share /= share.sum()
        variance += float(share @ models.count_covariance(found, *pointing)[planes, planes] @ share)
    width = variance**0.5
    nodes = np.linspace(-_RANGE, _RANGE, _NODES)
    weights = np.exp(-(nodes**2) / 2)
    means = norm.expected * np.exp(width * nodes - width**2 / 2)
    tails = [
        float(weights @ tail / weights.sum()) for tail in (poisson.cdf(norm.counts, means), poisson.sf(norm.counts - 1, means))
    ]
    p_value = min(2 * min(tails), 1.0)
    sign = 1 if tails[1] < tails[0] else -1
    return RunTest(
        p_value=p_value,
        where="whole run",
        counts=norm.counts,
        expected=norm.expected,
        significance=sign * float(normal.isf(max(p_value, 1e-300) / 2)),
    )


def compare_time(run: EventList, mask: SourceMask | None, rng: np.random.Generator) -> tuple[RunTest, Cells]:
    """Compare the rate of all events in windows of time with a constant rate that may drift slowly."""
    edges = []
    for start, stop in run.gti:
        ends = np.linspace(start, stop, max(int(np.ceil((stop - start) / TIME_CELL)), 1) + 1)
        edges.append(np.stack([ends[:-1], ends[1:]], axis=1))
    cells = np.concatenate(edges)
    used = run.in_gti
    if mask is not None:
        farthest = float(separation(run.ra, run.dec, run.ra_pnt, run.dec_pnt).max(initial=0.0))
        used = used & ~mask.near(run.ra_pnt, run.dec_pnt, farthest).covers(run.ra, run.dec)
    cell = np.clip(np.searchsorted(cells[:, 0], run.time[used], side="right") - 1, 0, len(cells) - 1)
    counts = np.bincount(cell, minlength=len(cells))
    trend = Trend(values=(cells.mean(axis=1) - run.middle) / DRIFT_TIME, width=DRIFT)
    windows = successive_cells(cells, *TIME_WINDOWS)
    result = scan(counts, np.diff(cells, axis=1)[:, 0], windows, rng, trend=trend)
    since = cells - run.gti[0, 0]
    marked = _cells_of(windows, result)
    where = ""
    if marked.any():
        where = "{:.1f} to {:.1f} min".format(*(since[marked][[0, -1], [0, 1]] / 60))
    return _summary(result, where), Cells(edges=since, counts=counts, expected=result.fitted, marked=marked)


def compare_field(
    axes: CubeAxes, counts: Ints, expected: Floats, of_models: Floats | None, rng: np.random.Generator
) -> tuple[RunTest, Map]:
    """Compare the counts in sectors of the field of view with the prediction."""
    offset, angle = _polar(axes)
    image = expected.sum(axis=0)
    order = np.argsort(offset, axis=None)
    share = np.cumsum(image.ravel()[order])
    limits = offset.ravel()[order][np.searchsorted(share, share[-1] * np.arange(1, N_RINGS) / N_RINGS)]
    ring = np.searchsorted(limits, offset)
    cell = ring * N_SECTORS + np.minimum((angle / 360 * N_SECTORS).astype(int), N_SECTORS - 1)
    n_cells = N_RINGS * N_SECTORS

    def per_cell(values: Floats | Ints) -> Floats:
        return np.bincount(cell.ravel(), values.sum(axis=0).ravel(), n_cells).astype(float)

    rings = [(first, stop) for first in range(N_RINGS) for stop in range(first + 1, N_RINGS + 1)]
    sectors = [(start, width) for width in SECTOR_WIDTHS for start in range(N_SECTORS)]
    choices = [(*between, *sector) for between in rings for sector in [*sectors, (0, N_SECTORS)]]
    windows = as_windows(
        [
            (np.arange(first, stop)[:, None] * N_SECTORS + np.arange(start, start + width) % N_SECTORS).ravel()
            for first, stop, start, width in choices
        ],
        n_cells,
    )
    precision = None if of_models is None else per_cell(of_models)
    result = scan(per_cell(counts).astype(np.int64), per_cell(expected), windows, rng, model_counts=precision)
    first, stop, start, width = choices[result.window]
    ends = np.array([0.0, *limits, offset[image > 0].max(initial=0.0)])
    where = f"offset {ends[first]:.1f} to {ends[stop]:.1f} deg"
    if width < N_SECTORS:
        step = 360 / N_SECTORS
        where += f", angle {start * step:.0f} to {(start + width) * step % 360:.0f} deg"
    single = np.diff(windows.indptr) == 1
    of_cells = np.zeros(n_cells)
    of_cells[windows[single].indices] = result.significances[single]
    shown = np.where(image > 0, of_cells[cell], np.nan)
    marked = _cells_of(windows, result)[cell] & (image > 0)
    return _summary(result, where), Map(edges=axes.detx.value, significance=shown, marked=marked)


def compare_energy(
    models: ModelSet, axes: CubeAxes, counts: Ints, expected: Floats, of_models: Floats | None, rng: np.random.Generator
) -> tuple[RunTest, Cells]:
    """Compare the counts in ranges of energy with the prediction, whose spectral index may vary from run to run."""
    edges = np.stack([axes.energy.value[:-1], axes.energy.value[1:]], axis=1)
    trend = Trend(values=-np.log(axes.energy_centers.value / models.reference_energy), width=models.scatter[1])
    in_bins, precision = counts.sum(axis=(1, 2)), None if of_models is None else of_models.sum(axis=(1, 2))
    windows = successive_cells(np.log(edges), 0.0, np.inf)
    result = scan(in_bins, expected.sum(axis=(1, 2)), windows, rng, trend=trend, model_counts=precision)
    marked = _cells_of(windows, result)
    where = "{:.3g} to {:.3g} TeV".format(*edges[marked][[0, -1], [0, 1]]) if marked.any() else ""
    return _summary(result, where), Cells(edges=edges, counts=in_bins, expected=result.fitted, marked=marked)


def find_source(
    models: ModelSet,
    rate: Cube,
    run: EventList,
    mask: SourceMask | None,
    energy: u.Quantity,
    offset_max: float,
    rng: np.random.Generator,
) -> tuple[RunTest, Map]:
    """Search for an excess in circles on the sky."""
    axes = _square(energy, offset_max, SKY_PIXEL)
    in_band = np.diff(rate.axes.energy.to_value("MeV"))[:, None, None] * rate.quantity.to_value(RATE_UNIT)
    planes = measured_planes(energy[0].value, energy[1].value, rate.axes)
    mean = in_band[planes].sum(axis=0, keepdims=True) / np.diff(energy.to_value("MeV"))
    one = Cube(CubeAxes(energy, rate.axes.dety, rate.axes.detx), u.Quantity(mean, RATE_UNIT))
    on_sky = rotate_to_radec(one, run) if models.fovalign == "ALTAZ" else one
    stack = stack_runs([run], axes, "RADEC", mask)
    inside = _polar(axes)[0] <= offset_max
    counts = (stack.counts[0] * inside).ravel()
    expected = (predicted_rate(on_sky, axes, "gammapy") * stack.livetime.value)[0] * inside
    windows = _circles(offset_max)
    result = scan(counts, expected.ravel(), windows, rng, excess_only=True)
    shown = np.full(inside.shape, np.nan)
    shown[inside] = result.significances[: np.count_nonzero(inside)]
    shown[expected <= 0] = np.nan
    marked = _cells_of(windows, result).reshape(inside.shape)
    where = ""
    if marked.any():
        y, x = (np.mean(each) for each in np.nonzero(marked))
        detx, dety = (axes.detx.value[0] + (np.array([each]) + 0.5) * SKY_PIXEL for each in (x, y))
        ra, dec = run.field_of_view.sky_position("RADEC", detx, dety, np.zeros(1))
        where = f"RA {ra[0]:.2f}, DEC {dec[0]:.2f} deg"
    return _summary(result, where), Map(edges=axes.detx.value, significance=shown, marked=marked)


def _square(energy: u.Quantity, offset_max: float, pixel: float) -> CubeAxes:
    """Make axes with square pixels that contain all offsets up to a maximum, deg."""
    n_pixels = int(np.ceil(offset_max / pixel - 1e-9))
    edges = np.arange(-n_pixels, n_pixels + 1) * pixel * u.deg
    return CubeAxes(energy, edges, edges)


def _polar(axes: CubeAxes) -> tuple[Floats, Floats]:
    """Compute the offset of the pixels, and their angle from DETX towards DETY from 0 to 360, deg."""
    x, y = axes.detx_centers.value, axes.dety_centers.value[:, None]
    return separation(x, y, 0, 0), np.degrees(np.arctan2(y, x)) % 360


def _model_counts(models: ModelSet, found: RateForRun, axes: CubeAxes) -> Floats | None:
    """Estimate the number of counts from which the rate for a run was made, in bins; None for a true model.

    These are the counts of all groups for a fit to all runs. If several groups contribute with weights w, they are
    Σ w N / Σ w², so that two equal groups have twice the counts of one.
    """
    if not models.obs_ids:
        return None
    weights = found.weights or dict.fromkeys(models.group_ids, 1.0)
    stacks = {group_id: models[group_id].stack for group_id in weights}
    on_axes: list[tuple[CubeAxes, NDArray[Any]]] = []  # usually the same for all groups
    for group_id, weight in weights.items():
        same = [counts for others, counts in on_axes if others == stacks[group_id].axes]
        if same:
            same[0][:] += weight * stacks[group_id].counts
        else:
            on_axes.append((stacks[group_id].axes, weight * stacks[group_id].counts))
    total = np.zeros(axes.shape)
    for others, counts in on_axes:
        total += predicted_rate(Cube(others, u.Quantity(counts / others.bin_volume.value, RATE_UNIT)), axes)
    return total / sum(weight**2 for weight in weights.values()) if found.weights else total


@cache
def _circles(offset_max: float) -> csr_array:
    """Make windows of the pixels in circles about each pixel of the sky, first of all circles with the first radius."""
    axes = _square([1, 2] * u.TeV, offset_max, SKY_PIXEL)
    n_pixels, inside = axes.shape[1], _polar(axes)[0] <= offset_max
    y, x = np.nonzero(inside)
    windows = []
    for radius in RADII:
        reach = int(radius / SKY_PIXEL + 1e-9)
        dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        near = np.hypot(dy, dx) * SKY_PIXEL <= radius + 1e-9
        rows, columns = y[:, None] + dy[near], x[:, None] + dx[near]
        on_map = (rows >= 0) & (rows < n_pixels) & (columns >= 0) & (columns < n_pixels)
        flat = rows * n_pixels + columns
        windows += [line[keep] for line, keep in zip(flat, on_map, strict=True)]
    return as_windows(windows, n_pixels**2)


def _cells_of(windows: csr_array, result: Scan) -> Bools:
    """Select the cells of the window with the largest deviation; none if there is no deviation."""
    marked = np.zeros(windows.shape[1], dtype=bool)
    if result.significances.any():
        marked[windows.indices[windows.indptr[result.window] : windows.indptr[result.window + 1]]] = True
    return marked


def _summary(result: Scan, where: str) -> RunTest:
    return RunTest(
        p_value=result.p_value,
        where=where if result.significances.any() else "",
        counts=result.counts,
        expected=result.expected,
        significance=result.significance if len(result.significances) else 0.0,
    )
