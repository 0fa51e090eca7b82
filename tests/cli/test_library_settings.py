"""Settings of libraries, in variables of the environment and in files, that would end or block a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgnb._util.library_settings import forget_library_settings
from tests.helpers.files import names
from tests.helpers.model_directories import model_directory
from tests.helpers.processes import PATIENCE, ROOT


def run(folder: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder with models; there is at most one line of errors."""
    model_directory(folder / "models")
    env = {name: value for name, value in os.environ.items() if name not in ("MPLCONFIGDIR", "XDG_CONFIG_HOME")}
    env |= {"PYTHONPATH": str(ROOT), **variables}
    line = [sys.executable, "-m", "bgnb", *command.split()]
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert len(done.stderr.splitlines()) <= 1, done.stderr
    return done


@pytest.mark.slow
def test_variables_of_libraries_are_ignored(tmp_path):
    """Values that a library refuses change nothing."""
    variables = dict.fromkeys(("MPLBACKEND", "BOKEH_LOG_LEVEL", "TQDM_MININTERVAL"), "nonsense")
    assert run(tmp_path, "compare-models models models out --energies 1TeV", **variables).returncode == 0


@pytest.mark.parametrize("where", ["cwd", "variable", "directory", "config", "xdg", "home"])
def test_blocking_settings_of_matplotlib_are_refused(tmp_path, where):
    """A pipe from which Matplotlib would read its settings is named."""
    place = {"xdg": "matplotlib", "home": ".config/matplotlib"}.get(where, ".")
    folder = tmp_path / ("." if where == "cwd" else "elsewhere") / place
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe := folder / "matplotlibrc")
    variables = {
        "cwd": {},
        "variable": {"MATPLOTLIBRC": str(pipe)},
        "directory": {"MATPLOTLIBRC": str(folder)},
        "config": {"MPLCONFIGDIR": str(folder)},
        "xdg": {"XDG_CONFIG_HOME": str(folder.parent)},
        "home": {"HOME": str(tmp_path / "elsewhere")},
    }
    done = run(tmp_path, "plot models -o p.png", **variables[where])
    assert done.returncode == 2
    assert "matplotlibrc: is a pipe" in done.stderr
    assert done.stderr.endswith("[not-a-file]\n")
    assert "p.png" not in names(tmp_path)


def test_settings_of_another_user_are_not_computed(tmp_path):
    """Matplotlib computes a property cycle, which a file of somebody else in the current directory may make endless."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    (tmp_path / "matplotlibrc").write_text("axes.prop_cycle: cycler('color', 'r' * 100000000)\n")
    os.chown(tmp_path / "matplotlibrc", 12345, -1)
    done = run(tmp_path, "plot models -o p.png")
    assert (done.returncode, "matplotlibrc: is a file of another user" in done.stderr) == (2, True)


def test_names_that_no_file_can_have_are_no_settings(tmp_path):
    """A place that cannot be examined has no settings, as for Matplotlib."""
    done = run(tmp_path, "plot models --dpi 30 -o p.png", MATPLOTLIBRC="x" * 300)
    assert (done.returncode, done.stderr) == (0, "")


def test_programs_of_the_user_keep_their_settings(tmp_path):
    """JupyterLab and other programs that a command starts for its user get the settings that the command itself ignores."""
    code = "from bgnb._util import library_settings as s; import os; s.forget_library_settings(os.environ)"
    code += "; print('MPLBACKEND' in os.environ, s.environment_of_user()['MPLBACKEND'])"
    env = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "False agg\n"


def test_wrong_variables_of_jupyter_are_removed():
    """Empty and relative parts of lists, which name directories of somebody else, and a port that is a URL are removed."""
    there, also = str(Path("there").absolute()), str(Path("also").absolute())
    environment = {
        "JUPYTER_PATH": os.pathsep.join(["", there, ".", "~", also]),
        "JUPYTER_CONFIG_PATH": os.pathsep.join([there, ""]),
        "JUPYTER_CONFIG_DIR": "",
        "IPYTHONDIR": "ipython",
        "PYTHONSTARTUP": "startup.py",
        "JUPYTERLAB_DIR": f"{there}{os.pathsep}07",
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_PREFER_ENV_PATH": "0",
        "XDG_DATA_HOME": "data",
        "JUPYTER_TOKEN": "word",
        "JUPYTER_PORT": "tcp://10.0.0.1:8888",
        "PATH": "",
    }
    forget_library_settings(environment)
    kept = {"JUPYTER_CONFIG_PATH": there, "JUPYTERLAB_DIR": f"{there}{os.pathsep}07", "JUPYTER_TOKEN": "word", "PATH": ""}
    kept |= {"JUPYTER_PLATFORM_DIRS": "1", "JUPYTER_PREFER_ENV_PATH": "0", "JUPYTER_PATH": os.pathsep.join([there, also])}
    assert environment == kept
    forget_library_settings(numbered := {"JUPYTER_PORT": "8899"})
    assert numbered == {"JUPYTER_PORT": "8899"}


def test_damaged_settings_of_matplotlib_are_refused(tmp_path):
    """A file of settings that is no text is named, before a notebook is started."""
    (tmp_path / "matplotlibrc").write_bytes(b"\xff")
    done = run(tmp_path, "run-groups models reports")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("[unreadable]\n")
    assert names(tmp_path) == {"models", "matplotlibrc"}
