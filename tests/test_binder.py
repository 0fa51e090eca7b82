"""What Binder builds, as far as that can be seen without Docker."""

import os
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.helpers.requirements import PROJECT, everything

ROOT = Path(__file__).parents[1]


def test_python_is_one_that_bgnb_runs_on():
    # With a folder binder/, Binder does not look at requires-python, and takes an old Python by itself.
    version = re.fullmatch(r"python-(3\.\d+)\n", (ROOT / "binder/runtime.txt").read_text())[1]
    assert version in SpecifierSet(PROJECT["requires-python"])


def test_requirements_are_those_of_the_package():
    lines = (ROOT / "binder/requirements.txt").read_text().splitlines()
    stated = {str(Requirement(line)) for line in lines if not line.startswith("#")}
    assert stated == {str(Requirement(text)) for text in everything()}


def test_post_build_installs_the_package_and_nothing_else():
    script = ROOT / "binder/postBuild"
    assert os.access(script, os.X_OK)
    assert b"\r" not in script.read_bytes()
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", script], check=True)
    (install,) = [line for line in script.read_text().splitlines() if "pip install" in line]
    assert {"--no-deps", "."} <= set(install.split())


def test_the_link_in_the_readme_opens_a_notebook_that_is_there():
    (link, *_) = re.findall(r"https://mybinder\.org/v2/[^\s)\"]+", (ROOT / "README.md").read_text())
    (place,) = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)["urlpath"]
    assert place == "lab/tree/notebooks/explore.ipynb"
    assert (ROOT / place.removeprefix("lab/tree/")).exists()


def test_what_binder_would_do():
    """With repo2docker installed: it finds our files, and takes our Python."""
    pytest.importorskip("repo2docker", reason="needs jupyter-repo2docker")
    made = subprocess.run(
        [sys.executable, "-m", "repo2docker", "--no-build", "--no-run", str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    assert "binder/requirements.txt" in made
    assert "binder/postBuild" in made
    assert "environment-2epy-2d3-2e12" in made  # environment.py-3.12, as it writes it
