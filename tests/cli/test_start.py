"""Commands start fast: what they import before they print their help, refuse their arguments, and make models."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bgnb.cli.main import COMMANDS
from bgnb.files.output_directory import new_directory, only_writer
from tests.helpers.run_files import run, write_gadf

_CODE = "import atexit, sys; from bgnb.__main__ import main; atexit.register(lambda: print(*sys.modules)); main()"
_NAMES = [str(command.name) for commands in COMMANDS.values() for command in commands]
# Commands with an OUTDIR, without it.
_MAKING = (
    ("inspect", "runs", "GADF"),
    ("make-bg-cube-models", "runs", "GADF"),
    ("merge", "parts"),
    ("attach", "models", "runs", "GADF"),
    ("validate", "models", "runs", "GADF"),
    ("cross-validate", "runs", "GADF"),
    ("check-runs", "runs", "GADF", "models"),
    ("compare-models", "models", "others"),
    ("make-test-dataset",),
    ("run-groups", "models"),
)


def imports_of(*arguments: object, status: int = 0, error: str = "") -> set[str]:
    """Run a command in a new process, check its exit status and its error, and return the modules that it imported."""
    done = subprocess.run([sys.executable, "-c", _CODE, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert error in done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_help_imports_no_astropy():
    """Neither Astropy nor SciPy is imported for help, and NumPy only for that of methods; one process prints all."""
    assert "numpy" not in imports_of("--help")
    code = (
        "import sys; from bgnb.cli.main import main\n"
        "for name in sys.argv[1:]:\n    main([name, '--help'], standalone_mode=False)\n"
        "    print('Imported after', name, {'astropy', 'scipy'} & {*sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *_NAMES], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [f"Imported after {name} set()" for name in _NAMES]
    assert [name for name in _NAMES if f" {name} " not in done.stdout] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("runs", "GADF"), "OUTDIR"),
        (("runs", "GADF", "out", "--nonsense"), "--nonsense"),
        (("runs", "GADFF", "out"), "GADFF"),
        (("runs", "GADF", "out", "--method", "nonsense"), "unsmoothed"),
        (("runs", "GADF", "out", "--fovalign", "nonsense"), "RADEC"),
        (("runs", "GADF", "out", "--n-energy", "many"), "many"),
    ],
)
def test_wrong_arguments_import_no_astropy(arguments, named):
    """Arguments are refused before Astropy and SciPy are imported."""
    assert not {"astropy", "scipy"} & imports_of("make-bg-cube-models", *arguments, status=2, error=named)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", _MAKING, ids=lambda arguments: arguments[0])
def test_existing_outdir_is_refused_first(tmp_path, arguments):
    """An OUTDIR that exists is refused before the input is read, and Astropy and SciPy are imported."""
    with new_directory(tmp_path / "out", overwrite=False, kind="models") as directory:
        (directory / "file").touch()
    assert not {"astropy", "scipy"} & imports_of(*arguments, tmp_path / "out", status=2, error="[exists]")


def test_picture_of_unknown_format_is_refused_first(tmp_path):
    """A file of an unknown format is refused before Astropy and SciPy are imported."""
    for name in ("a.txt", ".png"):
        file = tmp_path / name
        assert not {"astropy", "scipy"} & imports_of("plot", "models", "-o", file, status=2, error="[invalid-argument]")


def test_notebooks_are_read_without_the_grammar_of_addresses(tmp_path):
    """Reading a notebook does not compile the grammar of IRIs, which took 2 s of each command."""
    (tmp_path / "wrong.ipynb").write_text("{}")
    modules = imports_of("run-notebook", tmp_path / "wrong.ipynb", tmp_path / "out.ipynb", status=2, error="[bad-notebook]")
    assert "nbformat" in modules
    assert "lark" not in modules


def test_outdir_in_use_is_refused_first(tmp_path):
    """An OUTDIR that another process is making is refused before Astropy and SciPy are imported."""
    out = tmp_path / "out"
    with only_writer(out):
        assert not {"astropy", "scipy"} & imports_of("make-bg-cube-models", "runs", "GADF", out, status=2, error="[in-use]")
    imports_of("make-bg-cube-models", tmp_path / "runs", "GADF", out, status=2, error="[not-found]")


@pytest.mark.parametrize("arguments", [("make-bg-cube-models", "here", "GADF"), ("merge", "other", "here")], ids=" ".join)
def test_outdir_in_input_is_refused_first(tmp_path, arguments):
    """An OUTDIR in the input is refused before Astropy and SciPy are imported."""
    given = [tmp_path if name == "here" else name for name in arguments]
    assert not {"astropy", "scipy"} & imports_of(*given, tmp_path / "out", status=2, error="[bad-target]")


@pytest.mark.parametrize("date", ["", "today", "1e9", "9" * 20])
@pytest.mark.parametrize("arguments", [("make-bg-cube-models", "runs", "GADF", "out"), ("inspect", "runs", "GADF")])
def test_wrong_date_is_refused_first(tmp_path, monkeypatch, date, arguments):
    """A date for the files that is no number of seconds, which libraries cannot read, is refused before the input is read."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", date)
    monkeypatch.chdir(tmp_path)
    imports_of(*arguments, status=2, error="SOURCE_DATE_EPOCH must be")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spline", "classic", "unsmoothed"])
def test_models_import_little_of_scipy(tmp_path, method):
    """Of SciPy, only the linear algebra is imported, and only by methods that use it."""
    write_gadf(tmp_path / "runs", [run(number, 100) for number in range(1, 5)])
    small = ("--n-energy", 5, "--n-fov", 8, "--select", "all")
    modules = imports_of("make-bg-cube-models", tmp_path / "runs", "GADF", tmp_path / "out", "--method", method, *small)
    parts = {"scipy.interpolate", "scipy.ndimage", "scipy.optimize", "scipy.sparse", "scipy.stats", "astropy.wcs"}
    assert not parts & modules
    assert ("scipy" in modules) == (method != "unsmoothed")
    assert (tmp_path / "out").is_dir()
