"""Runs that are compared with each other: copies, lost events and unusual live fractions."""

import shutil

import pytest
from astropy.table import Table

from bgnb import make_bg_cube_models, merge
from tests.broken.directory import file_of, in_columns, in_header
from tests.broken.plausible import SMALL
from tests.helpers.errors import raises
from tests.helpers.run_files import ONTIME


@pytest.fixture
def indir(plausible_runs, tmp_path):
    """Copy the plausible runs, to change run 4."""
    return shutil.copytree(plausible_runs, tmp_path / "in")


def outcome(report):
    return {run.obs_id: "used" if run.reason is None else str(run.reason) for run in report.runs}


def copied(indir):
    """Replace run 4 by run 2 under its own number."""
    shutil.copy(file_of(indir, 2), file_of(indir, 4))
    in_header(OBS_ID=4)(indir)
    index = Table.read(indir / "obs-index.fits.gz")
    for name in set(index.colnames) - {"OBS_ID"}:
        index[name][1] = index[name][0]
    index.write(indir / "obs-index.fits.gz", overwrite=True)


@pytest.mark.parametrize(
    ("change", "code"),
    [(copied, "duplicate-run"), (in_columns(change=lambda table: table[::10]), "low-rate")],
    ids=["copy of a run", "nine of ten events lost"],
)
def test_unlikely_runs_do_not_count(indir, plausible_runs, tmp_path, change, code):
    """A copy of another run, and a run that lost most events, have no part in the models, bit by bit."""
    change(indir)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "models", **SMALL)
    found = outcome(report)
    assert found.pop(4).endswith(f"--allow {code} uses it nevertheless [{code}]")
    assert set(found.values()) == {"used"}
    listed = make_bg_cube_models(plausible_runs, "GADF", tmp_path / "listed", **SMALL | {"select": [2, 8]})
    assert [group.counts for group in report.groups] == [group.counts for group in listed.groups]
    assert [group.livetime_s for group in report.groups] == [group.livetime_s for group in listed.groups]
    allowed = make_bg_cube_models(indir, "GADF", tmp_path / "allowed", allow=code, **SMALL)
    assert outcome(allowed)[4] == "used"
    assert any(f"allowed ({code})" in note for note in allowed.notes)
    with raises(code):
        make_bg_cube_models(indir, "GADF", tmp_path / "strict", on_error="fail", **SMALL)


def test_unlikely_run_that_is_replaced_before_parts_are_merged(indir, tmp_path):
    """The counts of a run that is removed are those that were counted, or parts are not merged."""
    original = file_of(indir, 4).read_bytes()
    in_columns(change=lambda table: table[::10])(indir)
    for part in (1, 2):
        make_bg_cube_models(indir, "GADF", tmp_path / f"part{part}", part=f"{part}/2", **SMALL)
    less = in_columns(change=lambda table: table[::20])
    for change in (lambda: file_of(indir, 4).write_bytes(original), lambda: less(indir), lambda: file_of(indir, 4).unlink()):
        change()
        with raises("changed", file_of(indir, 4), "since run 4 was counted"):
            merge([tmp_path / "part1", tmp_path / "part2"], tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_unusual_live_fraction_is_noted(indir, tmp_path):
    """A run whose LIVETIME is its ONTIME, unlike that of others, is noted."""
    in_header(DEADC=1.0, LIVETIME=ONTIME)(indir)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "models", **SMALL)
    assert any("4 (1.00)" in note and "0.90" in note for note in report.notes)
    assert outcome(report)[4] == "used"
