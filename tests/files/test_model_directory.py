"""Choice of the model that serves a run, and groups merged until they have enough livetime."""

import json
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from bgnb import (
    BackgroundModel,
    Cell,
    Cube,
    CubeAxes,
    ModelDirectory,
    ObservationGroups,
    RunCounts,
    Stack,
    attach,
    fit_spline,
    make_bg_cube_models,
    make_test_bg_cube_model,
    make_test_dataset,
    open_runs,
    read_event_list,
    read_model,
    read_models,
    validate,
    write_groups,
    write_model,
    write_spline,
)
from bgnb.cubes.cube import RATE_UNIT
from bgnb.files import model_directory
from bgnb.files.group_file import read_model_ids
from bgnb.observations.groups import merge_groups
from tests.helpers.errors import raises
from tests.helpers.models import asymmetric_model
from tests.helpers.run_files import run, write_gadf

GROUPS = ObservationGroups([0, 45, 60, 90] * u.deg, [-90, 90, 270] * u.deg)
AXES = CubeAxes(energy=[0.2, 1, 5, 30] * u.TeV, dety=np.linspace(-2, 2, 5) * u.deg, detx=np.linspace(-3, 3, 6) * u.deg)


def write(directory, group_id, alt_pnt, az_pnt, rate, counts=5000, axes=AXES, exposed=slice(None)):
    values = np.full(axes.shape, rate) * np.arange(1, axes.shape[2] + 1)
    livetime, n = np.zeros((2, *axes.shape), dtype=np.int64)
    livetime[exposed] = 1_000_000
    n[exposed][-1, 0, 0] = counts
    stack = Stack(axes, "ALTAZ", n, livetime, (RunCounts(group_id, 1.0, None, counts, 0, 0, 0),))
    model = BackgroundModel(Cube(axes, values * RATE_UNIT), stack, "classic")
    write_model(model, directory / f"bg_cube_model_group{group_id}_table.fits.gz", {"ALT_PNT": alt_pnt, "AZ_PNT": az_pnt})


@pytest.fixture
def models(tmp_path):
    write_groups(GROUPS, tmp_path / "bg_observation_groups.ecsv")
    write(tmp_path, 0, 30.0, 0.0, 1.0)
    write(tmp_path, 4, 90.0, 10.0, 16.0)
    write(tmp_path, 3, 53.0, 180.0, 5.0)
    return tmp_path


def level(choice):
    return choice.rate.quantity.value[0, 0, 0]


def test_log_rate_linear_in_cos_zenith(models):
    """Between groups, the log rate is linear in the cosine of the zenith angle."""
    choice = read_models(models).rate_for(np.degrees(np.arcsin(0.75)), 20.0)
    assert level(choice) == pytest.approx(4.0)
    assert choice.weights == pytest.approx({0: 0.5, 4: 0.5})
    assert level(read_models(models).rate_for(np.degrees(np.arcsin(0.625)), 350.0)) == pytest.approx(2.0)
    choice = read_models(models).rate_for(np.degrees(np.arcsin(0.9)), 20.0)
    assert level(choice) == pytest.approx(16**0.8)
    assert list(choice.weights.items()) == [(0, pytest.approx(0.2)), (4, pytest.approx(0.8))]


def test_interpolate_between_next_groups(models):
    """Interpolate between the next groups above and below, regardless of groups beyond them."""
    write(models, 2, np.degrees(np.arcsin(0.7)), 0.0, 3.0)
    for cos_zenith, weights in ((0.6, {0: 0.5, 2: 0.5}), (0.94, {2: 0.2, 4: 0.8})):
        assert read_models(models).rate_for(np.degrees(np.arcsin(cos_zenith)), 0.0).weights == pytest.approx(weights)


def test_nearest_beyond_groups(models):
    """Use the nearest group beyond the altitudes of the groups and at other azimuths."""
    found = read_models(models)
    assert found.rate_for(12.0, 0.0).weights == {0: 1.0}
    # Only one group on this side in azimuth; the other side is nearer from a difference of 0.1 on.
    assert found.rate_for(50.0, 200.0).weights == {3: 1.0}
    assert found.rate_for(89.0, 200.0).weights == {4: 1.0}
    assert found.rate_for(80.0, 90.0, "nearest").weights == {4: 1.0}


@pytest.mark.parametrize(("alt_pnt", "nearest"), [(62.0, 3), (64.1, 4)])
def test_distance_to_other_azimuth(models, alt_pnt, nearest):
    """A group in the other range of azimuth counts as 0.1 farther in the cosine of the zenith angle."""
    write(models, 4, alt_pnt, 10.0, 16.0)  # as high as the run; group 3 lies 0.084 or 0.1009 lower
    for between in ("interpolate", "nearest"):
        assert read_models(models).rate_for(alt_pnt, 200.0, between).weights == {nearest: 1.0}


def test_empty_bins_from_other_group(models):
    """Take bins without a rate in one group from the other group."""
    holes = np.ones(AXES.shape)
    holes[0, 0], holes[1, 0] = 0, 0
    write(models, 0, 30.0, 0.0, holes)
    write(models, 4, 90.0, 10.0, 16 * np.roll(holes, 1, axis=0))
    for cos_zenith, both in ((0.6, 16**0.2), (0.9, 16**0.8)):
        rate = read_models(models).rate_for(np.degrees(np.arcsin(cos_zenith)), 0.0).rate.quantity.value[:, :2, 0]
        np.testing.assert_allclose(rate, [[16, both], [0, both], [1, both]])


def test_energies_measured_on_other_axes(models):
    """There the ratio is that at the nearest energy that both measured; planes count as measured where their centres are."""
    axes = CubeAxes([0.2, 0.5, 1, 2, 5, 13, 30] * u.TeV, AXES.dety, AXES.detx)
    far_rate = np.array([4, 4, 16, 16, 64, 64])[:, None, None]  # 4, 16 and 64 at 0.4, 2.2 and 12.2 TeV
    altitude = np.degrees(np.arcsin(0.6))
    for near, far, expected in (
        (slice(None), slice(2, 4), [16**0.2, 16**0.2, 16**0.2]),
        (slice(1, None), slice(None), [4 / 16**0.8, 16**0.2, 64**0.2]),
        (slice(1, 2), slice(1, 3), [1, 1, 1]),  # nothing in common
    ):
        write(models, 0, 30.0, 0.0, 1.0, exposed=near)
        write(models, 4, 90.0, 10.0, far_rate, axes=axes, exposed=far)
        rate = read_models(models).rate_for(altitude, 0.0).rate.quantity.value[:, 2, 0]
        np.testing.assert_allclose(rate, expected, rtol=0.1)


def test_bins_not_covered_by_farther_group(models):
    """Use the nearer group alone in bins whose centres the axes of the farther group do not cover."""
    axes = CubeAxes([0.3, 1, 2, 5, 14] * u.TeV, [-2, -1, 0, 1.2] * u.deg, AXES.detx)
    write(models, 4, 90.0, 10.0, 16.0, axes=axes)
    rate = read_models(models).rate_for(np.degrees(np.arcsin(0.6)), 0.0).rate.quantity.value
    np.testing.assert_allclose(rate[:, 2, 0], [1, 16**0.2, 1], rtol=0.03)
    np.testing.assert_allclose(rate[:, 3, 0], 1)


def test_default_group_has_most_counts(models):
    """The default group is that with most counts, or the first if they are unknown."""
    found = ModelDirectory(models)
    assert (found.group_ids, found.checked(None), found.checked(np.int64(3))) == ([0, 3, 4], 0, 3)
    counts = [{"group_id": 3, "counts": 7}, {"group_id": 4, "counts": 2}, {"group_id": 9, "counts": 99}]
    (models / "report.json").write_text(json.dumps({"groups": counts}))
    assert found.checked(None) == 3
    for nonsense in ("{", "[]", "{}", '{"groups": [{"group_id": 3}]}', '{"groups": [{"group_id": "x", "counts": 1}]}'):
        (models / "report.json").write_text(nonsense)
        assert found.checked(None) == 0
    # Without a report, the counts are those in the files; a damaged file has none.
    (models / "report.json").unlink()
    write_model(asymmetric_model(), models / "bg_cube_model_group4_table.fits.gz")
    assert found.checked(None) == 4
    assert found.counts[4] == asymmetric_model().stack.counts.sum()
    (models / "bg_cube_model_group4_table.fits.gz").write_bytes(b"SIMPLE")
    assert found.counts[4] == 0
    for wrong in (5, True, "3", 3.0):
        with raises("not-found", wrong, "0, 3, 4"):
            found.checked(wrong)


def test_labels_runs_and_frame(models):
    """Label groups with their ranges, and state runs and frame of all models."""
    write_groups(GROUPS, models / "bg_observation_groups.ecsv", {0: 0, 1: 3, 2: 4, 3: 3, 4: 4, 5: 3})
    found = ModelDirectory(models)
    assert found.label(0) == "0: altitude 0 to 45°, azimuth −90 to 90°"
    assert found.label(3) == "3: altitude 0 to 90°, azimuth 90 to 270°"
    assert found.label(4) == "4: altitude 45 to 90°, azimuth −90 to 90°"
    assert (found.label(6), found.read_all().obs_ids, found.read_all().fovalign) == ("6", {0, 3, 4}, "ALTAZ")
    (models / "bg_observation_groups.ecsv").unlink()
    alone = ModelDirectory(models)
    assert (alone.label(3), alone.model_ids) == ("3", {0: 0, 3: 3, 4: 4})
    with raises("not-found", "bg_observation_groups.ecsv"):
        alone.read_all()


def test_directory_without_models(tmp_path):
    (tmp_path / "bg_cube_model_groupX_table.fits.gz").touch()
    (tmp_path / "bg_cube_model_group1_image.fits.gz").touch()
    with raises("not-a-model", tmp_path):
        read_models(tmp_path)
    with raises("not-found", "nowhere"):
        read_models(tmp_path / "nowhere")


def test_spline_for_every_pointing(models):
    """Use the spline for every pointing unless the nearest model is requested."""
    counts = np.random.default_rng(2).poisson(50, AXES.shape)
    run = RunCounts(1, 1.0, None, int(counts.sum()), 0, 0, 0)
    spline = fit_spline([Cell(50.0, 20.0, Stack(AXES, "ALTAZ", counts, np.full(AXES.shape, 1_000_000), (run,)))])
    write_spline(spline, models / "bg_spline.fits.gz")
    found = read_models(models)
    choice = found.rate_for(55.0, 170.0)
    assert choice.weights == {}
    np.testing.assert_allclose(choice.rate.quantity.value, spline.at(55.0, 170.0)[0].quantity.value, rtol=1e-9)
    assert found.rate_for(55.0, 170.0, "nearest").weights == {3: 1.0}
    (models / "bg_observation_groups.ecsv").unlink()
    assert read_models(models).rate_for(55.0, 170.0).weights == {}


def test_missing_spline_is_refused(tmp_path):
    """Models of groups that are parts of a spline cannot be used without it."""
    write_groups(ObservationGroups(), tmp_path / "bg_observation_groups.ecsv")
    pointing = {"ALT_PNT": 50.0, "AZ_PNT": 20.0}
    write_model(asymmetric_model(method="spline"), tmp_path / "bg_cube_model_group3_table.fits.gz", pointing)
    with raises("not-found", tmp_path, "bg_spline.fits.gz"):
        read_models(tmp_path)


def test_nearest_is_own_group(models):
    """The nearest group is that of the run even if the mean pointing of another is closer."""
    write(models, 2, 46.0, 0.0, 3.0)
    assert read_models(models).rate_for(59.0, 0.0, "nearest").weights == {2: 1.0}
    assert read_models(models).rate_for(44.0, 0.0, "nearest").weights == {0: 1.0}


def test_groups_of_few_counts(models):
    """Use groups with fewer than 1000 counts only if there is no other."""
    write(models, 2, 50.0, 0.0, 1e6, counts=30)
    assert read_models(models).rate_for(50.0, 0.0, "nearest").weights == {3: 1.0}  # of the other azimuth
    assert read_models(models).rate_for(50.0, 0.0).weights.keys() == {0, 4}
    for counts, served in ((999, False), (1000, True)):
        write(models, 2, 50.0, 0.0, 1e6, counts=counts)
        assert (read_models(models).rate_for(50.0, 0.0, "nearest").weights == {2: 1.0}) is served
    for group_id in (0, 3, 4):
        (models / f"bg_cube_model_group{group_id}_table.fits.gz").unlink()
    assert read_models(models).rate_for(50.0, 0.0).weights == {2: 1.0}


def test_energies_measured_in_one_group(models):
    """There the rate is that of the one that did, times the ratio at the nearest energy that both measured."""
    far_rate = np.array([2, 8, 16])[:, None, None]
    write(models, 4, 90.0, 10.0, far_rate)
    cos_zenith = 0.6  # at a fifth of the way
    for near, far, expected in (
        (slice(2, None), slice(None), [2 / 16**0.8, 8 / 16**0.8, 16**0.2]),
        (slice(0, 2), slice(1, None), [8**0.2, 8**0.2, 16 / 8**0.8]),
        (slice(0, 1), slice(1, 2), [1, 8, 1]),  # nothing in common
    ):
        write(models, 0, 30.0, 0.0, 1.0, exposed=near)
        write(models, 4, 90.0, 10.0, far_rate, exposed=far)
        rate = read_models(models).rate_for(np.degrees(np.arcsin(cos_zenith)), 0.0).rate.quantity.value[:, 0, 0]
        np.testing.assert_allclose(rate, expected)


def test_axes_of_nearer_group(models):
    """Interpolate groups on different axes on the axes of the nearer group."""
    fine = CubeAxes(np.geomspace(0.2, 30, 9) * u.TeV, dety=np.linspace(-2, 2, 9) * u.deg, detx=np.linspace(-3, 3, 11) * u.deg)
    write(models, 4, 90.0, 10.0, 16.0, axes=fine)
    choice = read_models(models).rate_for(np.degrees(np.arcsin(0.6)), 20.0)
    assert choice.rate.axes == AXES
    # In the fine axes DETX bin 2k and 2k + 1 lie in bin k: on average (2k + 1.5) against (k + 1).
    ratio = choice.rate.quantity.value[1, 1] / (16**0.2 * np.arange(1, 6))
    np.testing.assert_allclose(ratio, ((2 * np.arange(5) + 1.5) / np.arange(1, 6)) ** 0.2, rtol=0.03)


def test_same_rate_on_other_axes(models):
    """Interpolate bin means of one steep spectrum, in 8 and in 4 energy bins, without bias."""
    for group_id, altitude, n_energy in ((0, 30.0, 8), (4, 90.0, 4)):
        edges = np.geomspace(0.2, 30, n_energy + 1)
        axes = CubeAxes(edges * u.TeV, dety=AXES.dety, detx=AXES.detx)
        mean = (edges[:-1] ** -1.7 - edges[1:] ** -1.7) / 1.7 / np.diff(edges)
        write(models, group_id, altitude, 0.0, mean[:, None, None], axes=axes)
        if n_energy == 8:
            wanted = mean
    choice = read_models(models).rate_for(np.degrees(np.arcsin(0.7)), 0.0)
    np.testing.assert_allclose(choice.rate.quantity.value[:, 2, 4], 5 * wanted, rtol=2e-3)


def test_models_of_several_azimuth_ranges(tmp_path):
    """Interpolate merged models in each of their ranges of azimuth."""
    write_groups(GROUPS, tmp_path / "bg_observation_groups.ecsv", {0: 1, 1: 1, 2: 2, 3: 2, 4: 5, 5: 5})
    for group_id, altitude, azimuth, rate in ((1, 30.0, 180.0, 1.0), (2, 48.6, 0.0, 2.0), (5, 90.0, 180.0, 4.0)):
        write(tmp_path, group_id, altitude, azimuth, rate)
    for azimuth in (20.0, 200.0):
        choice = read_models(tmp_path).rate_for(np.degrees(np.arcsin(0.8)), azimuth)
        assert sorted(choice.weights) == [2, 5]
        assert level(choice) == pytest.approx(2 * 2**0.2, rel=1e-3)


@pytest.mark.slow
def test_unsmoothed_is_not_interpolated(tmp_path):
    """Refuse to interpolate unsmoothed models as Gammapy does."""
    make_test_dataset(tmp_path / "runs", n_runs=3, trigger_rate=12, alt_range=(60, 80), seed=1, progress=False)
    arguments = {"select": "all", "n_energy": 5, "n_fov": 7, "progress": False, "method": "unsmoothed"}
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "m", **arguments)
    with raises("not-interpolable", "unsmoothed", tmp_path / "m"):
        attach(tmp_path / "m", tmp_path / "runs", "GADF", tmp_path / "store")
    with raises("not-interpolable", "unsmoothed", tmp_path / "m"):
        validate(tmp_path / "m", tmp_path / "runs", "GADF", select="all")
    assert validate(tmp_path / "m", tmp_path / "runs", "GADF", select="all", rate_interpolation="none", progress=False).runs


def test_missing_group_definition(models):
    """Refuse an unknown lookup, and a directory without a definition of groups."""
    with raises("unknown-choice", "model_lookup", "linear", "interpolate, nearest"):
        read_models(models).rate_for(50.0, 0.0, "linear")
    (models / "bg_observation_groups.ecsv").unlink()
    with raises("not-found", "bg_observation_groups.ecsv"):
        read_models(models)


def test_merge_with_poorer_neighbour():
    """Merge groups with the neighbour in altitude that has less livetime."""
    # Azimuth column 0: groups 0, 2, 4; column 1: 1, 3, 5.
    merged = merge_groups(GROUPS, {0: 5.0, 2: 1.0, 4: 9.0, 1: 8.0, 3: 0.0, 5: 5.0}, 4.0)
    assert merged == {0: 0, 2: 0, 4: 4, 1: 1, 3: 3, 5: 3}
    # Groups that nobody observed have nothing, and as much as is wanted is enough.
    assert merge_groups(GROUPS, {0: 0.5, 2: 0.5, 1: 0.5, 5: 0.7}, 0.5) == {0: 0, 2: 2, 4: 2, 1: 1, 3: 1, 5: 5}


def test_merge_ranges_of_azimuth():
    """Merge the ranges of azimuth if one of them has too little livetime."""
    assert merge_groups(GROUPS, {0: 5.0, 2: 5.0, 4: 5.0, 3: 1.0}, 4.0) == {0: 0, 1: 0, 2: 2, 3: 2, 4: 4, 5: 4}
    assert set(merge_groups(GROUPS, {0: 1.0}, 100.0).values()) == {0}


@pytest.mark.slow
def test_merged_groups_cover_every_run(tmp_path):
    """Every run has the model of a merged group, and the report states this."""
    make_test_dataset(tmp_path / "runs", n_runs=8, trigger_rate=12, alt_range=(48, 88), seed=1, progress=False)
    arguments = {"select": "all", "n_energy": 5, "n_fov": 7, "progress": False, "min_livetime": "1.5 h"}
    report = make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "m", **arguments)
    path = tmp_path / "m/bg_observation_groups.ecsv"
    served = read_model_ids(path)
    assert set(served) == set(range(28))
    assert set(served.values()) == {group.group_id for group in report.groups}
    assert all(group.livetime_s >= 1.5 * 3600 for group in report.groups)
    assert sum(group.n_runs for group in report.groups) == 8
    assert "use its model" in report.summary
    assert "less than --min-livetime" not in report.summary
    table, groups = open_runs(tmp_path / "runs", "GADF").table, ObservationGroups.from_table(Table.read(path))
    directory = ModelDirectory(tmp_path / "m")
    models = directory.read_all()
    for row in table:
        own = served[groups.group_id(row["ALT_PNT"], row["AZ_PNT"])]
        assert models.rate_for(row["ALT_PNT"], row["AZ_PNT"], "nearest").weights == {own: 1.0}
    first = report.groups[0]
    rows = groups.table[[first.group_id, *first.merged]]
    assert f"altitude {rows['ALT_MIN'].min():g} to {rows['ALT_MAX'].max():g}°" in directory.label(first.group_id)
    impossible = make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "n", **arguments | {"min_livetime": "5 h"})
    assert [group.n_runs for group in impossible.groups] == [8]
    low = f'group {impossible.groups[0].group_id} has 3.333 h of livetime, less than --min-livetime "5 h"'
    assert low in impossible.summary


def test_true_models_on_different_axes(tmp_path):
    """Interpolate true models on different axes."""
    write_groups(GROUPS, tmp_path / "bg_observation_groups.ecsv")
    for group_id, alt_pnt, n_energy in ((2, 50.0, 4), (4, 80.0, 5)):
        axes = CubeAxes.regular(n_energy=n_energy, n_fov=12, energy_min="1 TeV", energy_max="16 TeV", fov_max="2 deg")
        path = tmp_path / f"bg_cube_model_group{group_id}_table.fits.gz"
        write_model(make_test_bg_cube_model(axes, alt_pnt * u.deg), path, {"ALT_PNT": alt_pnt, "AZ_PNT": 0.0})
    choice = read_models(tmp_path).rate_for(60.0, 0.0)
    assert set(choice.weights) == {2, 4}
    low, high = (make_test_bg_cube_model(choice.rate.axes, alt_pnt * u.deg).rate.quantity.value for alt_pnt in (50.0, 80.0))
    expected = low ** choice.weights[2] * high ** choice.weights[4]
    np.testing.assert_allclose(choice.rate.quantity.value, expected, rtol=0.005)


def test_model_lookup_ignores_case(models):
    one, other = (read_models(models).rate_for(52.0, 0.0, between) for between in ("interpolate", "Interpolate"))
    assert one.weights == other.weights
    assert len(one.weights) == 2


@pytest.mark.slow
def test_runs_beyond_altitudes_are_noted(tmp_path):
    """Note runs outside the altitudes of the models."""
    make_test_dataset(tmp_path / "runs", n_runs=4, trigger_rate=12, alt_range=(50, 60), seed=1, progress=False)
    table = make_test_dataset(tmp_path / "low", n_runs=3, trigger_rate=12, alt_range=(25, 40), seed=2, progress=False)
    for method, ends in (("classic", "made, 44.0 to 58.0 deg,"), ("spline", " deg, for which")):
        models = tmp_path / method
        arguments = {"select": "all", "n_energy": 6, "n_fov": 8, "progress": False}
        make_bg_cube_models(tmp_path / "runs", "GADF", models, method=method, **arguments)
        low, high = read_models(models).altitudes
        assert 40 < low < high < 65
        attached = attach(models, tmp_path / "low", "GADF", tmp_path / f"{method}-store", progress=False)
        validated = validate(models, tmp_path / "low", "GADF", select="all", progress=False)
        for text in (str(attached), validated.summary):
            assert "note: runs outside the altitudes for which the models were made" in text
            assert ends in text
            assert ": 1, 2, 3" in text
        assert not validate(models, tmp_path / "runs", "GADF", select="all", progress=False).notes
    assert len(table) == 3


@pytest.mark.parametrize("method", ["classic", "spline"])
def test_runs_beyond_azimuths_are_noted(tmp_path, method):
    """Runs in the south with models of the north are noted, not those close to the edge."""
    places = {2: (70, 30), 4: (70, 80), 8: (70, 92), 10: (70, 200)}
    runs = [run(obs_id, 2000, pointing=place, threshold=None) for obs_id, place in places.items()]
    indir = write_gadf(tmp_path / "in", runs)
    models = {"select": [2, 4], "alt_edges": [0, 90], "az_edges": [-90, 90], "n_energy": 4, "n_fov": 6, "method": method}
    make_bg_cube_models(indir, "GADF", tmp_path / "models", **models, progress=False)
    notes = validate(tmp_path / "models", indir, "GADF", select="all", progress=False).notes
    (found,) = [note for note in notes if "outside the azimuths for which the models were made, -90 to 90 deg" in note]
    assert found.endswith(": 10")
    merged = models | {"az_edges": [-90, 0, 90, 180, 270], "min_livetime": "1 min"}
    make_bg_cube_models(indir, "GADF", tmp_path / "merged", **merged, progress=False)
    notes = validate(tmp_path / "merged", indir, "GADF", select="all", progress=False).notes
    assert any("made, 0 to 90 deg, whose" in note for note in notes) == (
        method == "spline"
    )  # groups of all azimuths are merged


@pytest.mark.slow
def test_simulated_and_real_are_noted(tmp_path):
    """Models and runs know in files whether they are simulated, and a note says so if only one of both is."""
    make_test_dataset(tmp_path / "simulated", n_runs=2, trigger_rate=12, progress=False)
    make_test_dataset(tmp_path / "hess", "HESS", n_runs=2, trigger_rate=12, progress=False)
    write_gadf(tmp_path / "real", [run(1, 500), run(2, 500)])
    small = {"select": "all", "n_energy": 6, "n_fov": 8, "method": "unsmoothed", "alt_edges": [0, 90], "az_edges": [0, 360]}
    runs = {name: open_runs(tmp_path / name, "HESS" if name == "hess" else "GADF") for name in ("simulated", "hess", "real")}
    for name, of_name in runs.items():
        simulated = name != "real"
        assert of_name.simulated == ({1, 2} if simulated else set())
        assert all(read_event_list(of_name.files(obs_id)).simulated == simulated for obs_id in (1, 2))
        if name != "hess":
            make_bg_cube_models(tmp_path / name, "GADF", tmp_path / f"{name}-models", progress=False, **small)
            models = read_models(tmp_path / f"{name}-models")
            assert models.models[0].model.is_simulated == simulated
            counted = {
                other: {obs_id: RunCounts.of(read_event_list(of_other.files(obs_id))) for obs_id in (1, 2)}
                for other, of_other in runs.items()
            }
            found = {other: " ".join(models.notes_on(of_other)) for other, of_other in counted.items()}
            assert [other for other, note in found.items() if ": 1, 2" in note and "simulated" in note] == (
                ["real"] if simulated else ["simulated", "hess"]
            )


@pytest.mark.parametrize("function", ["read_model", "read_model_and_pointing"])
def test_directory_replaced_while_it_is_read(models, tmp_path_factory, monkeypatch, function):
    """Models of two productions are never mixed, also if the directory is replaced while a file is opened."""
    other = tmp_path_factory.mktemp("other") / "models"
    shutil.copytree(models, other)
    write(other, 4, 90.0, 10.0, 99.0)
    directory, opened = ModelDirectory(models), []
    read = getattr(model_directory, function)

    def replace_and_read(path, group_id):
        if opened.append(group_id) or len(opened) == 2:
            models.rename(other.with_name("old"))
            other.rename(models)
        return read(path, group_id)

    monkeypatch.setattr(model_directory, function, replace_and_read)
    with raises("changed", models):
        directory.read_all() if function != "read_model" else [directory.read(group_id) for group_id in (0, 4)]
    assert len(opened) >= 2


def test_relative_paths_in_another_directory(models, tmp_path, monkeypatch):
    """Models and runs that were opened by relative paths are found after a change of the current directory."""
    write_gadf(tmp_path / "runs", [run(2, 50)])
    monkeypatch.chdir(tmp_path)
    directory, runs = ModelDirectory("."), open_runs("runs", "GADF")
    monkeypatch.chdir("/")
    assert directory.read(4).stack.counts.sum() == 5000
    assert directory.groups == GROUPS
    assert len(directory.counts) == 3
    assert read_event_list(runs.files(2)).obs_id == 2
    assert (str(directory.path), str(runs.path)) == (".", "runs")


def test_models_are_kept_in_memory(tmp_path, monkeypatch):
    """Models are kept as long as they fit in memory, and at least the last few; the first to go was not used for longest."""
    for group_id in range(9):
        write_model(asymmetric_model(), tmp_path / f"bg_cube_model_group{group_id}_table.fits")
    read = []

    def reads(*group_ids):
        """Return the groups whose files are read for these models."""
        read.clear()
        for group_id in group_ids:
            directory.read(group_id)
        return [int(path.name[len("bg_cube_model_group")]) for path in read]

    monkeypatch.setattr(model_directory, "read_model", lambda path, group_id: read.append(path) or read_model(path, group_id))
    measure, measured = model_directory._size, []
    monkeypatch.setattr(model_directory, "_size", lambda model: measured.append(model) or measure(model))
    directory = ModelDirectory(tmp_path)
    assert directory.read(3) is directory.read(3)
    assert reads(*range(9), *range(9)) == [0, 1, 2, 4, 5, 6, 7, 8]
    assert len(measured) == 9  # once each, so that the time does not grow with the square of their number
    bins = asymmetric_model().rate.quantity.size
    monkeypatch.setattr(model_directory, "KEPT_BYTES", 5 * 4 * 8 * bins)  # rate, error, counts and livetime of five models
    directory = ModelDirectory(tmp_path)
    assert reads(0, 1, 2, 3, 4, 0, 5) == [0, 1, 2, 3, 4, 5]
    assert reads(0, 2, 3, 4, 5) == []
    assert reads(1, 0) == [1, 0]
    monkeypatch.setattr(model_directory, "KEPT_BYTES", 0)
    directory = ModelDirectory(tmp_path)
    assert reads(0, 1, 2, 0, 1, 2) == [0, 1, 2]
    assert reads(3, 0) == [3, 0]
