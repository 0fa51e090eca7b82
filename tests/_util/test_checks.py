"""Arguments of the wrong kind are refused by name, not by errors from inside."""

import numpy as np
import pytest
from astropy import units as u

import bgnb
from bgnb._util.checks import checked_obs_ids, to_value
from bgnb._util.setting_kinds import Flag
from bgnb.cubes.exclusion_mask import SourceMask
from tests.helpers.errors import raises

ROW = bgnb.make_test_observation_table(1)[0]
MODEL = bgnb.make_test_bg_cube_model(bgnb.CubeAxes.regular(n_energy=3, n_fov=4))


@pytest.mark.parametrize("text", ["1 500 GeV", "1\u202f500 GeV", "0 5 TeV", "1 .5 TeV", "5 −3 TeV", "5 10^3 TeV"])
def test_quantity_of_two_numbers(text):
    """Astropy takes the second number for a part of the unit, so that 1 500 GeV would be 0.5 TeV."""
    with raises("invalid-argument", "energy_min"):
        to_value("energy_min", text, "TeV")


def test_numpy_booleans_and_generators():
    """Flags may be booleans of NumPy, and OBS_IDs any iterable, which is read once."""
    assert Flag().check("overwrite", np.True_) is True
    assert checked_obs_ids("select", (number for number in (7, 3, 7))) == (3, 7)
    with raises("invalid-argument", "overwrite"):
        Flag().check("overwrite", 1)


@pytest.mark.parametrize(
    ("text", "tev"), [("1500 GeV", 1.5), ("1.5e3 GeV", 1.5), ("5TeV", 5.0), ("-2 TeV", -2.0), ("3 TeV2/TeV", 3.0)]
)
def test_quantity_of_one_number(text, tev):
    assert to_value("energy", text, "TeV") == pytest.approx(tev)


@pytest.mark.parametrize(
    "call",
    [
        lambda: bgnb.read_event_list("run.fits"),
        lambda: bgnb.select_off_runs("runs"),
        lambda: bgnb.select_all_runs("runs"),
        lambda: bgnb.select_listed_runs("runs", [1]),
        lambda: bgnb.spectrum("models", region="circle(0, 0, 1)"),
        lambda: bgnb.compare("models", MODEL),
        lambda: bgnb.compare(MODEL, "models"),
        lambda: bgnb.fit_spline("models"),
        lambda: bgnb.make_model("runs"),
        lambda: bgnb.stack_runs("runs", MODEL.axes),
        lambda: bgnb.write_model("model.fits", MODEL),
        lambda: bgnb.write_image("image.fits", MODEL),
        lambda: bgnb.write_background_2d("radial.fits", MODEL),
        lambda: bgnb.write_spline(MODEL, "spline.fits"),
        lambda: bgnb.write_groups("groups.ecsv", "out.ecsv"),
        lambda: bgnb.point_rate(MODEL),
        lambda: bgnb.predicted_rate(MODEL, MODEL.axes),
        lambda: bgnb.register_method("classic"),
        lambda: bgnb.Cell(180.0, 60.0, MODEL.stack),
        lambda: bgnb.Cell(60.0, 180.0, MODEL),
        lambda: bgnb.Grid(MODEL.axes, np.nan),
        lambda: bgnb.PointSource("source", 83.0, 22.0, 1 / u.m),
        lambda: bgnb.make_test_eventlist("run"),
        lambda: bgnb.make_test_eventlist(ROW, point_sources=["Crab,83,22,0.1"]),
        lambda: bgnb.make_test_eventlist(ROW, point_sources=None),
        lambda: bgnb.make_test_eventlist(ROW, seed=1.5),
        lambda: bgnb.make_test_eventlist(ROW, energy_threshold="high"),
        lambda: bgnb.ObservationGroups.from_table("groups.ecsv"),
        lambda: bgnb.Cell.of_runs([60.0], ["east"], MODEL.stack),
        lambda: bgnb.stack_runs([], None),
        lambda: bgnb.stack_runs([], MODEL.axes, mask="regions.reg"),
        lambda: MODEL.axes.bin_of("energy", "1 TeV"),
        lambda: SourceMask(["here"], [1.0], [0.5]),
        lambda: bgnb.open_runs(None, "GADF"),
        lambda: bgnb.stack_runs(None, MODEL.axes),
        lambda: bgnb.fit_spline(MODEL),
        lambda: bgnb.merge("part1", "out"),
        lambda: bgnb.merge(None, "out"),
        lambda: bgnb.merge([1], "out"),
        lambda: bgnb.run_notebook("explore", "out.ipynb", ["modeldir"]),
        lambda: bgnb.run_notebook("explore", "out.ipynb", {1: 2}),
        lambda: bgnb.run_notebook("explore", "out.ipynb", timeout="60"),
    ],
)
def test_other_type(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with raises("invalid-argument"):
        call()
    assert not list(tmp_path.iterdir())


def test_quantities_are_converted():
    """Values with a unit are the same as numbers in the documented one."""
    source = bgnb.PointSource("source", 5 * u.hourangle, 1320 * u.arcmin, 60 / u.min)
    assert (source.ra, source.dec, source.rate) == pytest.approx((75, 22, 1))
    cell = bgnb.Cell(1.2 * u.rad, "180 deg", MODEL.stack)
    assert (cell.alt_pnt, cell.az_pnt) == pytest.approx((np.degrees(1.2), 180))


@pytest.mark.parametrize("radius", [np.nan * u.deg, -5 * u.deg, 5])
def test_radii_that_exclude_nothing(tmp_path, radius):
    """A radius that no distance is below keeps runs near sources; without a unit it is refused as on the command line."""
    bgnb.make_test_dataset(tmp_path / "runs", n_runs=1, trigger_rate=1.0)
    runs = bgnb.open_runs(tmp_path / "runs", "GADF")
    with raises("invalid-argument", "exclusion_radius"):
        bgnb.select_off_runs(runs, exclusion_radius=radius)
    assert bgnb.select_off_runs(runs, exclusion_radius="3 deg").kept == bgnb.select_off_runs(runs).kept
