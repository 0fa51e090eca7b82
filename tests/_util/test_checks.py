"""Arguments of the wrong kind are refused by name, not by errors from inside."""

import pytest

import bgnb
from bgnb._util.checks import to_value
from tests.helpers.errors import raises

MODEL = bgnb.make_test_bg_cube_model(bgnb.CubeAxes.regular(n_energy=3, n_fov=4))


@pytest.mark.parametrize("text", ["1 500 GeV", "1\u202f500 GeV", "0 5 TeV", "1 .5 TeV", "5 −3 TeV", "5 10^3 TeV"])
def test_quantity_of_two_numbers(text):
    """Astropy takes the second number for a part of the unit, so that 1 500 GeV would be 0.5 TeV."""
    with raises("invalid-argument", "energy_min"):
        to_value("energy_min", text, "TeV")


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
        lambda: bgnb.merge("part1", "out"),
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
