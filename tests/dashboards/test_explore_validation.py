"""Dashboard of a validation: taps, drags and controls select runs and energies."""

import math

import pytest
from astropy import units as u
from hypothesis import given, settings
from hypothesis import strategies as st

import bgnb
from bgnb.dashboards import explore_models, explore_validation
from tests.dashboards.acting import assert_controls_show_state, assert_same_as_fresh, shared, tap
from tests.helpers.errors import raises
from tests.helpers.validations import GRID, simulated_validation

VALIDATION = simulated_validation()
EDGES = tuple(float(f"{edge:.5g}") for edge in GRID.axes.energy.value)
FIELDS = {
    "selected": st.lists(st.sampled_from([run.obs_id for run in VALIDATION.runs]), max_size=3),
    "energy": st.sampled_from([None, (1, 20), (2, 2), ("3 TeV", 10), (0.1, 1.1), (EDGES[1], EDGES[2])]),
    "norm": st.sampled_from(["free", "fixed"]),
    "show": st.sampled_from(["significance", "residual", "observed", "predicted"]),
    "x": st.sampled_from(["OBS_ID", "altitude", "azimuth"]),
}


@pytest.fixture
def dashboard():
    """Explore a validation of simulated runs, and close it at the end."""
    dashboard = explore_validation(VALIDATION)
    yield dashboard
    dashboard.close()


def drag(dashboard, panel, x, y):
    """Drag over a rectangle of a panel."""
    dashboard.act({"kind": "select", "panel": panel, "x": x, "y": y})


def position(dashboard, panel, obs_id):
    """Find a run in a panel."""
    if panel == "pointings":
        polygon = next(polygon for polygon in dashboard.view.panels[panel].polygons if polygon.details["OBS_ID"] == str(obs_id))
        return float(polygon.x.mean()), float(polygon.y.mean())
    for series in dashboard.view.panels[panel].series:
        if str(obs_id) in series.details["OBS_ID"]:
            i = series.details["OBS_ID"].index(str(obs_id))
            return float(series.x[i]), float(series.y[i])
    raise AssertionError(f"run {obs_id} is not shown")


@pytest.mark.parametrize("panel", ["runs", "pointings"])
@pytest.mark.parametrize("x", ["OBS_ID", "azimuth"])
def test_taps_select_runs(dashboard, panel, x):
    """A tap selects the run at the position; with Shift it adds or removes one; a tap elsewhere deselects all."""
    dashboard.x = x
    tap(dashboard, panel, *position(dashboard, panel, 140))
    assert dashboard.selected == (140,)
    tap(dashboard, panel, *position(dashboard, panel, 110), add=True)
    assert dashboard.selected == (110, 140)
    tap(dashboard, panel, *position(dashboard, panel, 140), add=True)
    assert dashboard.selected == (110,)
    tap(dashboard, panel, *position(dashboard, panel, 150))
    assert dashboard.selected == (150,)
    tap(dashboard, panel, -1000.0, 300.0, add=True)
    assert dashboard.selected == (150,)
    tap(dashboard, panel, -1000.0, 300.0)
    assert dashboard.selected == ()


def test_drags_select_runs(dashboard):
    """Dragging selects the runs in the rectangle, also in the map of pointings."""
    drag(dashboard, "runs", (112.0, 158.0), (0.0, 5.0))
    assert dashboard.selected == (120, 130, 140, 150)
    drag(dashboard, "runs", (112.0, 158.0), (5.0, 6.0))
    assert dashboard.selected == ()
    drag(dashboard, "pointings", (0.0, 90.0), (0.0, 90.0))
    assert dashboard.selected == tuple(run.obs_id for run in VALIDATION.runs if 0 <= run.az_pnt <= 90)


def test_taps_and_drags_select_energies(dashboard):
    """A tap selects an energy bin, and all energies if it is selected already; with Shift it extends the range."""
    tap(dashboard, "energy", 4.0, 0.3)
    assert dashboard.energy == EDGES[1:3]
    tap(dashboard, "energy", 4.0, 0.3, add=True)
    assert dashboard.energy == EDGES[1:3]
    tap(dashboard, "energy", 15.0, 0.3, add=True)
    assert dashboard.energy == (EDGES[1], EDGES[3])
    tap(dashboard, "energy", 1.5, 0.3)
    assert dashboard.energy == EDGES[:2]
    tap(dashboard, "energy", 2.0, 0.3)
    assert dashboard.state.energy is None
    assert dashboard.energy == (EDGES[0], EDGES[-1])
    drag(dashboard, "energy", (3.0, 50.0), (-1.0, 1.0))
    assert dashboard.energy == (EDGES[1], EDGES[3])
    for outside in (0.5, 25.0):
        tap(dashboard, "energy", outside, 0.3)
        assert dashboard.energy == (EDGES[1], EDGES[3])
    drag(dashboard, "energy", (-1.0, 1.5), (-1.0, 1.0))
    assert dashboard.energy == EDGES[:2]
    assert dashboard.selected == ()


def test_other_panels_select_nothing(dashboard):
    """Taps in the field of view, against offset and in the distribution change nothing, and those beside the axes neither."""
    state = dashboard.state
    for panel in ("field", "offset", "significance"):
        tap(dashboard, panel, 0.5, 0.5)
    tap(dashboard, "runs", None, None)
    assert dashboard.state == state


def test_slider_keeps_a_bin(dashboard):
    """A handle of the energy slider that meets the other one leaves one bin between them."""
    slider = dashboard._controls["energy"].widget
    assert slider.value == (EDGES[0], EDGES[-1])
    slider.value = (EDGES[1], EDGES[2])
    assert dashboard.energy == EDGES[1:3]
    slider.value = (EDGES[2], EDGES[2])
    assert dashboard.energy == EDGES[1:3] == slider.value
    slider.value = (EDGES[1], EDGES[3])
    slider.value = (EDGES[3], EDGES[3])
    assert dashboard.energy == EDGES[2:] == slider.value
    for number in (0, -1):  # both handles at once, where no bin is left on one side
        slider.value = (EDGES[1], EDGES[2])
        slider.value = (EDGES[number], EDGES[number])
        assert dashboard.energy == (EDGES[:2] if number == 0 else EDGES[-2:]) == slider.value
    slider.value = (EDGES[0], EDGES[3])
    slider.value = (EDGES[0], EDGES[0])
    assert dashboard.energy == EDGES[:2] == slider.value
    assert_controls_show_state(dashboard)


def test_controls_change_state(dashboard):
    """All controls change the state; OBS_IDs that do not exist are refused with a message."""
    controls = dashboard._controls
    controls["norm"].widget.value = "fixed"
    controls["show"].widget.value = "residual"
    controls["x"].widget.value = "azimuth"
    controls["selected"].widget.value = "150, 130"
    assert (dashboard.norm, dashboard.show, dashboard.x, dashboard.selected) == ("fixed", "residual", "azimuth", (130, 150))
    for text, message in (("131", "131"), ("13x", "13x")):
        controls["selected"].widget.value = text
        assert message in dashboard._message.value
        assert controls["selected"].widget.value == text  # so that it can be corrected
        assert dashboard.selected == (130, 150)
    controls["selected"].widget.value = "130 150"
    assert dashboard._message.value == ""
    controls["selected"].widget.value = "13"
    dashboard.show = "observed"
    assert (controls["selected"].widget.value, dashboard._message.value) == ("130 150", "")
    controls["selected"].widget.value = ""
    assert dashboard.selected == ()
    assert set(dashboard.bar) | {name for names in dashboard.drawer.values() for name in names} <= set(controls)


@settings(max_examples=4)
@given(
    path=st.lists(
        st.sampled_from(sorted(FIELDS)).flatmap(lambda name: st.tuples(st.just(name), FIELDS[name])), min_size=3, max_size=6
    )
)
def test_dashboard_is_path_independent(path):
    """After any changes, the dashboard is the same as a new one made with its Python code, or from its saved state."""
    dashboard = explore_validation(VALIDATION)
    for name, value in path:
        dashboard.update(**{name: value})
    *imports, call = dashboard.python.splitlines()
    names = {"bgnb": bgnb, "validation": VALIDATION}
    fresh = eval(call, names)
    assert imports[0] == "import bgnb"
    assert_same_as_fresh(dashboard, fresh)
    other = explore_validation(VALIDATION, norm="fixed", selected=[100], energy=(5, 6))
    other.restore(dashboard.json)
    assert_same_as_fresh(dashboard, other)
    for each in (dashboard, fresh, other):
        each.close()


def test_page_steps_through_energies(dashboard):
    """An exported page has all energies, each energy bin, and the present range."""
    assert [state.energy for state in dashboard.frames().values()] == [None, EDGES[:2], EDGES[1:3], EDGES[2:]]
    dashboard.energy = (4, 15)
    frames = dashboard.frames()
    assert list(frames)[-1] == ("", f"{EDGES[1]:.3g} to 20 TeV")
    assert list(frames.values())[-1] == dashboard.state
    assert len(frames) == 5


def test_energy_of_all_dashboards(dashboard, modeldir):
    """One energy selects its bin, also that at the end of the axis; reading gives a pair of floats in TeV."""
    models = shared(explore_models, modeldir, group_id=3)
    for energy, first in ((4 * u.TeV, 1), ("4000 GeV", 1), (4, 1), (EDGES[1], 1), (EDGES[0], 0), (EDGES[-1], 2)):
        dashboard.energy = energy
        assert dashboard.energy == EDGES[first : first + 2]
    assert explore_validation(VALIDATION, energy=EDGES[-1]).state == dashboard.state
    for each in (dashboard, models):
        for energy in (4 * u.TeV, (2, 10), [2, 10] * u.TeV):
            each.energy = energy
            assert [type(end) for end in each.energy] == [float, float]
            state = each.state
            each.energy = each.energy
            assert each.state == state
    dashboard.energy = None
    assert dashboard.energy == (EDGES[0], EDGES[-1])
    dashboard.energy = dashboard.energy
    assert dashboard.state.energy is None


def test_only_traits_are_observed(dashboard):
    """Observing the state works; observing a field of it, or swapped arguments, is an error that names what can be observed."""
    seen = []
    dashboard.observe(seen.append, "state")
    dashboard.observe(lambda change: seen.append(change), ["state", "drawer_open"])
    for names in ("energy", ["state", "selected"], "nothing"):
        with raises("unknown-choice", "'state'", "'drawer_open'"):
            dashboard.observe(seen.append, names)
    with raises("unknown-choice", "'state'"):
        dashboard.observe("energy", seen.append)
    with raises("invalid-argument", "'state'"):
        dashboard.observe("state")
    dashboard.energy = 4
    assert [change["new"].energy for change in seen] == [EDGES[1:3]] * 2


def test_invalid_arguments_are_refused():
    """Arguments that are no validation, and runs and energies that it does not contain, are refused."""
    for wrong in ({8: VALIDATION}, "models", None):
        with raises("invalid-argument", "cross_validate", type(wrong).__name__):
            explore_validation(wrong)
    with raises("not-found", 7):
        explore_validation(VALIDATION, selected=[7])
    with raises("invalid-argument", "1 to 20 TeV"):
        explore_validation(VALIDATION, energy=(30, 40))
    with raises("unknown-choice", "norm", "free", "fixed"):
        explore_validation(VALIDATION, norm="none")
    dashboard = explore_validation(VALIDATION)
    with raises("unknown-choice", "selected"):
        dashboard.runs = [100]
    state = dashboard.state
    with raises("invalid-argument", "energy"):
        dashboard.update(selected=[100], energy=math.nan)
    assert dashboard.state == state
