"""Notes that `BackgroundMaker` logs."""

from dataclasses import replace

import pytest

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.data import DataStore, EventList

from bgnb import Cube
from bgnb.gammapy import BackgroundMaker, make_models
from tests.helpers.gammapy_datasets import empty_map, filled
from tests.helpers.gammapy_runs import write_rotating_runs

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture
def observations(tmp_path):
    """Observations without a background."""
    return DataStore.from_dir(write_rotating_runs(tmp_path / "runs")).get_observations(required_irf=["aeff"])


def test_notes_are_logged(observations, caplog):
    """Observations that differ from the runs of the models are logged: one line per observation and note."""
    small = {"select": "all", "method": "classic", "n_energy": 6, "n_fov": 8, "progress": False}
    made = make_models(observations[:1], fov_max="8 deg", **small).models
    (group,) = made.models
    run = group.model.stack.runs[0]
    old = replace(run, mjd=run.mjd - 400, n_tels=2)
    many = replace(group.model.stack, runs=(old,), counts=20 * group.model.stack.counts)
    model = replace(group.model, stack=many, rate=Cube(group.model.rate.axes, 20 * group.model.rate.quantity))
    maker = BackgroundMaker(replace(made, models=(replace(group, model=model),)))
    caplog.clear()
    maker.make_irf(observations[0])
    lines = [record.getMessage() for record in caplog.records if record.name == "bgnb.gammapy"]
    assert {record.levelname for record in caplog.records if record.name == "bgnb.gammapy"} == {"WARNING"}
    for line, word in zip(lines, ("90 days", "N_TELS", "standard deviations", "the observed rate is 0.05"), strict=True):
        assert word in line
        assert " 1" in line
    caplog.clear()
    maker.run(filled(empty_map(observations[0]), observations[0]), observations[0])
    assert [record.getMessage() for record in caplog.records if record.name == "bgnb.gammapy"] == lines
    caplog.clear()
    BackgroundMaker(made).make_irf(observations[0])
    assert not [record for record in caplog.records if record.name == "bgnb.gammapy"]
    narrow = make_models(observations[:1], fov_max="1 deg", events="ENERGY > 0.2", **small).models
    BackgroundMaker(narrow, events="ENERGY > 0.2").make_irf(observations[0])
    selected, outside = (record.getMessage() for record in caplog.records if record.name == "bgnb.gammapy")
    assert "Gammapy reads all events" in selected
    assert "outside the field of view of the models" in outside


def test_notes_on_events_are_logged(observations, caplog):
    """Notes on the events of an observation, such as on a gap that is cut out of the livetime, are logged."""
    made = make_models(observations[1:], select="all", method="classic", n_energy=6, n_fov=8, progress=False).models
    observation = observations[0]
    since = (observation.events.table["TIME"] - observation.events.table["TIME"][0]).to_value("s")
    observation.events = EventList(observation.events.table[(since < 300) | (since > 700)])
    caplog.clear()
    BackgroundMaker(made).make_irf(observation)
    lines = [record.getMessage() for record in caplog.records if record.name == "bgnb.gammapy"]
    assert [line for line in lines if line.startswith("there are no events in 40")], lines
