"""Static plots for notebooks."""

from pathlib import Path

import nbformat
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

import bgnb
from bgnb.plots import figures

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture
def views(monkeypatch):
    """List of all views that are drawn."""
    drawn, to_png = [], figures.to_png
    monkeypatch.setattr(figures, "to_png", lambda view: drawn.append(view) or to_png(view))
    return drawn


def test_histograms_ignore_missing_columns(views):
    """Missing columns and masked values do not appear in histograms."""
    table = Table({"LIVETIME": MaskedColumn([1.0, 2.0, 7.0, 1e9], mask=[False, False, False, True], unit="s")})
    figures.plot_histograms(table, ["MUONEFF", "LIVETIME"])
    (panel,) = views[0].panels.values()
    assert (panel.x_label, panel.series[0].y.sum()) == ("LIVETIME / s", 3)
    assert panel.x_range[1] < 8
    picture = figures.plot_histograms(table, ["MUONEFF", "ALT_PNT"])
    assert views[1].panels == {}
    assert views[1].title == "The table of runs has none of MUONEFF, ALT_PNT"
    assert picture.png.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("settings", "radius"),
    [
        ({"select": "far", "sources": "drop"}, 2.5),
        ({"select": "all", "sources": "drop"}, None),
        ({"select": "far", "sources": "mask"}, None),
        ({"select": (2, 3), "sources": "drop"}, None),
    ],
)
def test_notebook_circles_of_dropped_runs(settings, radius, tmp_path, views):
    """The notebook draws exclusion regions only if runs near sources were dropped."""
    notebook = nbformat.read(NOTEBOOKS / "make_bg_cube_models.ipynb", as_version=4)
    (source,) = (cell.source for cell in notebook.cells if "plot_runs" in cell.source)
    bgnb.make_test_dataset(tmp_path / "runs", n_runs=2, trigger_rate=1.0)
    bgnb.write_groups(bgnb.ObservationGroups(), tmp_path / "bg_observation_groups.ecsv")
    report = bgnb.Report((), (), settings, ())
    values = {"indir": tmp_path / "runs", "scheme": "GADF", "outdir": tmp_path, "catalog": None, "exclusion_radius": "2.5 deg"}
    exec(source, {"bgnb": bgnb, "figures": figures, "u": u, "Path": Path, "report": report} | values)
    assert ("excluded" in [curve.name for curve in views[0].panels["sky"].curves]) == (radius is not None)


def test_images_show_measured_energies(tmp_path, views):
    """Without energies, a model that is measured above 2 TeV only is shown at the lowest of these."""
    bgnb.make_test_dataset(tmp_path / "runs", n_runs=1, trigger_rate=20.0)
    bgnb.make_bg_cube_models(
        tmp_path / "runs",
        "GADF",
        tmp_path / "models",
        select="all",
        n_energy=6,
        n_fov=8,
        energy_min="2 TeV",
        method="unsmoothed",
    )
    (model,) = bgnb.read_models(tmp_path / "models").models
    figures.plot_model(model.model)
    (name,) = views[0].panels
    assert name.startswith("2 to ")
    assert "extrapolated" not in name
