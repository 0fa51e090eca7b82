"""A run contributes to each group, and to each cell of a spline, for the time when it points there."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from bgnb import fit_spline, make_bg_cube_models, make_models, merge, open_runs, read_event_list, stack_runs
from bgnb.cubes.event_cuts import EXCLUDED
from bgnb.cubes.stack import add_stacks
from bgnb.observations.coordinates import FieldOfView, pointing_radec
from bgnb.production import count_chunks as counting
from tests.helpers.errors import raises
from tests.helpers.files import digests
from tests.helpers.run_files import HESS, MJDREF, TSTART, asymmetric_events, run, write_gadf

DURATION = 18000.0
RATE = 2.0  # events per second of ontime at an altitude of 45 deg; the rate is proportional to the altitude
LIVE = 0.9
#: All events are inside these axes.
WIDE = {"select": "all", "energy_min": "0.05 TeV", "energy_max": "1e6 TeV", "fov_max": "12 deg", "progress": False}
SMALL = WIDE | {"n_energy": 3, "n_fov": 6}


def long_run(obs_id, alt_pnt=56.4, az_pnt=218.3, duration=DURATION, **changes):
    """Make a run of five hours, whose altitude decreases from 66 to 32 deg; its pointing is that at mid-run."""
    middle = MJDREF + (TSTART + duration / 2) / 86400
    ra_pnt, dec_pnt = pointing_radec(alt_pnt, az_pnt, middle, HESS)
    rng = np.random.default_rng(obs_id)
    seconds = np.sort(rng.uniform(0, duration, rng.poisson(2 * RATE * duration)))
    altitude, _ = FieldOfView(ra_pnt, dec_pnt, middle, HESS).pointing_altaz(seconds - duration / 2)
    seconds = seconds[rng.random(len(seconds)) < altitude / 90]
    events = asymmetric_events(rng, len(seconds), ra_pnt, dec_pnt) | {"TIME": TSTART + seconds}
    place = {"RA_PNT": ra_pnt, "DEC_PNT": dec_pnt, "pointing": (alt_pnt, az_pnt)}
    time = {"gti": [(TSTART, TSTART + duration)], "TSTOP": TSTART + duration}
    return run(obs_id, **place, **time, **{"events": events, "threshold": None} | changes)


@pytest.fixture(scope="module")
def indir(tmp_path_factory) -> Path:
    """Make a directory of one long run."""
    return write_gadf(tmp_path_factory.mktemp("long") / "in", [long_run(1)])


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    """Make a directory of long and ordinary runs, rising and setting."""
    long = [long_run(1), long_run(2, az_pnt=141.0), long_run(3, alt_pnt=50.0, az_pnt=225.0), long_run(4, az_pnt=40.0)]
    return write_gadf(
        tmp_path_factory.mktemp("several") / "in", [*long, *(run(number, 900, threshold=None) for number in (5, 6, 7, 8))]
    )


def test_each_group_gets_the_rate_at_its_altitude(indir):
    """The counts of each group are those expected at its mean altitude, which change by a factor of two."""
    made = make_models(indir, "GADF", method="unsmoothed", **SMALL)
    groups = made.report.groups
    assert [group.group_id for group in groups] == [9, 11, 13, 15, 17, 19, 21, 23, 25]
    for group in groups:
        expected = RATE * group.alt_mean_deg / 45 * group.livetime_s / LIVE
        assert abs(group.counts - expected) < 3.5 * np.sqrt(expected)
        limits = made.models.groups.table[group.group_id]
        assert limits["ALT_MIN"] - 0.6 < group.alt_mean_deg < limits["ALT_MAX"] + 0.6
    assert groups[-1].counts / groups[-1].livetime_s > 1.8 * groups[0].counts / groups[0].livetime_s


def test_sum_over_groups_is_the_whole_run(indir):
    """Counts, livetime and numbers of events of all groups together are those of the run."""
    made = make_models(indir, "GADF", method="unsmoothed", **SMALL)
    stacks = [group.model.stack for group in made.models.models]
    whole = stack_runs([read_event_list(open_runs(indir, "GADF").files(1))], stacks[0].axes)
    together = add_stacks((((), stack) for stack in stacks), pieces=True)[()]
    assert np.array_equal(together.counts, whole.counts)
    assert np.array_equal(together.livetime_us, whole.livetime_us)
    (one,), (other,), (entry,) = together.runs, whole.runs, made.report.runs
    for found in (one, entry.counted):
        assert (found.events, found.counts, found.notes) == (other.events, other.counts, other.notes)
        assert found.livetime_s == pytest.approx(other.livetime_s, abs=1e-6)
        assert (found.alt_pnt, found.az_pnt) == pytest.approx((other.alt_pnt, other.az_pnt), abs=0.2)
    assert sum(entry.group_fractions.values()) == pytest.approx(1)
    assert {int(name): value * other.livetime_s for name, value in entry.group_fractions.items()} == pytest.approx(
        {group.group_id: group.livetime_s for group in made.report.groups}
    )
    assert entry.group_id == max(made.report.groups, key=lambda group: group.livetime_s).group_id == 25
    assert made.runs["GROUP_ID"].tolist() == [25]
    with raises("duplicate-run", "run 1"):
        stacks[0] + stacks[1]


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_sum_over_groups_with_a_mask(indir, tmp_path, fovalign):
    """With exclusion regions, which move in ALTAZ, the livetime of each bin adds up."""
    table = open_runs(indir, "GADF").table
    catalog = Table({"RA": [table["RA_PNT"][0] + 3.5], "DEC": [table["DEC_PNT"][0] + 3.5]})
    options = SMALL | {"method": "unsmoothed", "sources": "mask", "mask_radius": "1.5 deg", "catalog": catalog}
    apart, whole = (
        make_models(indir, "GADF", fovalign=fovalign, **options | edges)
        for edges in ({}, {"alt_edges": [0, 90], "az_edges": [0, 360]})
    )
    one, other = (
        add_stacks((((), group.model.stack) for group in made.models.models), pieces=True)[()] for made in (apart, whole)
    )
    assert len(apart.models.models) == 9
    assert len(np.unique(other.livetime_us)) > 3
    # The reference times differ, which changes the position of the source by milliarcseconds.
    np.testing.assert_allclose(one.livetime_us, other.livetime_us, rtol=1e-6)
    assert np.array_equal(one.counts, other.counts)
    assert one.runs[0].events_in_mask == other.runs[0].events_in_mask > 100


def test_run_inside_a_group_is_counted_as_before(indir):
    """A run that stays in one group has the counts of its events without division."""
    made = make_models(indir, "GADF", method="unsmoothed", alt_edges=[30, 70], az_edges=[0, 360], **SMALL)
    whole = stack_runs([read_event_list(open_runs(indir, "GADF").files(1))], made.models.models[0].model.axes)
    stack = made.models.models[0].model.stack
    assert np.array_equal(stack.counts, whole.counts)
    assert np.array_equal(stack.livetime_us, whole.livetime_us)
    assert stack.runs == whole.runs
    assert made.report.runs[0].group_fractions == {}
    assert "more than one group" not in made.report.summary


@pytest.mark.parametrize("edges", [[40, 60], [60, 90], [0, 40]])
def test_time_outside_all_groups(indir, edges):
    """Events and livetime outside the edges are excluded, and every event is accounted for, wherever the run is at mid-run."""
    made = make_models(indir, "GADF", method="unsmoothed", alt_edges=edges, az_edges=[0, 360], **SMALL)
    (group,), (entry,) = made.report.groups, made.report.runs
    content, whole = entry.as_dict(), read_event_list(open_runs(indir, "GADF").files(1))
    assert content["events"] == len(whole) == sum(content[name] for name in EXCLUDED) + content["counts"]
    assert content["counts"] == group.counts
    assert content["livetime_s"] == pytest.approx(group.livetime_s)
    assert 0 < content["group_fractions"]["outside"] == pytest.approx(1 - group.livetime_s / whole.livetime)
    expected = RATE * group.alt_mean_deg / 45 * group.livetime_s / LIVE
    assert abs(group.counts - expected) < 3.5 * np.sqrt(expected)
    assert f"{content['events_outside_groups']} while altitude and azimuth were outside all groups" in made.report.summary


def test_run_that_never_enters_a_group(tmp_path):
    """Its reason is the same whether it is read or not."""
    runs = [
        long_run(1),
        run(3, 60, threshold=None),
        run(8, 60, threshold=None),
    ]  # run 1 could pass at 71 deg for all that the index says, run 3 could not
    report = make_models(write_gadf(tmp_path / "in", runs), "GADF", method="unsmoothed", alt_edges=[71, 90], **SMALL).report
    assert list(report.group_ids) == [8]
    assert {entry.obs_id: str(entry.reason) for entry in report.runs if entry.reason} == dict.fromkeys(
        (1, 3), "altitude and azimuth outside all groups"
    )


def test_altitude_is_wrong_in_the_index(tmp_path):
    """Runs that point into a group are read: used with a note, or refused if their altitude is far off; not just outside."""
    wrong = [{**run(obs_id, threshold=None), "pointing": (altitude, 30.0)} for obs_id, altitude in ((4, 62.0), (8, 50.0))]
    indir = write_gadf(tmp_path / "in", [run(2, threshold=None), *wrong])
    options = SMALL | {"alt_edges": [72, 90], "fovalign": "RADEC"}
    report = make_models(indir, "GADF", **options).report
    assert [entry.obs_id for entry in report.runs if entry.reason is None] == [2, 4]
    assert "ALT_PNT = 62.0" in report.summary
    assert [entry.reason.kind for entry in report.runs if entry.obs_id == 8] == ["cannot be used"]

    by_index = make_models(indir, "GADF", pointing="header", **options).report
    assert [entry.obs_id for entry in by_index.runs if entry.reason is None] == [2]
    assert {entry.reason.kind for entry in by_index.runs if entry.reason} == {"altitude and azimuth outside all groups"}


def test_merged_groups_add_the_pieces_of_a_run(several):
    """Groups with little livetime are merged, and a run occurs once in each; nothing is lost."""
    apart = make_models(several, "GADF", method="unsmoothed", **SMALL)
    merged = make_models(several, "GADF", method="unsmoothed", min_livetime="4 h", **SMALL)
    assert 1 < len(merged.report.groups) < len(apart.report.groups)
    assert min(group.livetime_s for group in merged.report.groups) > 4 * 3600
    for name in ("counts", "livetime_us"):
        one, other = (sum(getattr(each.model.stack, name).sum() for each in made.models.models) for made in (apart, merged))
        assert one == other
    for group in merged.models.models:
        stack = group.model.stack
        assert sum(entry.counts for entry in stack.runs) == stack.counts.sum()
        assert sum(round(entry.livetime_s * 1e6) for entry in stack.runs) == stack.livetime_us.max()


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize(("method", "single"), [("default", 2), ("spline", 2), ("spline", 100)])
def test_same_bits_from_workers_and_parts(several, tmp_path, monkeypatch, processes, method, single):
    """Files are bit-identical from one or two processes, and from parts, for single runs and for bins of runs."""
    monkeypatch.setattr(counting, "CHUNK_RUNS", 1)
    monkeypatch.setattr("bgnb.production.plan.SINGLE_RUNS", single)
    catalog = Table({"RA": [several_position(several)[0]], "DEC": [several_position(several)[1] + 0.7]})
    catalog.write(tmp_path / "sources.ecsv")
    options = SMALL | {"method": method, "sources": "mask", "catalog": str(tmp_path / "sources.ecsv")}
    for name, workers in (("out1", 1), ("out2", processes)):
        make_bg_cube_models(several, "GADF", tmp_path / name, workers=workers, **options)
    for part in ("1/3", "2/3", "3/3"):
        report = make_bg_cube_models(several, "GADF", tmp_path / f"part{part[0]}", part=part, workers=1, **options)
        assert report.runs
    merge([tmp_path / f"part{number}" for number in (2, 3, 1)], tmp_path / "merged", progress=False)
    assert digests(tmp_path / "out1") == digests(tmp_path / "out2") == digests(tmp_path / "merged")
    entries = json.loads((tmp_path / "out1" / "report.json").read_text())["runs"]
    assert [entry["obs_id"] for entry in entries] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(entry["events"] == sum(entry[name] for name in EXCLUDED) + entry["counts"] for entry in entries)
    assert sum(entry["events_in_mask"] for entry in entries) > 0


def several_position(several):
    """Return the pointing of the first run."""
    table = open_runs(several, "GADF").table
    return float(table["RA_PNT"][0]), float(table["DEC_PNT"][0])


@pytest.mark.slow
@pytest.mark.parametrize("single", [2, 100])
def test_spline_of_drifting_runs(several, monkeypatch, single):
    """The spline has the rate of each altitude on the way, from single runs and from bins of runs."""
    monkeypatch.setattr("bgnb.production.plan.SINGLE_RUNS", single)
    cells = []
    monkeypatch.setattr("bgnb.cubes.spline.fit_spline", lambda found: cells.extend(found) or fit_spline(found))
    models = make_models(several, "GADF", method="spline", **WIDE | {"select": [1, 2, 3, 4], "n_energy": 6, "n_fov": 8}).models
    # Runs 1 and 2 are symmetric about the meridian, and thus in the same bin.
    assert len({cell.norm for cell in cells}) == (3 if single == 2 else 4)
    assert len(cells) > 20
    assert sum(cell.stack.counts.sum() for cell in cells) == sum(each.model.stack.counts.sum() for each in models.models)
    for alt_pnt in (35.0, 42.0, 50.0, 58.0, 64.0):
        rate = models.for_pointing.rate_at(alt_pnt, 200.0)
        found = (rate.quantity * rate.axes.bin_volume).to_value("s-1").sum()
        assert found == pytest.approx(RATE * alt_pnt / 45 / LIVE, rel=0.04)
    assert models.for_pointing.scatter < 0.14  # about what it is a priori: three or four runs do not tell more
