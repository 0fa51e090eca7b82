"""An ordinary user, whose home directory is read-only, missing or that of another user, and who cannot write where bgnb is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.helpers.processes import PATIENCE, ROOT
from tests.helpers.run_files import run, write_gadf

# A user whom the system does not know, and who has no home directory unless HOME says so.
_NOBODY = 54321
# The user may read everything, as the interpreter may be in the home directory of root.
_READ = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
_AS_USER = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *_READ)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a directory of the user, with one for temporary files, and a home directory of root, which is not writable."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("the tests do not run as root, who may become another user")
    start = [*_AS_USER, sys.executable, "-c", ""]
    if not shutil.which("setpriv") or subprocess.run(start, capture_output=True).returncode:
        pytest.skip("needs the program setpriv, and the right to give a process the capability dac_read_search")
    with TemporaryDirectory() as name:  # only root has access to those of pytest
        folder = Path(name)
        (folder / "home").mkdir(mode=0o555)
        (folder / "tmp").mkdir()
        for path in (folder, folder / "tmp"):
            os.chown(path, _NOBODY, _NOBODY)
        yield folder


def output_of(folder: Path, home: str | None, *arguments: object) -> str:
    """Run a command as this user; it succeeds and writes nothing to standard error. Return its output."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}
    env |= {"HOME": home} if home else {}
    command = [*_AS_USER, sys.executable, "-P", "-m", "bgnb", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


@pytest.mark.slow
def test_read_only_home(folder):
    """Models are made and drawn, runs are simulated, and a notebook is executed, without a word of a library."""
    home = str(folder / "home")
    indir = write_gadf(folder / "in", [run(obs_id, 100) for obs_id in (2, 4)])
    style = ("--select", "all", "--n-energy", "5", "--n-fov", "8", "--method", "classic")
    output_of(folder, home, "make-bg-cube-models", indir, "GADF", "models", *style)
    output_of(folder, home, "plot", "models", "--panels", "image", "--dpi", 50, "-o", "picture.png")
    assert (folder / "picture.png").exists()
    output_of(folder, home, "make-test-dataset", "simulated", "--n-runs", 1, "--trigger-rate", 1)
    output_of(folder, home, "run-notebook", "group_report", "out.ipynb", "-p", "modeldir", "models", "-p", "group_id", "26")
    streams = [each for cell in json.loads((folder / "out.ipynb").read_text())["cells"] for each in cell.get("outputs", [])]
    assert any("image/png" in each.get("data", ()) for each in streams)
    assert not [each for each in streams if each.get("name") == "stderr"]
    (kept,) = folder.glob("tmp/*")
    assert (kept.stat().st_uid, kept.stat().st_mode & 0o777) == (_NOBODY, 0o700)


@pytest.mark.slow
def test_no_home(folder):
    """Runs are read without a home directory."""
    indir = write_gadf(folder / "in", [run(obs_id, 100) for obs_id in (2, 4)])
    assert "2 usable" in output_of(folder, None, "inspect", indir, "GADF")


@pytest.mark.parametrize("name", ["JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "XDG_DATA_HOME"])
def test_directories_of_jupyter_that_another_user_left(folder, name):
    """Jupyter can write its data although a variable, such as that of the user before `su`, names a directory of another."""
    (folder / "of-root").mkdir(mode=0o755)
    (folder / "own").mkdir()
    os.chown(folder / "own", _NOBODY, _NOBODY)
    code = (
        "import os; from bgnb.files.caches import writable_places; os.environ.update(writable_places())\n"
        "from jupyter_core.paths import jupyter_data_dir, jupyter_path, jupyter_runtime_dir\n"
        "for path in (jupyter_data_dir(), jupyter_runtime_dir()): os.makedirs(path, exist_ok=True); open(path + '/new', 'w')\n"
        "print(jupyter_path())\n"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), "HOME": str(folder / "own")}
    env |= {name: str(folder / "of-root")}
    done = subprocess.run([*_AS_USER, sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)
    assert name != "JUPYTER_DATA_DIR" or repr(str(folder / "of-root")) in done.stdout
