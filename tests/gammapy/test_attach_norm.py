"""Norms of attached backgrounds, and their uncertainty."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from bgnb import (
    BackgroundModel,
    Cube,
    CubeAxes,
    ObservationGroups,
    PointSource,
    TrueModel,
    attach,
    make_bg_cube_models,
    make_test_bg_cube_model,
    make_test_dataset,
    norm_of_run,
    open_runs,
    read_background,
    read_event_list,
    read_models,
    write_groups,
    write_model,
)
from bgnb.cubes.prediction import predicted_rate
from bgnb.cubes.run_norm import VAGUE_SCATTER, RunNorm, notes_on_norms
from tests.helpers.errors import raises
from tests.helpers.run_files import run, sky_image, write_gadf


def background(store, obs_id):
    """Read the background of a run."""
    return read_background(store / "backgrounds" / f"bkg_{obs_id}.fits.gz", "BACKGROUND")


def test_norm_is_that_of_the_run(tmp_path):
    """The norm of a run follows from its counts; a source of 10 % of them in an exclusion region does not change it."""
    parameters = {"trigger_rate": 40.0, "gradient_x": 0.2}
    options = {"n_runs": 1, "alt_range": (68, 72), "az_range": (150, 160), **parameters}
    row = make_test_dataset(tmp_path / "none", **options)[0]
    ra, dec = float(row["RA_PNT"]), float(row["DEC_PNT"])
    source = PointSource("S-1", ra, dec + 0.7, 2.8)
    make_test_dataset(tmp_path / "source", point_sources=[source], **options)
    axes = CubeAxes.regular(n_energy=12, n_fov=30)
    model = make_test_bg_cube_model(axes, row["ALT_PNT"] * u.deg, TrueModel(**parameters))
    model = BackgroundModel(Cube(axes, model.rate.quantity / 1.25), model.stack, model.method)
    (tmp_path / "models").mkdir()
    write_groups(ObservationGroups(), tmp_path / "models" / "bg_observation_groups.ecsv")
    path = tmp_path / "models" / "bg_cube_model_group0_table.fits.gz"
    write_model(model, path, {"ALT_PNT": float(row["ALT_PNT"]), "AZ_PNT": float(row["AZ_PNT"])})
    norms = {}
    for name, arguments in (
        ("none", {}),
        ("source", {"catalog": tmp_path / "source" / "sources.ecsv"}),
        ("excluded", {"exclude": sky_image(tmp_path / "sky.fits", ra, dec + 0.7)}),
        ("narrow", {"catalog": tmp_path / "source" / "sources.ecsv", "mask_radius": "0.06 deg"}),
        ("model", {"norm": "model"}),
    ):
        indir = tmp_path / ("source" if name in ("narrow", "excluded") else "none" if name == "model" else name)
        (entry,) = attach(tmp_path / "models", indir, "GADF", tmp_path / f"store-{name}", **arguments).runs
        norms[name] = entry.norm
        cube, _ = background(tmp_path / f"store-{name}", 1)
        whole = CubeAxes(axes.energy[[0, -1]], axes.dety[[0, -1]], axes.detx[[0, -1]])
        predicted = predicted_rate(cube, whole, "gammapy").sum() * 1800
        assert predicted == pytest.approx(
            entry.norm.norm * (model.rate.quantity * axes.bin_volume).sum().value * 1500, rel=0.01
        )
        found = norms["none"] if name == "model" else entry.norm
        assert entry.observed_over_predicted == pytest.approx(found.norm, rel=0.002)
    n_events = norms["none"].counts
    assert n_events > 40_000
    assert norms["none"].norm == pytest.approx(1.25, rel=4 / n_events**0.5)
    assert norms["none"].norm_error == pytest.approx(n_events**-0.5, rel=0.01)
    assert norms["source"].counts < n_events * 0.98
    assert norms["source"].norm == pytest.approx(norms["none"].norm, rel=0.01)
    assert norms["excluded"].norm == pytest.approx(norms["source"].norm, rel=0.005)
    # A radius of one standard deviation of the image contains 39 % of the source.
    assert norms["narrow"].norm / norms["none"].norm - 1 == pytest.approx(0.61 * 2.8 * 1500 / n_events, rel=0.1)
    assert (norms["model"].norm, norms["model"].norm_error) == (1.0, VAGUE_SCATTER)


def test_norm_and_covariance_are_stated(hess_data, tmp_path):
    """Header, report and HDU COVARIANCE state norm, tilt and uncertainty; those of the models are the scatter."""
    make_bg_cube_models(hess_data, "GADF", tmp_path / "models", n_energy=10, n_fov=12)
    models = read_models(tmp_path / "models")
    events = read_event_list(open_runs(hess_data, "GADF").files(20915))
    found = models.mean_rate_for(events)
    for norm in ("run", "model"):
        store = tmp_path / norm
        report = attach(tmp_path / "models", hess_data, "GADF", store, norm=norm, select=[20915])
        (stated,) = (entry["norm"] for entry in json.loads((store / "report.json").read_text())["runs"] if entry["norm"])
        with fits.open(store / "backgrounds" / "bkg_20915.fits.gz") as hdus:
            header, table = hdus["BACKGROUND"].header, Table(hdus["COVARIANCE"].data)
            energy = hdus["BACKGROUND"].data["ENERG_LO"][0]
        names = ("norm", "norm_error", "tilt", "tilt_error", "correlation", "curvature", "reference_tev")
        keywords = ("NORM", "NORM_ERR", "NORMTILT", "TILT_ERR", "NORMCORR", "NORMCURV", "NORMEREF")
        assert header["NORMFROM"] == stated["source"] == norm
        assert [header[name] for name in keywords] == pytest.approx([stated[name] for name in names])
        np.testing.assert_allclose(table["ENERG_LO"], energy)
        expected = norm_of_run(models, found, events, norm)
        assert stated["norm"] == pytest.approx(expected.norm, rel=0.02)  # attach excludes known sources
        centres = np.sqrt(table["ENERG_LO"] * table["ENERG_HI"])
        of_models = np.log(found.rate.axes.energy_centers.value)
        nearest = [int(np.argmin(np.abs(of_models - each))) for each in np.log(centres)]
        covariance = np.array(table["COVARIANCE"])
        np.testing.assert_allclose(covariance, expected.covariance[np.ix_(nearest, nearest)], rtol=0.1, atol=2e-5)
        of_models = np.array(table["OF_MODELS"])
        np.testing.assert_allclose(of_models, expected.of_models[np.ix_(nearest, nearest)], rtol=0.1, atol=2e-5)
        assert 0 < np.trace(of_models) < np.trace(covariance)
        if norm == "model":
            assert (stated["norm"], stated["tilt"], stated["correlation"]) == (1, 0, 0)
            assert "norms of the runs" not in str(report)
        else:
            assert stated["norm_error"] == pytest.approx(stated["counts"] ** -0.5, rel=0.1)
            assert stated["norm_error"] < models.scatter[0] / 3
            assert f"mean {stated['norm']:.3f}, mean error" in str(report)  # one run has no standard deviation


@pytest.mark.parametrize(("counts", "expected", "far"), [(1450, 1000, False), (1650, 1000, True), (1, 8, False), (4, 40, True)])
def test_runs_with_far_norms_are_noted(counts, expected, far):
    """A run is noted if its counts differ by more than three times scatter and counting error; one without any as well."""
    values = {"norm_error": 0.1, "tilt": 0.0, "tilt_error": 0.0, "correlation": 0.0, "curvature": 0.0, "reference_tev": 1.0}
    values |= dict.fromkeys(("covariance", "of_models"), np.zeros((1, 1)))
    norm = RunNorm(norm=1.2, source="run", counts=counts, expected=expected, **values)
    nothing = replace(norm, source="model", counts=0, expected=0.0)
    notes = notes_on_norms({7: norm, 8: nothing}, "run", 0.14)
    assert len(notes) == 1 + far
    assert notes[0].endswith("run 8")
    assert all(note.endswith("run 7") for note in notes[1:])
    assert len(notes_on_norms({7: norm, 8: nothing}, "model", 0.14)) == far


def test_mask_without_norm_of_run_is_refused(models, tmp_path):
    """A catalogue or a radius without an effect is refused."""
    indir = write_gadf(tmp_path / "in", [run(2, 50)])
    for name, value in (("catalog", "sources.csv"), ("mask_radius", "1 deg"), ("exclude", "a.reg")):
        with raises("no-effect", name, "norm = run"):
            attach(models, indir, "GADF", tmp_path / "store", norm="model", **{name: value})


@pytest.mark.parametrize("norm", ["run", "model"])
def test_catalogue_selects_far_runs(models, tmp_path, norm):
    """Runs far from the sources of the given catalogue get a background, whatever the norm."""
    indir = write_gadf(tmp_path / "in", [run(2, 500), run(3, 500)])
    near = open_runs(indir, "GADF").table[0]
    catalog = Table({"RA": [near["RA_PNT"]], "DEC": [near["DEC_PNT"]]})
    report = attach(models, indir, "GADF", tmp_path / "store", norm=norm, select="far", catalog=catalog)
    assert report.obs_ids == [3]
