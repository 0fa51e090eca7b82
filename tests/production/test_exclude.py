"""Exclusion regions of users in all jobs: with and without known sources, from files, options and settings."""

import json

import numpy as np
import pytest
from astropy.table import Table

from bgnb import make_bg_cube_models, make_models
from bgnb.production.settings import ModelSettings
from tests.helpers.commands import output_of
from tests.helpers.errors import raises
from tests.helpers.run_files import run, sky_image, write_gadf

SMALL = {"n_energy": 6, "n_fov": 10, "method": "unsmoothed", "alt_edges": [0, 90], "az_edges": [0, 360]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of one field, circles as catalogues and as tables, and an image of the sky."""
    folder = tmp_path_factory.mktemp("exclude")
    runs = [run(obs_id, 500, RA_PNT=150.0 + 0.3 * obs_id, DEC_PNT=-40.0) for obs_id in (1, 2, 5)]
    write_gadf(folder / "in", runs)
    for name, rows in (("first", [(150.5, -40.7)]), ("second", [(151.6, -39.2)]), ("both", [(150.5, -40.7), (151.6, -39.2)])):
        table = Table(rows=rows, names=["RA", "DEC"])
        table.write(folder / f"{name}_catalog.ecsv")
        table["RADIUS"] = 0.5
        table.write(folder / f"{name}.ecsv")
    sky_image(folder / "sky.fits", 150.0, -40.2)
    return folder


def stack_of(folder, **settings):
    (model,) = make_models(folder / "in", "GADF", **SMALL | settings).models.models
    return model.model.stack


def check_same(one, other):
    np.testing.assert_array_equal(one.counts, other.counts)
    np.testing.assert_array_equal(one.livetime_us, other.livetime_us)
    assert one.runs == other.runs


def test_circles_equal_masked_sources(folder):
    """Excluded circles equal masked sources of a catalogue, and add to them; runs are selected as without."""
    whole = stack_of(folder, select="all")
    masked = stack_of(folder, sources="mask", catalog=folder / "both_catalog.ecsv")
    assert 10 < whole.counts.sum() - masked.counts.sum() == sum(each.events_in_mask for each in masked.runs)
    check_same(stack_of(folder, select="all", exclude=folder / "both.ecsv"), masked)
    check_same(stack_of(folder, select="all", exclude=[folder / "first.ecsv", Table.read(folder / "second.ecsv")]), masked)
    one = {"catalog": folder / "first_catalog.ecsv", "exclude": [folder / "second.ecsv"]}
    check_same(stack_of(folder, sources="mask", **one), masked)
    check_same(stack_of(folder, select=[1, 2], exclude=str(folder / "both.ecsv")),
               stack_of(folder, select=[1, 2], sources="mask", catalog=folder / "both_catalog.ecsv"))  # fmt: skip
    far = stack_of(folder, catalog=folder / "second_catalog.ecsv", exclusion_radius="1.2 deg", exclude=folder / "first.ecsv")
    assert far.obs_ids == [1]
    assert far.runs[0].events_in_mask > 0


def test_option_can_be_repeated(folder, tmp_path):
    """The option may be given several times; the report states the files, and repeats the job."""
    options = [str(part) for name in ("first", "second") for part in ("--exclude", folder / f"{name}.ecsv")]
    arguments = ["make-bg-cube-models", folder / "in", "GADF"]
    output_of(
        *arguments, tmp_path / "one", "--select", "all", "--method", "unsmoothed", "--n-energy", 6, "--n-fov", 10, *options
    )
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert report["settings"]["exclude"] == options[1::2]
    assert sum(each["events_in_mask"] for each in report["runs"]) > 10
    printed = output_of(*arguments, tmp_path / "two", "--config", tmp_path / "one" / "report.json")
    assert "in exclusion regions" in printed
    again = json.loads((tmp_path / "two" / "report.json").read_text())
    assert again == report
    (tmp_path / "settings.toml").write_text(f'exclude = ["{options[1]}"]\nselect = "all"\n')
    output_of(*arguments, tmp_path / "three", "--config", tmp_path / "settings.toml", "--method", "unsmoothed")
    fewer = json.loads((tmp_path / "three" / "report.json").read_text())
    assert fewer["settings"]["exclude"] == options[1:2]


def test_regions_in_memory_are_not_repeated(folder, tmp_path):
    """A job with regions in memory cannot be repeated from its report, which says so."""
    circles = Table.read(folder / "first.ecsv")
    make_bg_cube_models(folder / "in", "GADF", tmp_path / "one", select="all", exclude=[circles, folder / "sky.fits"], **SMALL)
    settings = json.loads((tmp_path / "one" / "report.json").read_text())["settings"]
    assert settings["exclude"] == ["in memory: Table", str(folder / "sky.fits")]
    with raises("bad-config", "exclude", "Table"):
        ModelSettings.from_dict(settings)
    for wrong in (3, [None], [folder / "sky.fits", 2.0]):
        with raises("invalid-argument", "exclude"):
            make_models(folder / "in", "GADF", exclude=wrong)
    with raises("not-found", "exclude", "missing.reg"):
        make_models(folder / "in", "GADF", exclude="missing.reg")
    assert stack_of(folder, select="all", exclude=[]).counts.sum() == stack_of(folder, select="all").counts.sum()


def test_excluded_field_is_noted(tmp_path):
    """A run whose whole field of view is excluded is noted, as it still counts in the mean pointing of its group."""
    write_gadf(tmp_path / "in", [run(obs_id, 200, RA_PNT=ra_pnt, DEC_PNT=-40.0) for obs_id, ra_pnt in ((1, 150.0), (2, 170.0))])
    circle = Table({"RA": [170.0], "DEC": [-40.0], "RADIUS": [8.0]})
    report = make_models(tmp_path / "in", "GADF", **SMALL, select="all", exclude=circle).report
    (note,) = (note for note in report.content["notes"] if "exclusion regions" in note)
    assert note.endswith("the mean pointing of its group: run 2")
    assert report.runs[0].counted.counts > 0


def test_no_events_outside_regions(folder):
    """If regions cover the field of view of all runs, the error points to the regions."""
    everything = Table({"RA": [150.0], "DEC": [-40.0], "RADIUS": [30.0]})
    with raises("no-counts", "--exclude"):
        make_models(folder / "in", "GADF", select="all", exclude=everything, **SMALL)
