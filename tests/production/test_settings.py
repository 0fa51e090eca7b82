"""Settings from functions, options and files, and their storage in ``report.json``."""

import inspect
import json
import re
import subprocess
import sys

import click
import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from click.shell_completion import ShellComplete

from bgnb import make_bg_cube_models
from bgnb._util.setting_kinds import Flag, Number, Numbers, Value, Whole
from bgnb.cli.main import main
from bgnb.cubes.method import methods
from bgnb.production.settings import ProductionSettings, RunSelection
from tests.helpers.commands import error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.files import digests
from tests.helpers.run_files import run, write_gadf

#: Settings that differ from the defaults, as arguments, and as a TOML file.
CHANGED = {
    "method": "michi",
    "alt_edges": [0, 60, 90],
    "energy_min": 300 * u.GeV,
    "select": [2, 3, 5],
    "n_energy": 6,
    "n_fov": 10,
}
TOML = 'method = "michi"\nalt_edges = [0, 60, 90]\nenergy-min = "300 GeV"\nselect = [2, 3, 5]\nn_energy = 6\nn_fov = 10\n'


@pytest.fixture
def indir(tmp_path):
    return write_gadf(tmp_path / "in", [run(obs_id, 200 + obs_id) for obs_id in (2, 3, 5, 6)])


@pytest.mark.slow
@pytest.mark.parametrize("source", ["toml", "report"])
def test_config_repeats_a_production(indir, tmp_path, source):
    """A TOML file of settings or an earlier report gives all files of a directory again, byte for byte."""
    make_bg_cube_models(indir, "GADF", tmp_path / "first", **CHANGED)
    config = tmp_path / "first" / "report.json"
    if source == "toml":
        config = tmp_path / "settings.toml"
        config.write_text(TOML)
    output_of("make-bg-cube-models", indir, "GADF", tmp_path / "again", "--config", config)
    assert len(digests(tmp_path / "first")) >= 7
    assert digests(tmp_path / "again") == digests(tmp_path / "first")


def test_options_take_precedence(indir, tmp_path):
    """Options on the command line replace settings of the file, also if they have the value of the default."""
    (tmp_path / "settings.toml").write_text(TOML)
    changes = ["--method", "classic", "--n-fov", "8", "--config", tmp_path / "settings.toml"]
    output_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", *changes)
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]
    assert (settings["method"], settings["n_fov"], settings["n_energy"]) == ("classic", 8, 6)
    assert (settings["select"], settings["alt_edges_deg"]) == ([2, 3, 5], [0, 60, 90])
    assert settings["energy_min_tev"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("name", "content", "code", "word"),
    [
        ("settings.toml", "colour = 3", "unknown-choice", "colour"),
        ("settings.toml", "# für alle\ncolour = 3".encode("latin-1"), "unknown-choice", "colour"),
        ("settings.toml", "n_fov = 8".encode("utf-16"), "bad-config", "save it as UTF-8"),
        ("settings.toml", "x" * 5000 + " = 1", "unknown-choice", "xxx"),
        ("settings.toml", "energy_mn = 3", "unknown-choice", "did you mean energy_min?"),
        ("settings.toml", "method = ", "bad-config", "TOML"),
        ("settings.toml", "\x00", "bad-config", "TOML"),
        ("report.json", "{", "bad-config", "report.json"),
        ("report.json", "[]", "bad-config", "report.json"),
        ("report.json", '{"runs": []}', "bad-config", "settings"),
        ("report.json", '{"settings": {"catalog": "table"}}', "bad-config", "catalog"),
        ("report.json", '{"settings": {"fov_max_deg": {}}}', "invalid-argument", "fov_max"),
        ("report.json", '{"settings": {"n_fov": 8, "n_fov": 9}}', "bad-config", "'n_fov' is given twice"),
        ("report.json", '{"settings": [8]}', "bad-config", "no object 'settings'"),
        ("settings.toml", "a" + ".a" * 200 + " = 1", "bad-config", "parts"),  # memory grows as the square of their number
        ("settings.toml", "#" * (1 << 20) + "\nn_fov = 8", "too-large", "1 MiB"),
        ("report.json", r'{"settings": {"select": "\ud800"}}', "not-found", "select"),
        ("settings.toml", r'select = "a\u0000b"', "not-found", "select"),
        ("settings.toml", "events = 0.7", "bad-condition", "column"),
        ("settings.toml", None, "not-found", "No such file"),
        ("settings.toml", 'energy_min = "1 TeV"\nenergy_min_tev = 2', "conflicting-arguments", "energy_min_tev"),
        ("settings.toml", "n-fov = 8\nn_fov = 9", "conflicting-arguments", "n_fov"),
        ("settings.toml", "energy_min = 300", "invalid-argument", "energy_min"),
        ("settings.toml", "energy_min_tev = true", "invalid-argument", "energy_min"),
        ("settings.toml", "min_livetime_s = -1", "invalid-argument", "min_livetime"),
        ("settings.toml", "mask_radius_deg = 0", "invalid-argument", "mask_radius"),
        ("settings.toml", 'n_fov = "8"', "invalid-argument", "n_fov"),
        ("settings.toml", "test = 1", "invalid-argument", "test"),
        ("settings.toml", 'alt_edges = ["low"]', "invalid-argument", "0,45,90"),
        ("settings.toml", 'method = "none"', "unknown-choice", "michi"),
    ],
)
def test_invalid_config_is_refused(indir, tmp_path, name, content, code, word):
    """The error names the file, and the setting if there is one."""
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    line = error_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", "--config", tmp_path / name)
    assert line.startswith(f"Error: {tmp_path / name}: ")
    assert word in line
    assert len(line) < 2000
    assert line.endswith(f"[{code}]")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_report_of_a_table_is_refused(indir, tmp_path):
    """A catalogue in memory cannot be read again."""
    catalog = Table({"RA": [10.0], "DEC": [80.0]})
    make_bg_cube_models(indir, "GADF", tmp_path / "first", catalog=catalog, n_energy=6, n_fov=10)
    config = tmp_path / "first" / "report.json"
    line = error_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", "--config", config)
    assert line.startswith(f"Error: {config}: ")
    assert "catalog" in line
    assert line.endswith("[bad-config]")


@pytest.mark.parametrize("name", ProductionSettings.declared())
def test_settings_appear_everywhere(name):
    """Each setting is an argument and an option, is documented and is stored."""
    declared = ProductionSettings.declared()[name].metadata["declaration"]
    signature = inspect.signature(make_bg_cube_models)
    assert name in signature.parameters
    words = " ".join(make_bg_cube_models.__doc__.split())
    assert f" {name} : " in words
    if name not in ("indir", "scheme"):  # described by the function itself
        described = f"{declared.help} By default {declared.default_text}." if declared.default_text else declared.help
        assert described in words
    assert max(map(len, make_bg_cube_models.__doc__.splitlines())) <= 100
    assert name in {option.name for option in main.commands["make-bg-cube-models"].params}
    stored = ProductionSettings(indir="in", scheme="GADF").as_dict()
    assert name + declared.kind.suffix in stored
    assert len(stored) == len(ProductionSettings.declared())


@pytest.mark.parametrize("changes", [{}, CHANGED, {"min_livetime": "5 h", "test": True, "n_fov": np.int64(8)}])
def test_stored_settings_are_restored(changes):
    """Settings survive conversion to JSON and back."""
    settings = ProductionSettings.from_options({"indir": "in", "scheme": "hess"} | changes)
    stored = json.loads(json.dumps(settings.as_dict()))
    assert ProductionSettings.from_dict(stored) == settings
    assert ProductionSettings.from_dict(stored).as_dict() == stored


@pytest.mark.parametrize(
    ("kind", "valid", "invalid"),
    [
        (Number(above=0, maximum=2), [1e-9, 1, 2.0], [0, -1, 2.1, np.inf, "1", True, None]),
        (Number(), [-1e9, 0, 1e9], [np.nan]),
        (Value("deg", minimum=0), ["0 deg", "60 arcmin", 1 * u.rad], ["-1 deg", "1 s", "1", 1, True, [1, 2] * u.deg]),
        (Value("s", above=0), ["1e-9 s", "5 h"], ["0 s", "-1 s"]),
        (Whole(), [1, np.int64(2)], [0, 1.0, "1", True]),
        (Whole(minimum=0), [0], [-1]),
        (Flag(), [True, False], [0, "yes", None]),
        (Numbers("deg"), ["0,45,90", [0, 45], [0, 1] * u.rad], [5, "low", ["low"], [0, 45] * u.m]),
    ],
)
def test_kinds_check_their_values(kind, valid, invalid):
    """Values at the limits are valid; others are errors that name the setting."""
    for value in valid:
        checked = kind.check("width", value)
        assert kind.check("width", kind.from_json(json.loads(json.dumps(kind.to_json(checked))))) == checked
    for value in invalid:
        with raises("invalid-argument", "width"):
            kind.check("width", value)


def test_examples_of_numbers_fit_the_kind():
    """Errors show an example of numbers of the same type."""
    with raises("invalid-argument", "0,45,90"):
        Numbers("deg").check("alt_edges", "low")
    with raises("invalid-argument", "4,8,15"):
        Numbers(type=int).check("n_train", "low")


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"exclusion_radius": "-1 deg"}, "invalid-argument", ["exclusion_radius"]),
        ({"select": "all", "exclusion_radius": "1 deg"}, "no-effect", ["exclusion_radius", "select = far"]),
        ({"select": "all", "catalog": "sources.ecsv"}, "no-effect", ["catalog", "select = far", "sources = mask"]),
        ({"mask_radius": "1 deg"}, "no-effect", ["mask_radius", "sources = mask"]),
        ({"sources": "mask", "exclusion_radius": "1 deg"}, "no-effect", ["exclusion_radius", "sources = drop"]),
        ({"energy_min": "90 TeV"}, "invalid-argument", ["energy_min", "energy_max"]),
        ({"energy_min": "1 deg"}, "invalid-argument", ["energy_min", "an energy with a unit", "'1 TeV'", "'1 deg'"]),
        ({"mask_radius": "10 TeV"}, "invalid-argument", ["mask_radius", "an angle with a unit", "'1 deg'", "'10 TeV'"]),
        ({"min_livetime": "5 TeV"}, "invalid-argument", ["min_livetime", "a time with a unit", "'1 h'", "'5 TeV'"]),
        ({"min_livetime": 5}, "invalid-argument", ["min_livetime", "a time with a unit", "'5 h'", "got 5"]),
    ],
)
def test_invalid_combinations_are_refused(changes, code, words):
    """Settings that contradict each other or have no effect are errors."""
    with raises(code, *words):
        ProductionSettings.from_options({"indir": "in", "scheme": "GADF"} | changes)


def test_defaults_depend_on_other_settings(tmp_path):
    """The number of bins depends on the method, and the edges of groups on ``test``; values given are kept."""
    required = {"indir": tmp_path, "scheme": "gadf"}
    spline = ProductionSettings.from_options(required | {"method": "spline", "n_fov": 8})
    assert (spline.binning.n_energy, spline.binning.n_fov) == (30, 8)
    assert ProductionSettings.from_options(required | {"method": "michi"}).binning.n_energy == 20
    quick = ProductionSettings.from_options(required | {"test": True, "exclusion_radius": "0 deg", "catalog": tmp_path / "c"})
    assert quick.as_dict()["alt_edges_deg"] == [0, 45, 90]
    assert quick.as_dict()["catalog"] == str(tmp_path / "c")
    edges = ProductionSettings.from_options(required | {"test": True, "alt_edges": "0,90"}).as_dict()["alt_edges_deg"]
    assert edges == [0, 90]


def test_help_names_other_names_of_methods():
    """The help of the method names the other names that are accepted."""
    others = [(alias, method.name) for alias, method in methods().items() if alias != method.name]
    assert ("default", "classic") in others
    text = " ".join(output_of("make-bg-cube-models", "--help").split())
    for alias, name in others:
        assert re.search(rf"name {alias} .*is accepted for {name}", text)


def test_help_states_numbers_of_values():
    """Options of two values have a placeholder for each, and options that may be repeated say so."""
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in main.list_commands(context)}
    options = [each for command in commands.values() for each in command.params if isinstance(each, click.Option)]
    assert len(options) > 100
    for each in options:
        assert each.nargs == 1 or len(each.make_metavar(context).split()) == each.nargs, each.opts
        assert not each.multiple or "may be repeated" in each.help.lower(), each.opts


def test_completion_offers_the_methods():
    """Shell completion offers the names of the methods."""
    complete = ShellComplete(main, {}, "bgnb", "_BGNB_COMPLETE")
    found = complete.get_completions(["make-bg-cube-models", "--method"], "")
    assert [item.value for item in found] == ["spline", "classic", "michi", "unsmoothed"]
    assert [item.value for item in complete.get_completions(["make-bg-cube-models", "--method"], "mi")] == ["michi"]


def test_command_line_switches_off_what_a_file_switches_on(indir, tmp_path):
    """A flag that is set in the file is unset by its negative option."""
    config = tmp_path / "settings.toml"
    config.write_text("test = true\nmethod = 'unsmoothed'\n")
    for given, expected in (([], True), (["--no-test"], False)):
        outdir = tmp_path / f"out{expected}"
        output_of("make-bg-cube-models", indir, "GADF", outdir, "--config", config, *given)
        assert json.loads((outdir / "report.json").read_text())["settings"]["test"] is expected


def test_directory_as_config_is_refused(indir, tmp_path):
    """A directory in place of the file is an error with its name."""
    line = error_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", "--config", tmp_path)
    assert line.startswith(f"Error: {tmp_path}: ")
    assert line.endswith("[not-a-file]")


@pytest.mark.parametrize(("name", "value"), [("energy_min", "0.2 TeV"), ("energy_min_tev", 0.2), ("energy-min", "200 GeV")])
def test_units_of_stored_quantities(name, value):
    """Quantities have their unit in the value or in the name."""
    settings = ProductionSettings.from_dict({"indir": "in", "scheme": "GADF", name: value})
    assert settings.binning.energy_min == pytest.approx(0.2)


def test_help_imports_no_numerics():
    """The help of the command is shown without importing NumPy, SciPy, Astropy or Matplotlib."""
    command = [sys.executable, "-X", "importtime", "-m", "bgnb", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert {"bgnb", "click"} <= imported
    assert not {"numpy", "astropy", "scipy", "matplotlib"} & imported
    assert "make-bg-cube-models" in done.stdout


def test_each_command_has_a_docstring():
    """Each command and option has a help text."""
    for name, command in main.commands.items():
        assert command.help, name
        for each in command.params:
            assert not isinstance(each, click.Option) or each.help, (name, each.name)


def test_booleans_are_not_run_numbers():
    """A mask of runs is not taken for the runs 0 and 1."""
    with raises("invalid-argument", "select"):
        RunSelection(select=[True, True, 2])
    assert RunSelection(select=iter((2, 1))).select == (2, 1)
