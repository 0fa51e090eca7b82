"""Methods of others: known by name to functions, files and the command line, without a change of bgnb."""

import numpy as np
import pytest
from astropy import units as u

from bgnb import BackgroundModel, Cube, Method, make_bg_cube_models, make_model, make_models, read_models, register_method
from bgnb.cubes import method as method_registry
from bgnb.cubes.cube import RATE_UNIT
from tests.helpers.commands import error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.run_files import run, write_gadf


class MeanRate(Method):
    """One mean rate for each energy plane."""

    name = "mean-rate"
    default_bins = (7, 6)

    def make(self, stack):
        counts, exposure = (values.sum(axis=(1, 2), keepdims=True) for values in (stack.counts, stack.exposure.value))
        rate = np.broadcast_to((counts + 0.5) / (exposure + 1), stack.axes.shape)
        return BackgroundModel(Cube(stack.axes, rate * RATE_UNIT), stack, self.name)

    def extrapolated(self, stack):
        return np.arange(stack.axes.shape[0]) == 2


class FittedRate(MeanRate):
    """The mean rate of all runs, fitted to single runs, with a factor that depends on the altitude."""

    name, sums = "fitted-rate", "pointing"

    def fit(self, cells):
        assert all(len(cell.stack.runs) == 1 for cell in cells)
        return _Fitted(super().make(sum((cell.stack for cell in cells[1:]), cells[0].stack)), len(cells))


class _Fitted:
    altitude_range = (40.0, 80.0)

    def __init__(self, model, n_cells):
        self.model, self.n_cells = model, n_cells

    def rate_at(self, alt_pnt, az_pnt):
        return Cube(self.model.axes, self.model.rate.quantity * alt_pnt)

    def at(self, alt_pnt, az_pnt):
        rate = self.rate_at(alt_pnt, az_pnt)
        return rate, Cube(rate.axes, rate.quantity * 0.25)


@pytest.fixture
def runs(tmp_path):
    return write_gadf(tmp_path / "in", [run(obs_id, 60) for obs_id in (2, 3, 4, 5)])


@pytest.fixture
def _registered():
    known = dict(method_registry.methods())
    register_method(MeanRate())
    register_method(FittedRate())
    yield
    method_registry.methods().clear()
    method_registry.methods().update(known)


@pytest.mark.usefixtures("_registered")
def test_method_makes_models_on_its_own_bins(runs, tmp_path):
    """The rates, bins and extrapolated planes are those of the method, in memory and in files."""
    report = make_bg_cube_models(runs, "GADF", tmp_path / "models", method="Mean-Rate", select="all")
    assert (report.settings["method"], report.settings["n_energy"], report.settings["n_fov"]) == ("mean-rate", 7, 6)
    for group in read_models(tmp_path / "models").models:
        model = group.model
        assert model.axes.shape == (7, 6, 6)
        assert model.method == "mean-rate"
        counts = (model.rate.quantity * model.stack.exposure).to_value("").sum(axis=(1, 2))
        exposed = model.exposed
        np.testing.assert_allclose(counts[exposed], model.stack.counts.sum(axis=(1, 2))[exposed] + 0.5, rtol=1e-6)
        assert np.flatnonzero(model.extrapolated).tolist() == [2]
        assert model.rate.quantity.value[3].tolist() == make_model(model.stack, "mean-rate").rate.quantity.value[3].tolist()


@pytest.mark.usefixtures("_registered")
def test_fitted_method_gets_single_runs(runs):
    """A method that sums by pointing is fitted to single runs, and evaluated at the mean pointing of each group."""
    made = make_models(runs, "GADF", method="fitted-rate", select="all")
    fitted = made.models.for_pointing
    assert fitted.n_cells == 4
    for group in made.models.models:
        np.testing.assert_allclose(group.model.rate.quantity, fitted.model.rate.quantity * group.alt_pnt)
        np.testing.assert_allclose(group.model.error.quantity, group.model.rate.quantity * 0.25)
    elsewhere = made.models.rate_for(55.0, 10.0)
    np.testing.assert_allclose(elsewhere.rate.quantity, fitted.model.rate.quantity * 55.0)
    assert elsewhere.weights == {}


@pytest.mark.usefixtures("_registered")
def test_command_line_knows_the_method(runs, tmp_path):
    """The name is accepted as an option, and listed in the help and in the error for unknown names."""
    output_of("make-bg-cube-models", runs, "GADF", tmp_path / "models", "--method", "mean-rate", "--select", "all")
    assert "mean-rate" in output_of("make-bg-cube-models", "--help")
    assert "mean-rate" in error_of("make-bg-cube-models", runs, "GADF", tmp_path / "other", "--method", "nonsense")


@pytest.mark.usefixtures("_registered")
def test_names_of_methods_are_unique():
    """Another method of the same name is refused; the same instance may be registered again."""
    with raises("exists", "classic"):
        register_method(type("Other", (MeanRate,), {"name": "classic"})())
    with raises("exists", "classic"):
        register_method(type("Other", (MeanRate,), {"name": "Classic"})())
    with raises("exists", "mean-rate"):
        register_method(type("Other", (MeanRate,), {"name": "other", "aliases": ("Mean-Rate",)})())
    with raises("invalid-argument", "aliases of a method", "'xy'"):
        register_method(type("Other", (MeanRate,), {"name": "other", "aliases": "xy"})())
    for name in (None, "", " other", "é", "a\nb"):
        with raises("invalid-argument", "name of a method"):
            register_method(type("Other", (MeanRate,), {"name": name})())
    register_method(method_registry.methods()["mean-rate"])


@pytest.mark.usefixtures("_registered")
def test_registered_methods_make_models(runs):
    """Earlier names of a registered method are accepted; what is no model is an error that names the method."""
    register_method(type("Broken", (MeanRate,), {"name": "broken", "aliases": ("cracked",), "make": lambda *_: None})())
    for name in ("broken", "Cracked"):
        with raises("invalid-argument", "broken", "BackgroundModel"):
            make_models(runs, "GADF", select="all", method=name, workers=1, progress=False)


class Entry:
    """Entry point of a package."""

    def __init__(self, name, load):
        self.name, self.value, self.load = name, f"package:{name}", load


def test_methods_of_packages_that_cannot_be_used(monkeypatch):
    """They are left out with a warning each, and do not replace methods of bgnb."""

    def broken():
        raise ImportError("No module named torch")

    good = type("Good", (MeanRate,), {"name": "good"})()
    own = type("Classic", (MeanRate,), {"name": "classic"})()
    loads = {"broken": broken, "type": lambda: MeanRate, "number": lambda: 3, "classic": lambda: own, "good": lambda: good}
    monkeypatch.setattr(method_registry, "entry_points", lambda **_: [Entry(*each) for each in loads.items()])
    before = method_registry.find_method("classic")
    with pytest.warns(UserWarning, match="cannot be used") as caught:
        found = method_registry.methods.__wrapped__()
    assert [str(each.message).split()[2] for each in caught] == ["broken", "type", "number", "classic"]
    assert found["classic"] is before
    assert found["good"] is good


def test_unknown_method_in_file():
    """A model of a method that is not installed keeps its rates; planes without livetime are extrapolated."""
    from tests.helpers.models import AXES, asymmetric_model

    model = asymmetric_model()
    livetime = model.stack.livetime_us.copy()
    livetime[0] = 0
    counts = np.where(livetime > 0, model.stack.counts, 0)
    stack = type(model.stack)(AXES, "ALTAZ", counts, livetime, model.stack.runs)
    other = BackgroundModel(model.rate, stack, "not-installed")
    assert np.flatnonzero(other.extrapolated).tolist() == [0]
    assert other.axes.energy[0] == 0.3 * u.TeV


def test_rate_without_unit_is_refused():
    """A method that forgets the unit of the rate, or of its error, gets an error with a code."""
    from tests.helpers.models import asymmetric_model

    model = asymmetric_model()
    bare = Cube(model.axes, model.rate.quantity.value * u.one)
    with raises("bad-unit", "rate", "1 / (MeV s sr)"):
        BackgroundModel(bare, model.stack, "mine")
    with raises("bad-unit", "error", "1 / (MeV s sr)"):
        BackgroundModel(model.rate, model.stack, "mine", bare)
