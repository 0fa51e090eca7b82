"""Production of models, from the command line and from Python."""

import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import bgnb
from bgnb import Runs, check_runs, cross_validate, make_bg_cube_models, read_groups, read_model, validate
from tests.helpers.commands import error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.files import digests, names
from tests.helpers.run_files import run, write_gadf, write_hess

SMALL = ["--select", "all", "--n-energy", "6", "--n-fov", "10"]


@pytest.mark.slow
def test_report_accounts_for_all_events(indir, tmp_path):
    """All files are written, and the report accounts for every event."""
    out = tmp_path / "out"
    output = output_of("make-bg-cube-models", indir, "GADF", out, *SMALL)
    report = json.loads((out / "report.json").read_text())
    assert [entry["obs_id"] for entry in report["runs"]] == [2, 3, 5, 6, 9, 11]
    for entry in report["runs"]:
        kinds = ("events_outside_gti", "events_below_threshold", "events_outside_axes", "counts")
        assert sum(entry[kind] for kind in kinds) == entry["events"] == 200 + 10 * entry["obs_id"]
        livetime = 720 if entry["obs_id"] == 3 else 1500 + entry["obs_id"]
        assert (entry["status"], entry["reason"], entry["livetime_s"]) == ("used", None, livetime)
    assert report["runs"][1]["events_outside_gti"] > 0
    # Altitude 55.5 or 75 by odd and even OBS_ID, azimuth 30 or 180 by multiples of 3.
    groups = {20: [5, 11], 21: [3, 9], 26: [2], 27: [6]}
    assert {g["group_id"]: g["n_runs"] for g in report["groups"]} == {key: len(value) for key, value in groups.items()}
    for group in report["groups"]:
        members = [entry for entry in report["runs"] if entry["group_id"] == group["group_id"]]
        assert [entry["obs_id"] for entry in members] == groups[group["group_id"]]
        assert group["counts"] == sum(entry["counts"] for entry in members)
        assert group["livetime_s"] == sum(entry["livetime_s"] for entry in members)
        model = read_model(out / group["files"][0])
        assert model.stack.counts.sum() == group["counts"]
        assert model.stack.livetime.max().value == group["livetime_s"]
        assert fits.getdata(out / group["files"][1]).shape == (6, 10, 10)
        assert group["files"][0] in output
    assert report["groups"][1]["az_mean_deg"] == pytest.approx(180, abs=1)
    assert len(read_groups(out / "bg_observation_groups.ecsv")) == 28
    table = Table.read(out / "bg_observation_table_grouped.fits.gz")
    assert dict(zip(table["OBS_ID"], table["GROUP_ID"], strict=True)) == {
        i: g for g, members in groups.items() for i in members
    }
    assert "GROUP_ID" not in Table.read(out / "bg_observation_table.fits.gz").colnames
    assert report["settings"]["n_fov"] == 10
    assert "6 of 6 runs used, 0 skipped" in output
    assert len(list(out.iterdir())) == 6 + 2 * 4


@pytest.mark.parametrize("scheme", ["GADF", "HESS", "FILES"])
def test_runs_that_are_replaced_while_they_are_read(tmp_path, monkeypatch, scheme):
    """Models, parts and tests are never made from runs of two data sets; files that are added do not matter."""
    write = write_hess if scheme == "HESS" else write_gadf
    indir, other = (write(tmp_path / name, [run(number, 300) for number in (202, 204)]) for name in ("in", "other"))
    axes = {"select": "all", "method": "classic", "n_energy": 6, "n_fov": 10}
    make_bg_cube_models(indir, scheme, tmp_path / "models", **axes)
    files, changes = Runs.files, []

    def add_file():
        (indir / "note.txt").touch()
        for path in indir.glob("*index*"):  # as a backup does
            path.chmod(0o640)
            os.link(path, tmp_path / f"{len(names(tmp_path))} {path.name}")

    def exchange():
        for old, new in ((indir, tmp_path / "aside"), (other, indir), (tmp_path / "aside", other)):
            old.rename(new)

    def files_of_changed(runs, obs_id):
        if changes:
            changes.pop()()
        return files(runs, obs_id)

    monkeypatch.setattr(Runs, "files", files_of_changed)
    for change in (add_file, exchange):
        functions = [
            lambda: make_bg_cube_models(indir, scheme, tmp_path / "out", overwrite=True, workers=1, **axes),
            lambda: make_bg_cube_models(indir, scheme, tmp_path / "part", overwrite=True, part="1/1", **axes),
            lambda: validate(tmp_path / "models", indir, scheme, select="all", n_energy=2),
        ]
        if scheme == "GADF":  # takes long
            functions.append(lambda: check_runs(indir, scheme, tmp_path / "models", select=[202]))
        for function in functions:
            changes.append(change)
            with nullcontext() if change is add_file else raises("changed", indir):
                function()
            assert not changes


def test_runs_that_are_replaced_during_the_last_prediction(tmp_path, monkeypatch):
    """Cross-validation never compares models with runs of another data set."""
    indir, other = (write_gadf(tmp_path / name, [run(number, 300) for number in (202, 204)]) for name in ("in", "other"))
    files, n_read = Runs.files, []

    def files_of_changed(runs, obs_id):
        n_read.append(obs_id)
        if len(n_read) == last:
            for old, new in ((indir, tmp_path / "aside"), (other, indir)):
                old.rename(new)
        return files(runs, obs_id)

    monkeypatch.setattr(Runs, "files", files_of_changed)
    options = {
        "select": "all",
        "method": "classic",
        "folds": 2,
        "energy_min": "0.2 TeV",
        "model_n_energy": 6,
        "model_n_fov": 10,
    }
    last = None
    cross_validate(indir, "GADF", **options)
    last = len(n_read)
    n_read.clear()
    with raises("changed", indir):
        cross_validate(indir, "GADF", **options)


@pytest.mark.slow
def test_order_of_index_has_no_effect(indir, tmp_path):
    """Function and command write the same bytes, for any order of the runs in the index."""
    make_bg_cube_models(indir, "GADF", tmp_path / "one", select="all", n_energy=6, n_fov=10)
    index = Table.read(indir / "obs-index.fits.gz")
    index[::-1].write(indir / "obs-index.fits.gz", overwrite=True)
    output_of("make-bg-cube-models", indir, "GADF", tmp_path / "two", *SMALL)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


@pytest.mark.slow
def test_all_schemes_give_the_same_models(tmp_path):
    """The same runs give equal models in all schemes."""
    parts, axes = [run(obs_id, 300) for obs_id in (2, 3)], {"select": "all", "n_energy": 6, "n_fov": 10}
    one = make_bg_cube_models(write_gadf(tmp_path / "g", parts), "GADF", tmp_path / "one", **axes)
    two = make_bg_cube_models(write_hess(tmp_path / "h", parts), "HESS", tmp_path / "two", **axes)
    three = make_bg_cube_models(tmp_path / "g" / "data", "FILES", tmp_path / "three", **axes)
    assert one.runs == two.runs == three.runs
    assert one.groups == two.groups == three.groups
    for group in one.groups:
        first, second, third = (read_model(tmp_path / name / group.files[0]) for name in ("one", "two", "three"))
        assert np.array_equal(first.rate.quantity, second.rate.quantity)
        assert np.array_equal(first.rate.quantity, third.rate.quantity)


@pytest.mark.slow
def test_reasons_of_skipped_runs(indir, tmp_path):
    """Runs near known sources or outside the groups are skipped, and the reason is reported."""
    two = run(2)  # and all others of the same pointing
    Table({"NAME": ["Here"], "RA": [two["RA_PNT"]], "DEC": [two["DEC_PNT"] + 1]}).write(tmp_path / "catalog.ecsv")
    output_of(
        *("make-bg-cube-models", indir, "GADF", tmp_path / "out"),
        *("--catalog", tmp_path / "catalog.ecsv", "--alt-edges", "40,60", "--az-edges", "0,360"),
    )
    reasons = {e["obs_id"]: e["reason"] for e in json.loads((tmp_path / "out" / "report.json").read_text())["runs"]}
    assert reasons[2] == "near a known source: Here, 1.00 deg"
    assert [obs_id for obs_id, reason in reasons.items() if reason is None] == [3, 5, 9, 11]


@pytest.mark.slow
def test_selection_by_run_list(indir, tmp_path):
    """Runs can be selected by a text file or a sequence of OBS_IDs, and invalid ones are refused."""
    (tmp_path / "list.txt").write_text("9  # good\n\n2\n")
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", select=tmp_path / "list.txt")
    assert [entry.obs_id for entry in report.runs if not entry.reason] == [2, 9]
    (tmp_path / "list.txt").write_text("9\nrun2\n")
    line = error_of("make-bg-cube-models", indir, "GADF", tmp_path / "x", "--select", tmp_path / "list.txt")
    assert "line 2: 'run2' is not an OBS_ID" in line
    report = make_bg_cube_models(indir, "GADF", tmp_path / "numbers", select=np.array([2, 5]), n_fov=np.int64(10))
    assert list(report.group_ids) == [2, 5]
    for select in (5, [2.5], ["2"], [None]):
        with raises("invalid-argument", "select", "'far', 'all'", "OBS_IDs"):
            make_bg_cube_models(indir, "GADF", tmp_path / "x", select=select)
    with raises("invalid-argument", "n_fov", "10.5"):
        make_bg_cube_models(indir, "GADF", tmp_path / "x", select="all", n_fov=10.5)


@pytest.mark.slow
def test_quick_test_takes_twenty_runs(tmp_path):
    """A quick test uses 20 runs, evenly spread, in two ranges of altitude."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 20) for obs_id in range(1, 31)])
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", test=True, select="all")
    used = [entry.obs_id for entry in report.runs if not entry.reason]
    assert len(used) == 20
    assert (min(used), max(used)) == (1, 30)
    assert read_groups(tmp_path / "out" / "bg_observation_groups.ecsv").alt_edges.value.tolist() == [0, 45, 90]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{in}", "FITS", "{out}"], ["SCHEME", "'FITS'", "'GADF', 'HESS', 'FILES'"]),
        (["{tmp}/none", "GADF", "{out}"], ["/none", "[not-found]"]),
        (["{foreign}", "GADF", "{out}"], ["/foreign", "obs-index.fits.gz", "[not-found]"]),
        (["{in}", "GADF", "{out}", "--method", "ring"], ["--method", "'ring'", "'spline', 'classic', 'michi', 'unsmoothed'"]),
        (["{in}", "GADF", "{tmp}"], ["[bad-target]"]),
        (["{in}", "GADF", "{in}/out", "--overwrite"], ["[bad-target]"]),
        (["{in}", "GADF", "{foreign}", "--overwrite"], ["/foreign", "notes.txt", "[foreign-files]"]),
        (["{in}", "GADF", "{foreign}/notes.txt"], ["/foreign/notes.txt", "[bad-target]"]),
        (["{in}", "GADF", "{foreign}/notes.txt/out"], ["/foreign/notes.txt", "[bad-target]"]),
        (["{in}", "GADF", "{out}", "--exclusion-radius", "180 deg"], ["6", "[no-runs]"]),
        (
            ["{in}", "GADF", "{out}", "--alt-edges", "10,20", "--select", "all"],
            ["6 altitude and azimuth outside", "[no-runs]"],
        ),
        (["{in}", "GADF", "{out}", "--select", "near"], ["select", "'far', 'all'", "near", "[not-found]"]),
        (["{in}", "GADF", "{out}", "--catalog", "{tmp}/none"], ["/none", "[not-found]"]),
        (["{in}", "GADF", "{out}", "--energy-min", "1 deg"], ["--energy-min", "1 deg", "[invalid-argument]"]),
        (
            ["{in}", "GADF", "{out}", "--min-livetime", "5"],
            ["Error: --min-livetime must", "'5 h' or '5 s'", "got '5' [invalid-argument]"],
        ),
        (["{in}", "GADF", "{out}", "--energy-min", "90 TeV"], ["--energy-min and --energy-max must", "[invalid-argument]"]),
        (["{in}", "GADF", "{out}", "--n-fov", "0"], ["--n-fov", "0", "[invalid-argument]"]),
        (["{in}", "GADF", "{out}", "--fovalign", "GALACTIC"], ["--fovalign", "'GALACTIC'", "'ALTAZ', 'RADEC'"]),
        (["{in}", "GADF", "{out}", "--alt-edges", "0,a"], ["--alt-edges", "'0,a'", "[invalid-argument]"]),
    ],
)
def test_mistakes_get_one_line_of_error(indir, tmp_path, arguments, words):
    """A mistake gives one line with the names concerned, status 2, and no output directory."""
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    places = {"in": indir, "out": tmp_path / "out", "tmp": tmp_path, "foreign": tmp_path / "foreign"}
    filled = [re.sub(r"{(\w+)}", lambda match: str(places[match[1]]), argument) for argument in arguments]
    line = error_of("make-bg-cube-models", *filled)
    for word in words:
        assert word in line
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_overwrite_replaces_what_bgnb_made(indir, tmp_path):
    """Only files that bgnb wrote are replaced, and only on success."""
    out, few = tmp_path / "out", {"n_energy": 4, "n_fov": 6}
    make_bg_cube_models(indir, "GADF", out, select="all", **few)
    with raises("exists", out):
        make_bg_cube_models(indir, "GADF", out, select="all", **few)
    make_bg_cube_models(indir, "GADF", out, select="all", **few, alt_edges=[0, 90], overwrite=True)
    assert sorted(path.name for path in out.glob("*table.fits.gz")) == [
        "bg_cube_model_group0_table.fits.gz",
        "bg_cube_model_group1_table.fits.gz",
        "bg_observation_table.fits.gz",
    ]
    # Files of others are never deleted.
    (out / "notes.txt").write_text("mine")
    with raises("foreign-files", out, "notes.txt"):
        make_bg_cube_models(indir, "GADF", out, select="all", **few, overwrite=True)
    (out / "notes.txt").unlink()
    # An error leaves the previous directory unchanged.
    before = digests(out)
    with raises("no-runs", indir):
        make_bg_cube_models(indir, "GADF", out, exclusion_radius="180 deg", overwrite=True)
    assert digests(out) == before


def test_help_teaches_with_examples():
    """The help of the command contains an example."""
    assert "bgnb make-bg-cube-models hess-dl3-dr1 GADF models" in output_of("make-bg-cube-models", "--help")


@pytest.mark.slow
def test_forty_real_runs_of_hess(hess_data, tmp_path):
    """All 40 runs are reported, and those that are skipped are near a source."""
    report = make_bg_cube_models(hess_data, "GADF", tmp_path / "far")
    reasons = {entry.obs_id: entry.as_dict()["reason"] for entry in report.runs}
    assert len(reasons) == 40
    assert reasons[23523] == "near a known source: Crab nebula, 0.50 deg"
    assert reasons[47802] == "near a known source: PKS 2155-304, 0.50 deg"
    assert reasons[21613] is None
    every = make_bg_cube_models(hess_data, "GADF", tmp_path / "all", select="all", method="unsmoothed", n_energy=6, n_fov=10)
    assert all(entry.reason is None for entry in every.runs)
    with fits.open(hess_data / "obs-index.fits.gz") as hdus:
        index = {int(row["OBS_ID"]): row for row in hdus[1].data}
    for entry in every.runs:
        assert entry.counted.events == index[entry.obs_id]["EVENT_COUNT"]
        assert entry.counted.livetime_s == pytest.approx(index[entry.obs_id]["LIVETIME"])
        assert entry.counted.energy_threshold_tev == pytest.approx(index[entry.obs_id]["SAFE_ENERGY_LO"])
    assert sum(entry.counted.events_outside_gti for entry in every.runs) > 0


def test_module_runs_as_the_command():
    """``python -m bgnb`` is the command."""
    done = subprocess.run([sys.executable, "-m", "bgnb", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == output_of("--version") == f"bgnb, version {bgnb.__version__}\n"


@pytest.mark.slow
def test_command_and_function_agree(indir, tmp_path):
    """Command and function have the same defaults."""
    (tmp_path / "runs.txt").write_text("2\n3\n")
    function = make_bg_cube_models(indir, "GADF", tmp_path / "function", select=tmp_path / "runs.txt")
    output_of("make-bg-cube-models", indir, "GADF", tmp_path / "command", "--select", tmp_path / "runs.txt")
    command = json.loads((tmp_path / "command" / "report.json").read_text())["settings"]
    assert command == json.loads(json.dumps(function.as_dict()))["settings"]
