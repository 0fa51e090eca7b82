"""Errors, hints and paths of commands are those of the command line: options, quoted words, paths as they were given."""

import shlex
from pathlib import Path

import click
import pytest

from bgnb import make_bg_cube_models, make_test_dataset, read_exclusions
from bgnb.cli.main import main
from bgnb.cli.options_from_settings import Command
from tests.helpers.commands import command, error_of, output_of
from tests.helpers.errors import raises

FEW_BINS = ("--select", "all", "--method", "classic", "--n-energy", 4, "--n-fov", 8)
SMALL = {"n_energy": 4, "n_fov": 8, "select": "all", "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a folder with runs and models whose names contain spaces."""
    folder = tmp_path_factory.mktemp("as typed")
    make_test_dataset(folder / "my runs", n_runs=3, trigger_rate=3, progress=False)
    make_bg_cube_models(folder / "my runs", "GADF", folder / "my models", method="classic", **SMALL)
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_all_commands_name_options():
    """Every command translates its errors."""
    assert all(isinstance(each, Command) for each in main.commands.values())


def test_home_directory(tmp_path, monkeypatch):
    """A ~ that the shell kept, because it is quoted, is the home directory in all paths."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    output_of("make-test-dataset", "~/runs", "--n-runs", 2, "--trigger-rate", 1)
    (tmp_path / "list.txt").write_text("1\n")
    (tmp_path / "circles.csv").write_text("RA,DEC,RADIUS\n1,2,0.1\n")
    output_of("inspect", "~/runs", "GADF", "~/overview", "--select", "~/list.txt", "--catalog", "~/circles.csv")
    read_exclusions("~/circles.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"here", "runs", "list.txt", "circles.csv", "overview"}
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("each", [each for each in main.commands.values() if any(p.name == "scheme" for p in each.params)])
def test_choices_have_one_spelling(each):
    """Commands list the layouts of runs as the documentation spells them, and ignore case."""
    (scheme,) = (parameter for parameter in each.params if parameter.name == "scheme")
    with click.Context(each) as context:
        assert scheme.type.convert("gadf", scheme, context) == "GADF"
        assert [found.value for found in scheme.type.shell_complete(context, scheme, "")] == ["GADF", "HESS", "FILES"]
        with pytest.raises(click.BadParameter, match="'GADF', 'HESS', 'FILES'"):
            scheme.type.convert("other", scheme, context)
        assert "GADF" in scheme.type.get_missing_message(scheme, context)


@pytest.mark.parametrize("each", main.commands.values())
def test_empty_paths_are_refused(each):
    """A variable of the shell that is not set does not stand for the current directory."""
    for parameter in each.params:
        if isinstance(parameter.type, click.Path):
            with click.Context(each) as context, pytest.raises(click.BadParameter, match="empty"):
                parameter.type.convert("", parameter, context)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("make-bg-cube-models in GADF out --n-energy 0", "--n-energy must be a whole number"),
        ("make-bg-cube-models in GADF out --workers 0", "--workers must be"),
        ("make-bg-cube-models in GADF out --part 3", "--part must be"),
        ("make-bg-cube-models in GADF out --mask-radius '1 deg'", "--mask-radius has an effect only with --sources mask"),
        ("make-bg-cube-models in GADF out --energy-min '90 TeV'", "--energy-min and --energy-max must be increasing"),
        (
            "make-bg-cube-models in GADF out --fovalign ALTAZ --pointing header",
            "--fovalign ALTAZ needs times, which --pointing",
        ),
        ("cross-validate in GADF out --model-energy-min '90 TeV'", "--model-energy-min and --model-energy-max must"),
        ("cross-validate in GADF out --min-livetime '5 deg'", "--min-livetime must be a time with a unit"),
        (
            "compare-models 'my models' 'my models' out --energies 5",
            "each of the energies must be an energy with a unit, such as '5 TeV'",
        ),
        ("compare-models 'my models' 'my models' out --energies '500 TeV'", "none of the energies lies within"),
        ("compare-models 'my models' 'my models' out --normalise some", "unknown --normalise 'some'"),
        ("compare-models 'my models' 'my models' 'my runs'", "my runs: exists already; use --overwrite to replace it"),
        ("make-true-reco out --test --n-runs 3", "--n-runs has no effect with --test"),
        ("make-test-dataset out --elongation 2 --fovalign RADEC", "--elongation 2 needs --fovalign ALTAZ"),
        ("make-test-bg-cube-model true.fits --altitude 70", "--altitude must be an angle with a unit"),
        ("run-groups 'my models' out --workers 0", "--workers must be"),
        ("run-notebook group_report out.ipynb --timeout -1", "--timeout must be above 0"),
        ("run-groups 'my models' out --timeout -1", "--timeout must be above 0"),
        ("inspect in GADF --trust header --trust index", "--trust header contradicts --trust index"),
        ("validate events 'my runs' GADF out", "events: there is no such directory"),  # a path, not the option
    ],
)
def test_errors_name_options(here, arguments, text):
    """Errors name the options of the command, not the arguments of the function in Python."""
    words = shlex.split(arguments)
    words = [str(here / "my runs") if word == "in" else word for word in words]
    assert text in error_of(*words)
    assert not Path("out").exists()


def test_python_names_its_arguments(folder):
    """The same errors in Python name arguments, and how to write them there."""
    with raises("no-effect", "mask_radius has an effect only with sources = mask"):
        make_bg_cube_models(folder / "my runs", "GADF", folder / "out", mask_radius="1 deg")
    with raises("exists", "use overwrite = True"):
        make_bg_cube_models(folder / "my runs", "GADF", folder / "my models")


def hint(output: str) -> list[str]:
    """Return the words of the command that the last line of an output advises."""
    *_, line = output.splitlines()
    return shlex.split(line[line.rindex(": bgnb ") + 2 :])


def test_hints_can_be_pasted(here):
    """Commands in hints are quoted, with the paths that the user gave; the one to compare models works."""
    output = output_of("make-bg-cube-models", "my runs", "GADF", "other models", *FEW_BINS)
    assert hint(output) == ["bgnb", "lab", "other models"]
    output = output_of("make-true-reco", "a truth", "--test", "--trigger-rate", 2, "--n-energy", 4, "--n-fov", 8)
    bgnb, *words = hint(output)
    assert (bgnb, words) == ("bgnb", ["compare-models", "a truth/true", "a truth/reco", "a truth/comparison"])
    parsed = main.commands["compare-models"].make_context("compare-models", words[1:])
    assert parsed.params["outdir"] == Path("a truth/comparison")
    output = output_of("attach", "my models", "my runs", "GADF", 'a "store"')
    call = output.splitlines()[-1].partition("DataStore.from_dir(")[2]
    assert eval(call.partition(").get_obs")[0]) == 'a "store"'


def test_damaged_models_point_to_check(here):
    """The error of a damaged directory of models ends with the command that lists what is damaged."""
    file = next(Path("my models").glob("bg_cube_model_*_table.fits.gz"))
    content = file.read_bytes()
    try:
        file.write_bytes(content[:2000])
        for arguments in (("validate", "my models", "my runs", "GADF", "out"), ("compare", "my models", "my models", "out")):
            line = error_of(*arguments)
            assert str(file) in line
            advice = line.partition(": bgnb ")[2].rpartition(" [")[0]
            assert advice == "check 'my models'"
        result = command(*shlex.split(advice))
        assert result.exit_code == 1
        assert file.name in result.output
    finally:
        file.write_bytes(content)


def test_paths_are_as_given(here):
    """Runs and notebooks are named by the paths that the user gave, relative or absolute."""
    file = next(Path("my runs").rglob("run*.fits.gz"))
    content = file.read_bytes()
    try:
        file.write_bytes(content[:2000])
        for indir in ("my runs", here / "my runs", Path("..", here.name, "my runs")):
            for options in (("--on-error", "fail"), ()):
                result = command("make-bg-cube-models", indir, "GADF", "new", *FEW_BINS, "--test", "--overwrite", *options)
                assert f"{indir}/{file.relative_to('my runs')}: is truncated" in result.output
                assert (str(here) in result.output) == Path(indir).is_absolute()
    finally:
        file.write_bytes(content)


def test_earlier_name_of_simulated_sources_is_refused(tmp_path):
    """--sources is the treatment of known sources in all commands that have it; simulations point to the new name."""
    for name in ("--sources", "--source"):
        assert "--point-source" in error_of("make-test-dataset", tmp_path / "out", name, "Crab,83.6,22,0.1")
    owners = [
        name
        for name, each in main.commands.items()
        if any("--sources" in option.opts for option in each.params if isinstance(option, click.Option))
    ]
    assert sorted(owners) == ["cross-validate", "make-bg-cube-models", "validate"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("validate", "my models", "my runs", "GADF", "validated"),
        ("check-runs", "my runs", "GADF", "my models", "checked", "--select", "all"),
        ("compare-models", "my models", "my models", "compared", "--energies", "1 TeV", "--workers", 1),
    ],
)
def test_columns_have_a_legend(here, monkeypatch, arguments):
    """Each column of a printed table, except names of GADF and plain words, is explained below it."""
    monkeypatch.setattr("bgnb.validation.compare_models._draw_group", lambda _: (b"", b""))
    monkeypatch.setattr("bgnb.plots.static._save", lambda *_, **__: b"")
    lines = output_of(*arguments).splitlines()
    rule = next(number for number, line in enumerate(lines) if set(line) == {"-", " "})
    columns = lines[0].split()
    explained = {word.strip(".,:") for line in lines[rule:] if ": " in line for word in line.split()}
    plain = {"OBS_ID", "GROUP_ID", "ALT_PNT", "AZ_PNT", "EVENTS", "VERDICT"}
    assert len(columns) > 5
    assert [column for column in columns if column not in plain and not {column, column.partition("_")[0]} & explained] == []
