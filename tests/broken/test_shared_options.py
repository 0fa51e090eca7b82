"""Options that several commands share select the same runs, count the same events and refuse the same values in all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from astropy.table import Table

import bgnb
from bgnb.cli.main import COMMANDS
from tests.helpers.errors import raises
from tests.helpers.files import changed_file
from tests.helpers.run_files import ONTIME, run, write_gadf

GOOD, TRUSTED, ALLOWED, BELOW = {1, 2, 3, 4}, 5, 6, 7
NEAR, MASKED = 2, 3
CONDITION = "ENERGY > 2"
AXES = {"n_energy": 4, "n_fov": 6}

#: What a command did: the counts of each run that it used, and all its numbers.
Outcome = tuple[dict[int, int], str]


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """Write runs, of which three are skipped, models of the others, a catalogue and a circle."""
    path = tmp_path_factory.mktemp("shared")
    runs = {
        obs_id: run(obs_id, 3000, pointing=(75.0 - 10 * (obs_id % 2), 30.0 * obs_id))
        for obs_id in (*GOOD, TRUSTED, ALLOWED, BELOW)
    }
    runs[TRUSTED] |= {"DEADC": 0.1, "LIVETIME": ONTIME}
    runs[ALLOWED] |= {"DEADC": None, "LIVETIME": None}
    write_gadf(path / "in", list(runs.values()))
    with changed_file(path / "in" / "data" / f"run{BELOW}.fits.gz") as hdus:
        for name in ("EVENTS", "GTI"):
            hdus[name].header["MJDREFI"] += 200
    options = AXES | {"select": "all", "workers": 1, "progress": False, "fovalign": "RADEC"}  # which suits pointing="header"
    bgnb.make_bg_cube_models(path / "in", "GADF", path / "models", **options)
    bgnb.make_bg_cube_models(path / "in", "GADF", path / "models of selected events", events=CONDITION, **options)
    for name, near, columns in (("sources", NEAR, {}), ("circle", MASKED, {"RADIUS": [1.0]})):
        position = {"RA": [runs[near]["RA_PNT"]], "DEC": [runs[near]["DEC_PNT"] + 1.0]}
        Table(position | columns, units=dict.fromkeys([*position, *columns], "deg")).write(path / f"{name}.ecsv")
    return path


def _inspect(path: Path, _: Path, options: dict[str, Any]) -> Outcome:
    found = bgnb.inspect(path / "in", "GADF", **options)
    usable = found.table[found.table["STATUS"] == "usable"]
    counts = {int(row["OBS_ID"]): int(row["EVENTS"]) for row in usable if row["FAR"] or options.get("select") != "far"}
    return counts, f"{found.table.pformat(max_width=-1)} {found.groups}"


def _make(path: Path, out: Path, options: dict[str, Any]) -> Outcome:
    report = bgnb.make_bg_cube_models(
        path / "in", "GADF", out / "models", **{"method": "classic", "workers": 1} | AXES | options
    )
    counts = {run.obs_id: run.counted.counts for run in report.runs if run.counted and not run.reason}
    return counts, f"{report.groups} {bgnb.read_models(out / 'models').models[0].model.rate.quantity}"


def _models(path: Path, options: dict[str, Any]) -> Path:
    return path / ("models of selected events" if "events" in options else "models")


def _attach(path: Path, out: Path, options: dict[str, Any]) -> Outcome:
    attached = bgnb.attach(_models(path, options), path / "in", "GADF", out / "store", **options)
    return {run.obs_id: run.norm.counts for run in attached.runs if not run.reason and run.norm}, str(attached.runs)


def _validated(validation: Any) -> Outcome:
    table = validation.table
    return {int(row["OBS_ID"]): int(row["COUNTS"]) for row in table}, str(table.pformat(max_width=-1, max_lines=-1))


def _validate(path: Path, _: Path, options: dict[str, Any]) -> Outcome:
    return _validated(bgnb.validate(_models(path, options), path / "in", "GADF", **options))


def _cross_validate(path: Path, _: Path, options: dict[str, Any]) -> Outcome:
    axes = {f"model_{name}": number for name, number in AXES.items()}
    (validation,) = bgnb.cross_validate(path / "in", "GADF", **{"method": "classic", "folds": 2} | axes | options).values()
    return _validated(validation)


def _check_runs(path: Path, _: Path, options: dict[str, Any]) -> Outcome:
    checks = bgnb.check_runs(path / "in", "GADF", _models(path, options), **{"offset_max": "1 deg"} | options)
    return {run.obs_id: run.norm.counts for run in checks.runs}, str(checks.table.pformat(max_width=-1, max_lines=-1))


FUNCTIONS: dict[str, Callable[[Path, Path, dict[str, Any]], Outcome]] = {
    "inspect": _inspect,
    "make-bg-cube-models": _make,
    "attach": _attach,
    "validate": _validate,
    "cross-validate": _cross_validate,
    "check-runs": _check_runs,
}
OPTIONS = {
    command.name: {option.name for option in command.params if option.param_type_name == "option"}
    for commands in COMMANDS.values()
    for command in commands
    if command.name in FUNCTIONS
}
SHARED = {name for options in OPTIONS.values() for name in options if sum(name in other for other in OPTIONS.values()) > 1}


@dataclass(frozen=True, kw_only=True)
class Case:
    """An option, and its effect in all commands that have it.

    Parameters
    ----------
    value : object
        Value of the option.
    wrong : object
        Value that is refused.
    code : str
        Code of this refusal.
    others : dict
        Other options with and without this one; commands ignore those that they do not have.
    used : set of int
        Runs that are used.
    counted : set of int, optional
        Runs whose counts change; by default none. None where it depends on the command.
    """

    value: Any
    wrong: Any
    code: str
    others: dict[str, Any] = field(default_factory=lambda: {"select": "all"})
    used: frozenset[int] | set[int] = frozenset(GOOD)
    counted: frozenset[int] | set[int] | None = frozenset()


FAR = {"select": "far", "catalog": "sources.ecsv"}
MASK = FAR | {"select": "all", "sources": "mask"}
CASES = {
    "select": Case(value=[1, 3, 4], used={1, 3, 4}, wrong=[1, 99], code="not-found"),
    "catalog": Case(value="sources.ecsv", others={"select": "far"}, used=GOOD - {NEAR}, wrong="none.ecsv", code="not-found"),
    "exclusion_radius": Case(value="0.5 deg", others=FAR, wrong="1 TeV", code="invalid-argument"),
    "sources": Case(value="mask", others=FAR, wrong="hide", code="unknown-choice"),
    "mask_radius": Case(value="2 deg", others=MASK, counted={NEAR}, wrong="1 TeV", code="invalid-argument"),
    "exclude": Case(value="circle.ecsv", counted={MASKED}, wrong="none.reg", code="not-found"),
    "min_livetime": Case(value="1 h", wrong="1 deg", code="invalid-argument"),
    "alt_edges": Case(value=[0, 70, 90], wrong=[0, 0], code="invalid-value"),
    "az_edges": Case(value=[0, 100, 360], wrong=[0, 0], code="invalid-value"),
    "fovalign": Case(value="RADEC", counted=None, wrong="GALACTIC", code="unknown-choice"),
    "method": Case(value="spline", wrong="magic", code="unknown-choice"),
    "rate_interpolation": Case(value="none", wrong="cubic", code="unknown-choice"),
    "model_lookup": Case(value="nearest", others={"select": "all", "method": "spline"}, wrong="first", code="unknown-choice"),
    "energy_min": Case(value="2 TeV", counted=GOOD, wrong="1 deg", code="invalid-argument"),
    "energy_max": Case(value="2 TeV", counted=GOOD, wrong="1 deg", code="invalid-argument"),
    "n_energy": Case(value=3, counted=None, wrong=0, code="invalid-argument"),
    "pixel": Case(value="1 deg", counted=None, wrong="1 TeV", code="invalid-argument"),
    "offset_max": Case(value="1.5 deg", counted=None, wrong="1 TeV", code="invalid-argument"),
    "pointing": Case(
        value="header", others={"select": "all", "fovalign": "RADEC"}, used=GOOD | {BELOW}, wrong="index", code="unknown-choice"
    ),
    "trust": Case(value="livetime", used=GOOD | {TRUSTED}, wrong="me", code="unknown-choice"),
    "allow": Case(value="missing-livetime", used=GOOD | {ALLOWED}, wrong="all", code="unknown-choice"),
    "events": Case(value=CONDITION, counted=GOOD, wrong="ENERGY >", code="bad-condition"),
    "test": Case(value=True, wrong="yes", code="invalid-argument"),
}
#: Options on errors, output and computing, which change no number; other tests try them.
WITHOUT_EFFECT = {"on_error", "overwrite", "workers", "config", "scheduler"}


def _outcome(name: str, directory: Path, out: Path, options: dict[str, Any]) -> Outcome:
    known = {option: value for option, value in options.items() if option in OPTIONS[name]}
    files = {option: directory / value for option, value in known.items() if option in ("catalog", "exclude")}
    return FUNCTIONS[name](directory, out, known | files | {"progress": False})


@pytest.fixture(scope="module")
def without(directory, tmp_path_factory):
    """Return the outcome of a command with some options, computed once."""
    known: dict[tuple[str, str], Outcome] = {}

    def look_up(name: str, options: dict[str, Any]) -> Outcome:
        key = name, str(options)
        if key not in known:
            known[key] = _outcome(name, directory, tmp_path_factory.mktemp("without"), options)
        return known[key]

    return look_up


def test_all_shared_options_are_tried():
    """An option that becomes one of several commands needs a case."""
    assert CASES.keys() | WITHOUT_EFFECT == SHARED


@pytest.mark.parametrize("option", CASES)
def test_shared_option_has_one_effect(directory, tmp_path, without, option):
    """The same runs are used, and the counts of the same runs change, in all commands with the option; none ignores it."""
    case = CASES[option]
    found = {}
    for name in (name for name, options in OPTIONS.items() if option in options):
        counts, numbers = _outcome(name, directory, tmp_path / name, case.others | {option: case.value})
        before, numbers_before = without(name, case.others)
        assert numbers != numbers_before, f"{name} ignores {option}"
        changed = {obs_id for obs_id in counts.keys() & before.keys() if counts[obs_id] != before[obs_id]}
        found[name] = set(counts), None if case.counted is None else changed
    assert found == dict.fromkeys(found, (case.used, case.counted))


@pytest.mark.parametrize("option", CASES)
def test_shared_option_has_one_refusal(directory, tmp_path, option):
    """A value that cannot be used is refused in the same words by all commands with the option."""
    case = CASES[option]
    texts = {}
    for name in (name for name, options in OPTIONS.items() if option in options):
        with raises(case.code) as caught:
            _outcome(name, directory, tmp_path / name, case.others | {option: case.wrong})
        texts[name] = str(caught.value)
    assert len(set(texts.values())) == 1, texts


def test_all_commands_say_that_no_run_is_far_from_sources(directory, tmp_path):
    """If all runs are near a known source, each command that selects runs says so, and how to use them."""
    Table({"RA": [0.0], "DEC": [0.0], "EXTENSION": [90.0]}, units=dict.fromkeys(("RA", "DEC", "EXTENSION"), "deg")).write(
        directory / "sky.ecsv"
    )
    for name in FUNCTIONS.keys() - {"inspect"}:
        with raises("no-runs", "near a known source", "--select all"):
            _outcome(name, directory, tmp_path / name, {"select": "far", "catalog": "sky.ecsv"})


def test_pointing_of_the_header_needs_models_in_radec(directory, tmp_path):
    """Commands without the option for the frame say how to make models that suit them."""
    options = {"select": [1, 2], "method": "classic", "workers": 1, "progress": False}
    bgnb.make_bg_cube_models(directory / "in", "GADF", tmp_path / "models", fovalign="ALTAZ", **options)
    (tmp_path / "in").symlink_to(directory / "in")
    for name in ("attach", "validate", "check-runs"):
        with raises("conflicting-arguments", "make the models with --fovalign RADEC"):
            _outcome(name, tmp_path, tmp_path / name, {"select": [1, 2], "pointing": "header"})
