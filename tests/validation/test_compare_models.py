"""Comparison of directories of models: report, plots and HTML pages."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from bgnb import Cube, ObservationGroups, compare, compare_models, make_test_bg_cube_model, write_groups, write_model
from bgnb.plots.comparison_graphs import planes_graph
from bgnb.plots.comparison_state import ComparisonState
from bgnb.plots.comparison_views import comparison_view
from bgnb.plots.cube_state import Shown, energy_edges
from bgnb.plots.figures import plot_comparison
from bgnb.plots.labels import energy_label
from bgnb.validation.compare_models import _draw_group, comparison_page
from tests.helpers.commands import output_of
from tests.helpers.errors import raises
from tests.helpers.true_models import AXES, TRUE_MODEL, counted, true_model

# Few energies, for tests of what pages have in common.
FEW = replace(AXES, energy=AXES.energy[4:9])


@pytest.fixture
def directories(tmp_path):
    for name, models in (("one", {3: true_model(), 8: true_model()}), ("two", {8: counted(1), 9: counted(2)})):
        (tmp_path / name).mkdir()
        for group_id, model in models.items():
            write_model(model, tmp_path / name / f"bg_cube_model_group{group_id}_table.fits.gz")
        write_groups(ObservationGroups(), tmp_path / name / "bg_observation_groups.ecsv")
    return tmp_path


@pytest.mark.slow
def test_report_has_common_groups(directories):
    """The report, plot and page of the one common group are written; the other groups are listed."""
    one, two, out = (directories / name for name in ("one", "two", "out"))
    output = output_of("compare", one, two, out, "--positions", 0, 0, "--energies", "1 TeV", "--normalise", "cube")
    assert "Only in" in output
    report = json.loads((out / "report.json").read_text())
    (group,) = report["groups"]
    assert (group["group_id"], report["only_in_dir1"], report["only_in_dir2"]) == (8, [3], [9])
    assert group["ratio"] == pytest.approx(1)
    assert group["counts"] == [0, int(counted(1).stack.counts.sum())]
    assert group["image_bins"] == [4]
    assert group["pull"]["std"] == pytest.approx(1, abs=0.1)
    assert len(group["spectra"]) == 1
    assert (out / "comparison_group8.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "comparison_group8.html").read_text()
    assert "two / one" in page
    tags = re.sub(r"(<script[^>]*>).*?</script>", r"\1", page, flags=re.DOTALL)
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", tags), "the page would access the network"


def view_of(comparison, positions):
    """Draw a comparison in the energy bin of 1 TeV."""
    state = ComparisonState(group_id=8, energy=1.0)
    shown = Shown(whole=comparison, part=comparison.in_energies(*energy_edges(comparison.axes, state.energy)))
    return comparison_view({8: shown}, state, ("one", "two"), "8", (0.0, 1e-4), positions)


def test_view_shows_spectra_of_positions():
    """Spectra, ratios, outlines and integrals of a view are those of the comparison."""
    comparison = compare(true_model(), counted(1))
    positions = [(0.1, 0.2), (2.1, -3.3)]
    view = view_of(comparison, positions)
    assert [(view.panels[name].colours.low, view.panels[name].colours.high) for name in ("first", "second")] == [(0, 1e-4)] * 2
    spectra, ratios = view.panels["spectra"], view.panels["ratios"].series
    outlines, drawn = view.panels["compared"].curves, zip(*[iter(spectra.series)] * 2, strict=True)
    curves = spectra.curves[::2], spectra.curves[1::2]
    for (x, y), outline, (reference, shown), ratio, *both in zip(positions, outlines, drawn, ratios, *curves, strict=True):
        first, second = comparison.spectra(x * u.deg, y * u.deg)
        assert reference.name == f"one ({x}, {y}) deg".replace("-", "−")
        assert shown.name == f"two ({x}, {y}) deg".replace("-", "−")
        assert ratio.name == f"({x}, {y}) deg".replace("-", "−")
        np.testing.assert_array_equal(reference.y, first.rate)
        rate = np.where(second.rate > 0, second.rate, np.nan)  # zeros are not shown on a logarithmic axis
        np.testing.assert_array_equal(shown.y, rate)
        np.testing.assert_array_equal(shown.high, rate + second.error)
        np.testing.assert_array_equal(both[0].y, first.rate)
        np.testing.assert_array_equal(both[1].y, rate)
        np.testing.assert_array_equal(ratio.y, rate / first.rate)
        assert outline.x.min() <= x < outline.x.max()
        assert outline.y.min() <= y < outline.y.max()
        assert f"γ = {second.index:.2f} ± {second.index_error:.2f}." in view.summary
    shared = view_of(compare(counted(1), counted(1)), positions)
    assert "share runs" in shared.panels["ratios"].title  # the reason why there are no error bars
    assert "share runs" not in view.panels["ratios"].title
    whole = planes_graph(comparison, ("one", "two"), 1.0)
    for series, integral in zip(whole.series, comparison.plane_integrals(), strict=True):
        np.testing.assert_array_equal(series.y, integral)
    assert whole.band[0] <= 1.0 < whole.band[1]


@pytest.mark.slow
def test_page_is_reproducible():
    """The page does not depend on earlier plots, and names that look like Bokeh ids are kept."""
    comparison = compare(true_model(), counted(1))
    arguments = [1 * u.TeV], [(2.0, 2.0)], ("p1001", "p1"), 8, "8: <high>"
    page, again = (comparison_page(comparison, *arguments) for _ in range(2))
    assert page == again
    for text in ('"p1001"', '"p1"', "p1 / p1001", "8: &lt;high&gt;", *(energy_label(AXES, n) for n in range(12))):
        assert text in page, text
    assert "<high>" not in page


def test_picture_and_page_have_equal_colours(monkeypatch):
    """The picture and the page of a comparison give each value of an image the same colour."""
    drawn = []
    monkeypatch.setattr("bgnb.plots.figures.to_png", lambda view: drawn.append(view.panels) or b"")
    monkeypatch.setattr("bgnb.plots.html_page.to_html", lambda views, _: drawn.append(views) or "")
    comparison, positions = compare(true_model(), counted(1)), [(0.0, 0.0)]
    plot_comparison(comparison, [1 * u.TeV], positions, ("one", "two"), "")
    comparison_page(comparison, [1 * u.TeV], positions, ("one", "two"), 8, "8")
    picture, pages = drawn
    page = pages["", energy_label(AXES, 4)].panels
    for name in ("first", "second", "compared"):
        assert page[name].colours == picture[f"{name} 4"].colours, name
        np.testing.assert_array_equal(page[name].values, picture[f"{name} 4"].values)


def test_axis_of_ratios_ends_at_zero():
    """The axis of ratios that deviate by more than a factor of 2 does not extend to negative ratios."""
    high = replace(counted(1), rate=Cube(AXES, 4 * counted(1).rate.quantity))
    low, top = view_of(compare(true_model(), high), []).panels["ratios"].y_range
    assert low == 0
    assert top > 4


@pytest.mark.slow
def test_workers_draw_the_same_files(tmp_path, capsys):
    """The files do not depend on the number of processes, and a progress bar counts the groups."""
    models = {3: counted(1, axes=FEW), 8: counted(2, axes=FEW, obs_id=2)}
    for name, of_groups in (("one", dict.fromkeys(models, true_model(FEW))), ("two", models)):
        (tmp_path / name).mkdir()
        for group_id, model in of_groups.items():
            write_model(model, tmp_path / name / f"bg_cube_model_group{group_id}_table.fits.gz")
    for workers in (1, 2):
        out = tmp_path / f"by {workers}"
        compare_models(tmp_path / "one", tmp_path / "two", out, energies=["1 TeV"], workers=workers, progress=True)
        assert "2/2" in capsys.readouterr().err
    single, several = ({path.name: path.read_bytes() for path in (tmp_path / f"by {n}").iterdir()} for n in (1, 2))
    assert single == several
    assert {f"comparison_group{n}.{kind}" for n in models for kind in ("png", "html")} < set(single)


@pytest.mark.parametrize("labels", [("a",), ("a", "b", "c"), "ab", 5])
def test_labels_must_be_a_pair(directories, labels):
    """Labels that are not two names raise an error."""
    with raises("invalid-argument", "labels", repr(labels)):
        compare_models(directories / "one", directories / "two", directories / "out", labels=labels)


def test_incompatible_directories_fail(directories, tmp_path):
    """Directories without models or without common groups raise an error, and no output is made."""
    (tmp_path / "empty").mkdir()
    with raises("not-a-model", tmp_path / "empty"):
        compare_models(directories / "one", tmp_path / "empty", tmp_path / "out")
    with raises("not-found", directories / "nowhere"):
        compare_models(directories / "nowhere", directories / "one", tmp_path / "out")
    write_groups(ObservationGroups(alt_edges=[0, 90] * u.deg), directories / "two" / "bg_observation_groups.ecsv")
    with raises("groups-mismatch", directories / "one", directories / "two", "GROUP_ID"):
        compare_models(directories / "one", directories / "two", tmp_path / "out")
    (directories / "two" / "bg_cube_model_group8_table.fits.gz").unlink()
    write_groups(ObservationGroups(), directories / "two" / "bg_observation_groups.ecsv")
    with raises("groups-mismatch", directories / "one", "[3, 8]", "[9]"):
        compare_models(directories / "one", directories / "two", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_notes_name_their_groups(tmp_path, monkeypatch):
    """Groups with shared runs, other rates or other axes are named; the columns of pulls appear only if there are pulls."""
    coarse = replace(FEW, detx=np.linspace(-4, 4, 16) * u.deg)
    same, low = counted(1, axes=FEW), counted(7, axes=FEW)
    rate = Cube(FEW, low.rate.quantity / 16)
    first = {3: same, 5: low, 8: counted(2, axes=FEW), 9: counted(3, axes=FEW)}
    second = {3: same, 5: replace(low, rate=rate), 8: counted(4, axes=coarse), 9: counted(5, axes=FEW, obs_id=9)}
    for name, models in (("one", first), ("two", second)):
        (tmp_path / name).mkdir()
        for group_id, model in models.items():
            write_model(model, tmp_path / name / f"bg_cube_model_group{group_id}_table.fits.gz")
    options = ("--energies", "5 TeV", "--workers", 1)
    draw = _draw_group  # only the group with other axes is drawn, to save time
    monkeypatch.setattr(
        "bgnb.validation.compare_models._draw_group", lambda task: draw(task) if task.group_id == 8 else (b"", b"")
    )
    output = output_of("compare-models", tmp_path / "one", tmp_path / "two", tmp_path / "out", *options)
    notes = [line for line in output.splitlines() if line.startswith("note: ")]
    assert "PULL_BINS" in output
    assert [note.split(":")[1].strip() for note in notes if "share runs" in note] == ["groups 3, 5, 8"]
    assert ["second model is 0.062 times that of the first: group 5;" in note for note in notes].count(True) == 1
    (axes,) = (note for note in notes if "detx" in note)
    assert axes.startswith("note: group 8: ")
    assert "20 bins from -4 to 4 deg, and 15 bins" in axes
    assert json.loads((tmp_path / "out" / "report.json").read_text())["notes"] == [note[6:] for note in notes]
    for directory in ("one", "two"):
        (tmp_path / directory / "bg_cube_model_group9_table.fits.gz").unlink()
    output = output_of("compare-models", tmp_path / "one", tmp_path / "two", tmp_path / "none", *options)
    assert not re.search("PULL|nan", output)
    assert "note: all groups: " in output


def test_all_bad_groups_are_named_first(tmp_path, monkeypatch):
    """All groups that cannot be compared are named, with the reasons, before anything is drawn."""
    far = replace(AXES, energy=AXES.energy * 1e4)
    radec = replace(TRUE_MODEL, fovalign="RADEC")
    second = {3: true_model(), 5: true_model(far), 7: true_model(far), 8: true_model(model=radec)}
    for name, models in (("one", dict.fromkeys(second, true_model())), ("two", second)):
        (tmp_path / name).mkdir()
        for group_id, model in models.items():
            write_model(model, tmp_path / name / f"bg_cube_model_group{group_id}_table.fits.gz")
    monkeypatch.setattr("bgnb.validation.compare_models.plot_comparison", lambda *_: pytest.fail("drawn"))
    with raises("axes-mismatch", "3 of 4 groups", "groups 5, 7: the energy axes", "group 8: ", "ALTAZ and RADEC"):
        compare_models(tmp_path / "one", tmp_path / "two", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_empty_bins_and_unusual_names(tmp_path):
    """Masked quadrants, directory names with TeX and positions outside the axes are handled."""
    masked = make_test_bg_cube_model(AXES, 80 * u.deg, replace(TRUE_MODEL, mask_quadrant=True))
    for name in ("a$\\frac$b", "c"):
        (tmp_path / name).mkdir()
        write_model(masked, tmp_path / name / "bg_cube_model_group1_table.fits.gz")
    result = compare_models(
        tmp_path / "a$\\frac$b", tmp_path / "c", tmp_path / "out", positions=[(2, 2), (-2, 1), (9, 9)], energies=["1 TeV"]
    )
    assert [spectrum["detx_deg"] for spectrum in result.groups[0]["spectra"]] == [2, -2]
    assert result.groups[0]["spectra"][0]["index"] == [None, None]
    assert repr(result) == "ModelComparison(group 1)"
    without = compare_models(tmp_path / "a$\\frac$b", tmp_path / "c", tmp_path / "none", positions=[], energies=["1 TeV"])
    assert np.isnan(without.table["INDEX_1"][0])
    assert without.table["GROUP_ID"].tolist() == [1]
    with raises("invalid-argument", "energies", "group 1", "80 TeV"):
        compare_models(tmp_path / "c", tmp_path / "c", tmp_path / "x", energies=["500 TeV"])
    with raises("invalid-argument", "positions", "group 1", "DETX -4 deg to 4 deg", "DETY -4 deg"):
        compare_models(tmp_path / "c", tmp_path / "c", tmp_path / "x", positions=[(9, 9)])
    with raises("invalid-argument", "positions", "(0, 0)"):
        compare_models(tmp_path / "c", tmp_path / "c", tmp_path / "x", positions=(0, 0))
