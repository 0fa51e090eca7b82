"""The package alone in a fresh environment: models are made, and whatever needs an extra says so."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bgnb import make_bg_cube_models, make_test_dataset
from bgnb._util import compression

ROOT = Path(__file__).parents[1]
MAX_PACKAGES = 16
MAX_MEGABYTES = 320
COUNT = "from importlib.metadata import distributions; print(len({d.name for d in distributions()} - {'pip', 'setuptools'}))"
VALIDATE = "import bgnb; print(bgnb.validate('models', 'runs', 'GADF', select='all', progress=False).summary)"

# Commands that need an extra; after its name, their number.
NEED_EXTRA = {
    "plots 1": "validate models runs GADF",
    "plots 2": "cross-validate runs GADF",
    "plots 3": "compare-models models models",
    "notebooks 1": "run-notebook validate out.ipynb",
    "notebooks 2": "run-groups models reports",
    "dashboards 1": "lab models",
    "dask 1": "make-bg-cube-models runs GADF other --select all --scheduler tcp://10.0.0.1:8786",
}
# Run each of these commands, which ends with status 2.
REFUSED = """
import sys
from bgnb.cli.main import main
for command in sys.argv[1:]:
    try:
        main(command.split(), prog_name="bgnb")
    except SystemExit as end:
        assert end.code == 2, command
    else:
        raise AssertionError(command)
"""


def run(*command, **kwargs):
    """Run a program that does not see this checkout, and that keeps what Python compiles, as installing compiles nothing."""
    others = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, check=False, **kwargs)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A fresh environment with bgnb and no extra: its folder of programs."""
    home = tmp_path_factory.mktemp("bare") / "env"
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    if shutil.which("uv") and run("uv", "venv", "--python", sys.executable, home).returncode == 0:
        install = ("uv", "pip", "install", "--python", programs / "python")
    else:
        assert run(sys.executable, "-m", "venv", "--without-pip", home).returncode == 0
        install = (sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-compile")
    if run(*install, "tqdm").returncode:
        pytest.skip("needs a package index")
    installed = run(*install, ROOT)
    assert installed.returncode == 0, installed.stderr
    return programs


@pytest.fixture(scope="module")
def folder(bare, tmp_path_factory):
    """A folder with simulated runs, and models that the bare installation made."""
    folder = tmp_path_factory.mktemp("work")
    arguments = ("--n-runs", 4, "--trigger-rate", 2, "--alt-range", 60, 66, "--az-range", 100, 260)
    simulated = run(bare / "bgnb", "make-test-dataset", "runs", *arguments, cwd=folder)
    assert simulated.returncode == 0, simulated.stderr
    small = ("--select", "all", "--n-energy", 5, "--n-fov", 8)
    made = run(bare / "bgnb", "make-bg-cube-models", "runs", "GADF", "models", *small, cwd=folder)
    assert made.returncode == 0, made.stderr
    assert "4 of 4 runs used" in made.stdout
    assert made.stdout.count("pip install isal") == 1
    return folder


@pytest.mark.slow
def test_bare_installation_is_small(bare):
    assert int(run(bare / "python", "-c", COUNT).stdout) <= MAX_PACKAGES
    files = (path for path in bare.parent.rglob("*") if path.is_file() and path.suffix != ".pyc")
    size = sum(path.lstat().st_size for path in files)
    assert size / 2**20 <= MAX_MEGABYTES


@pytest.mark.slow
def test_bare_installation_makes_models(bare, folder):
    assert run(bare / "bgnb", "check", "models", cwd=folder).returncode == 0
    validated = run(bare / "python", "-c", VALIDATE, cwd=folder)
    assert validated.returncode == 0, validated.stderr


@pytest.mark.slow
def test_bare_commands_name_their_extra(bare, folder):
    """Commands that need an extra are refused with its name, in one line each; a process runs them one after the other."""
    before = sorted(folder.rglob("*"))
    refused = run(bare / "python", "-c", REFUSED, *NEED_EXTRA.values(), cwd=folder)
    assert refused.returncode == 0, refused.stderr
    lines = refused.stderr.splitlines()
    assert len(lines) == len(NEED_EXTRA)
    for line, (extra, command) in zip(lines, NEED_EXTRA.items(), strict=True):
        assert line.startswith("Error: "), command
        assert line.endswith(f"pip install '.[{extra.split()[0]}]' [extra-missing]"), command
    assert sorted(folder.rglob("*")) == before


@pytest.mark.slow
def test_engines_write_equal_content(tmp_path, monkeypatch):
    """With isal or with zlib: files differ in their compressed bytes only."""
    make_test_dataset(tmp_path / "runs", n_runs=2, trigger_rate=4.0, progress=False)
    small = {"select": "all", "workers": 1, "n_energy": 5, "n_fov": 8}
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "isal", **small)
    monkeypatch.setattr(compression, "HAS_ISAL", False)
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "zlib", **small)
    files = {path.name for path in (tmp_path / "isal").iterdir()}
    assert files == {path.name for path in (tmp_path / "zlib").iterdir()}
    for name in files - {"manifest.json"}:
        one, other = ((tmp_path / engine / name).read_bytes() for engine in ("isal", "zlib"))
        if name.endswith(".gz"):
            assert one != other
            one, other = gzip.decompress(one), gzip.decompress(other)
        assert one == other, name
