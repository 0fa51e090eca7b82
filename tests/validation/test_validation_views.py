"""Views of a validation: values of the panels, the summary, and complete states."""

import csv
import re
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgnb import Validation
from bgnb.plots.colours import N_COLOURS, NO_VALUE
from bgnb.plots.pointing_map import to_sky
from bgnb.validation.compared_counts import ComparedCounts
from bgnb.validation.validation_state import CHOICES, ValidationState, complete_state, energy_edges, energy_slice
from bgnb.validation.validation_views import run_positions, validation_view
from tests.helpers.errors import raises
from tests.helpers.validations import GRID, simulated_validation

EDGES = GRID.axes.energy.value


def change(number, true):
    """Make run 130 too bright, the second energy of run 190, and one pixel of all runs at the first energy."""
    true *= 1.5 if number == 3 else 1
    true[1] *= 1.4 if number == 9 else 1
    true[0, 2, 7] *= 2
    return true


COUNTS = ComparedCounts(simulated_validation(20.0, change=change))


def view_of(**fields):
    """Make the view of a state."""
    return validation_view(COUNTS, complete_state(COUNTS, ValidationState(**fields)))


def lines_of(view):
    """Return the sentences of a summary by their first word."""
    return {line.partition(" ")[0].strip(",:"): line for line in view.summary.splitlines()}


def test_graphs_agree_with_validation():
    """Energies and offsets show the residuals of `Validation.profile`, runs the ratios of `Validation.table`."""
    panels = view_of().panels
    for axis in ("energy", "offset"):
        table, (points, none) = COUNTS.validation.profile(axis), panels[axis].series
        np.testing.assert_allclose(points.y, table["RESIDUAL"], atol=1e-12)
        np.testing.assert_allclose(points.high - points.y, table["ERROR_NORM"], rtol=1e-9)
        assert ((points.x > table["LOW"]) & (points.x < table["HIGH"])).all()
        assert len(none.x) == 0
    ratios = {}
    for series in panels["runs"].series:
        ratios |= dict(zip(series.x.tolist(), series.y.tolist(), strict=True))
    table = COUNTS.validation.table
    assert ratios == {row["OBS_ID"]: pytest.approx(row["RATIO"]) for row in table}
    values = {polygon.details["OBS_ID"]: polygon for polygon in panels["pointings"].polygons}
    for row in table:
        polygon = values[str(row["OBS_ID"])]
        assert polygon.value == pytest.approx(row["RATIO"])
        altitude, azimuth = to_sky(polygon.x.mean(), polygon.y.mean())
        assert (altitude, azimuth) == (pytest.approx(row["ALT_PNT"], abs=1e-6), pytest.approx(row["AZ_PNT"], abs=1e-6))
    fit = COUNTS.validation.fit(True)
    mean, width = fit.mean_width("cube of each run")
    assert panels["significance"].title.replace("−", "-").startswith(f"Significance, mean {mean:+.3f}\nwidth {width:.3f}")


def test_selected_beside_all():
    """With selected runs, graphs show them beside all runs: at the energy range, with the same order in each bin."""
    view = view_of(selected=[130, 150], energy=(EDGES[1], EDGES[3]))
    part = replace(COUNTS.validation, runs=tuple(run for run in COUNTS.validation.runs if run.obs_id in (130, 150)))
    every, chosen = view.panels["energy"].series
    np.testing.assert_allclose(chosen.y, part.profile("energy")["RESIDUAL"], atol=1e-12)
    np.testing.assert_allclose(every.y, COUNTS.validation.profile("energy")["RESIDUAL"], atol=1e-12)
    assert ((every.x > EDGES[:-1]) & (every.x < chosen.x) & (chosen.x < EDGES[1:])).all()
    assert view.panels["energy"].band == pytest.approx((EDGES[1], EDGES[3]))
    assert (every.name, chosen.name) == ("all runs", "2 of 12 runs")
    counts = [sum(run.counts[1:][run.used[1:]].sum() for run in runs.runs) for runs in (COUNTS.validation, part)]
    assert [sum(map(int, series.details["observed"])) for series in view.panels["offset"].series] == counts
    assert [polygon.details["OBS_ID"] for polygon in view.panels["pointings"].polygons if polygon.marked] == ["130", "150"]
    assert view.panels["runs"].series[2].x.tolist() == [130, 150]


def test_pointings_show_runs_without_counts():
    """A run without observed counts has the colour of the largest deficit, not that of an unknown ratio."""
    validation = simulated_validation()
    runs = list(validation.runs)
    runs[4] = replace(runs[4], counts=np.zeros_like(runs[4].counts))
    counts = ComparedCounts(Validation(GRID, tuple(runs)))
    state = complete_state(counts, ValidationState(energy=(EDGES[0], EDGES[2])))
    panel = validation_view(counts, state).panels["pointings"]
    codes = panel.colours.codes([polygon.value for polygon in panel.polygons])
    assert (codes[4], NO_VALUE not in codes, codes.argmin()) == (0, True, 4)
    assert panel.colours.codes(1.0) == (N_COLOURS - 1) / 2
    assert panel.title == f"Pointings: observed / predicted\n{EDGES[0]:.3g} to {EDGES[2]:.3g} TeV"


def test_run_axis_and_marks():
    """Runs are drawn against the chosen quantity; a run that stands out is marked, and named also if it is selected."""
    for name, column in (("altitude", "ALT_PNT"), ("azimuth", "AZ_PNT"), ("OBS_ID", "OBS_ID")):
        panel = view_of(x=name).panels["runs"]
        x = np.concatenate([series.x for series in panel.series])
        assert sorted(x) == pytest.approx(sorted(COUNTS.validation.table[column]))
        assert panel.x_label.startswith(name)
        assert panel.series[1].details["OBS_ID"] == ["130"]
    for selected in ((), (130,)):
        assert [text for *_, text in view_of(selected=selected).panels["runs"].texts] == ["130"]


@pytest.mark.parametrize("norm", ["free", "fixed"])
def test_field_shows_each_quantity(norm):
    """The image shows observed and predicted counts, residual and significance of the same bins."""
    images = {show: view_of(show=show, norm=norm, energy=(1, 1.5)).panels["field"] for show in CHOICES["show"]}
    shown = {show: image.values for show, image in images.items()}
    np.testing.assert_allclose(shown["residual"], shown["observed"] / shown["predicted"] - 1, atol=1e-12)
    assert np.nansum(shown["observed"]) == COUNTS.validation.profile("energy")["COUNTS"][0]
    column = "EXPECTED_NORM" if norm == "free" else "EXPECTED"
    assert np.nansum(shown["predicted"]) == pytest.approx(COUNTS.validation.profile("energy")[column][0])
    np.testing.assert_array_equal(np.isnan(shown["observed"]), GRID.offset > GRID.offset_max)
    assert images["observed"].colours == images["predicted"].colours
    assert np.unravel_index(np.nanargmax(shown["significance"]), GRID.offset.shape) == (2, 7)
    outline = images["residual"].curves[0]
    assert outline.x.min() == pytest.approx(GRID.axes.detx.value[7])
    assert outline.y.max() == pytest.approx(GRID.axes.dety.value[3])


def test_summary_says_what_is_wrong():
    """The summary names the runs, energies and bins that are wrong, with observed over predicted counts."""
    lines = lines_of(view_of())
    counts, expected = (COUNTS.validation.table[name].sum() for name in ("COUNTS", "EXPECTED"))
    everything = "all 12 runs, 1 to 20 TeV"
    assert f"Counts ({everything}, no free norm): {counts} observed, {expected:.1f} predicted" in lines["Counts"]
    assert f"observed / predicted {counts / expected:.4f} ± {1 / np.sqrt(expected):.4f}" in lines["Counts"]
    fit = COUNTS.validation.fit(True)
    assert f"deviance / expectation {fit.ratio:.3f} ± {fit.ratio_error:.3f}" in lines["Bins"]
    assert "1 stands out: 130 (1.5" in lines["Runs"]
    found = COUNTS.runs(slice(None)).deviations
    assert f"more than about {100 * (found.limits[1] / found.median - 1):.2g} % stand out" in lines["Runs"]
    x, y = GRID.axes.detx_centers.value[7], GRID.axes.dety_centers.value[2]
    assert f"DETX {x:.3g}°, DETY {y:.3g}°".replace("-", "−") in lines["Field"]
    assert lines["Note"] == "Note: a note on the runs"
    lines = lines_of(view_of(selected=[190]))
    assert "(run 190, " in view_of(selected=[190]).summary
    sigmas = COUNTS.by_energy(COUNTS.obs_ids == 190, "free").sigmas
    assert abs(sigmas[1]) == np.max(np.abs(sigmas)) > 2
    assert f"(+{sigmas[1]:.1f} σ) at {EDGES[1]:.3g} to {EDGES[2]:.3g} TeV" in lines["Energies"]


def test_sentences_name_their_sample():
    """Each sentence names its runs and energies, and describes energies in the range only."""
    energies = f"{EDGES[0]:.3g} to {EDGES[1]:.3g} TeV"
    lines = lines_of(view_of(selected=[150, 190], energy=(EDGES[0], EDGES[1])))
    for name in ("Counts", "Bins", "Distribution", "Energies", "Offsets", "Field"):
        assert f"(2 selected of 12 runs, {energies}, " in lines[name]
    assert f"(all 12 runs, {energies}, no free norm)" in lines["Runs"]
    sigma = COUNTS.by_energy(np.isin(COUNTS.obs_ids, [150, 190]), "free").sigmas[0]
    assert f"({sigma:+.1f} σ) at {energies};".replace("-", "−") in lines["Energies"]
    assert f"{EDGES[2]:.3g}" not in lines["Energies"]


def test_bias_is_stated_first():
    """The note on runs that were used to make the models is in the second line, the others are at the end."""
    counts = ComparedCounts(replace(COUNTS.validation, seen=frozenset({130})))
    lines = validation_view(counts, ValidationState()).summary.splitlines()
    assert lines[1].startswith("Note: 1 of these runs was used to make the models")
    assert [line for line in lines if line.startswith("Note")] == [lines[1], "Note: a note on the runs"]


def test_summary_of_right_prediction():
    """If the prediction is right, no run stands out, and the largest deviations are about those by chance."""
    counts = ComparedCounts(simulated_validation(20.0))
    lines = lines_of(validation_view(counts, ValidationState()))
    assert "none stands out; largest deviation" in lines["Runs"]
    for name in ("Energies", "Offsets", "Field", "Distribution"):
        found, chance = re.search(r"([+−][\d.]+) σ", lines[name]), re.search(r"expected maximum ([\d.]+) σ", lines[name])
        assert abs(float(found.group(1).replace("−", "-"))) < float(chance.group(1)) + 1.5, lines[name]


def test_bins_with_few_counts_are_hidden():
    """Runs and bins without enough predicted counts are not drawn, and the summary says so."""
    validation = simulated_validation(0.02)
    counts = ComparedCounts(validation)
    state = ValidationState(selected=(120,))  # whose threshold is above the first energy
    view = validation_view(counts, complete_state(counts, state))
    assert np.isnan(view.panels["energy"].series[1].y).all()
    assert "Energies: no bin" in re.sub(r" \(.*\):", ":", lines_of(view)["Energies"])
    unknown = int((~counts.runs(slice(0, 3)).known).sum())
    assert f"Not shown: {unknown} run" in view.summary
    assert sum(len(series.x) for series in view.panels["runs"].series) == 12 - unknown
    assert np.isnan(view.panels["field"].values).all()
    view.to_csv()


def test_empty_model_bins_and_skipped_runs():
    """The summary counts events where the model is empty, and lists runs that cannot be read."""
    validation = simulated_validation()
    runs = list(validation.runs)
    runs[1] = replace(runs[1], expected=np.where(np.arange(3)[:, None, None] == 1, 0.0, runs[1].expected))
    validation = Validation(GRID, tuple(runs), {77: "run 77 is truncated"})
    summary = validation_view(ComparedCounts(validation), ValidationState()).summary
    lost = runs[1].counts[1][runs[1].used[1]].sum()
    assert f"Counts in bins where the model is empty: {lost}." in summary
    assert "Skipped: run 77 is truncated" in summary


STATES = st.fixed_dictionaries(
    {
        "selected": st.lists(st.sampled_from(COUNTS.obs_ids.tolist()), max_size=4),
        "energy": st.none() | st.tuples(st.floats(1, 19.9), st.floats(1, 30)).map(sorted),
        **{name: st.sampled_from(choices) for name, choices in CHOICES.items()},
    }
)


@settings(max_examples=25)
@given(STATES)
def test_all_states_have_the_same_panels(fields):
    """Views of all states have the same panels and numbers of series, finite axes, and can be written as CSV."""
    view, first = view_of(**fields), view_of()
    assert view.panels.keys() == first.panels.keys()
    for name, panel in view.panels.items():
        if name != "field":
            assert len(panel.series) == len(first.panels[name].series)
            assert np.isfinite([*panel.x_range, *panel.y_range]).all()
            assert panel.y_range[0] < panel.y_range[1]
    lines = [line for line in view.to_csv().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(StringIO("\n".join(lines))))
    drawn = [row for row in rows if row["panel"] == "runs" and row["details"]]
    assert len(drawn) == np.isfinite(run_positions(COUNTS, complete_state(COUNTS, ValidationState(**fields)), "runs")[1]).sum()


@given(st.floats(1, 19.99), st.floats(1, 40))
def test_complete_state_is_settled(one, other):
    """Energies are extended to the bins that they touch, and stay the same then."""
    low, high = min(one, other), max(one, other)
    state = complete_state(COUNTS, ValidationState(energy=(low, high)))
    assert complete_state(COUNTS, state) == state
    found = energy_slice(COUNTS, state.energy)
    assert EDGES[found.start] <= low * 1.0002
    assert EDGES[found.stop] >= min(high, EDGES[-1]) / 1.0002
    assert found.stop - found.start == 1 or (EDGES[found.start + 1] > low and EDGES[found.stop - 1] < high)
    assert (state.energy is None) == (found == slice(0, 3))


def test_rounded_ends_of_the_axis():
    """The ends of the axis, as rounded in a state, are in the first and in the last bin."""
    counts = SimpleNamespace(edges=np.array([1.00000499, 2.0, 5.0, 19.999996]))
    for energy, expected in ((energy_edges(counts)[0], slice(0, 1)), (energy_edges(counts)[-1], slice(2, 3))):
        assert energy_slice(counts, (energy, energy)) == expected


def test_invalid_states_are_refused():
    """Unknown names, runs and energies are refused, with the choices."""
    for name, choices in CHOICES.items():
        with raises("unknown-choice", name, *choices):
            ValidationState(**{name: "other"})
    for selected in ("130", [1.5, "x"], 130):
        with raises("invalid-argument", "selected"):
            ValidationState(selected=selected)
    for energy in (-1.0, "5 m", (1, 2, 3), (5, 1), (0, 1), (1, np.nan), ("1 m", "2 m")):
        with raises("invalid-argument", "energ"):
            ValidationState(energy=energy)
    with raises("not-found", 131, "12 runs"):
        complete_state(COUNTS, ValidationState(selected=(130, 131)))
    for energy in ((0.1, 0.9), (20.5, 30)):
        with raises("invalid-argument", "1 to 20 TeV"):
            complete_state(COUNTS, ValidationState(energy=energy))
    assert ValidationState(energy=["500 GeV", "2 TeV"]).energy == (0.5, 2.0)
    assert ValidationState(selected=[150, 130, 150], show="Residual") == ValidationState(selected=(130, 150), show="residual")
