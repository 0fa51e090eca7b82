"""Wheel, source distribution and their version: the same sources make the same bytes."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bgnb import __version__
from tests.helpers.requirements import PYPROJECT

ROOT = Path(__file__).parents[1]
FILES = [name.strip("/") for name in PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]]
FILES += ["pyproject.toml", "README.md", "LICENSE", ".gitignore"]
BUILD = "import sys, hatchling.build as build; print(getattr(build, 'build_' + sys.argv[1])(sys.argv[2]))"


def copy_of_sources(folder, mtime, mode):
    """Copy the sources, with other times of change and permissions, as another clone has."""
    left_out = shutil.ignore_patterns("__pycache__", "_build", "api", "explore_runs", "explore_models", ".ipynb_checkpoints")
    for name in FILES:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=left_out)
        else:
            shutil.copy(source, target)
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=mtime % 2 == 1)):
        if path.is_file():
            path.chmod(path.stat().st_mode & 0o100 | mode)
        os.utime(path, (mtime + number, mtime + number))
    return folder


def run_notebooks(folder):
    """Leave what notebooks that were run leave behind, which git ignores."""
    for name in ("explore_runs/run.fits", ".ipynb_checkpoints/explore-checkpoint.ipynb"):
        (folder / "notebooks" / name).parent.mkdir()
        (folder / "notebooks" / name).write_text("private")


def test_citation_and_changelog_name_this_version():
    """CITATION.cff has the version of the package, and the changelog begins with it, without the suffix of development."""
    citation = (ROOT / "CITATION.cff").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1] == __version__
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == __version__.partition(".dev")[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_builds_are_reproducible(tmp_path, kind):
    """Two clones, of different times and permissions, make the same bytes; they contain the package and its notebooks.

    In one of them, notebooks were run; their results are not in a release.
    """
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    made = []
    for clone, mtime, mode in (("one", 1_500_000_000, 0o644), ("other/place", 1_700_000_001, 0o664)):
        (tmp_path / clone).mkdir(parents=True)
        folder = copy_of_sources(tmp_path / clone, mtime, mode)
        if clone == "one":
            run_notebooks(folder)
        command = [sys.executable, "-c", BUILD, kind, tmp_path / f"dist-{mtime}"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made.append(tmp_path / f"dist-{mtime}" / done.stdout.strip())
    one, other = made
    assert __version__ in one.name
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()
    shutil.unpack_archive(one, tmp_path / "unpacked", "zip" if kind == "wheel" else "gztar")
    notebooks = [path.name for path in tmp_path.glob("unpacked/**/*.ipynb")]
    assert sorted(notebooks) == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert not list(tmp_path.glob("unpacked/**/*.fits"))
    if kind == "wheel":
        with zipfile.ZipFile(one) as wheel:
            names = set(wheel.namelist())
            metadata = wheel.read(f"bgnb-{__version__}.dist-info/METADATA").decode()
        links = re.findall(r"\]\((.*?)\)", metadata)
        assert len(links) > 10
        assert [link for link in links if not link.startswith("https://")] == []
        assert "![The dashboards of models and of comparisons in use](https://raw." in metadata
        assert {"bgnb/__init__.py", "bgnb/__init__.pyi", "bgnb/py.typed", "bgnb/notebooks/ipynb/validate.ipynb"} <= names
        assert {name.partition("/")[0] for name in names} == {"bgnb", f"bgnb-{__version__}.dist-info"}
