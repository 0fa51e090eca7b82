"""Configuration of Binder, as far as it can be tested without Docker."""

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


def test_python_version_is_supported():
    """The version of Python is stated: with a folder binder/, Binder ignores requires-python and takes an old one."""
    version = re.fullmatch(r"python-(3\.\d+)\n", (ROOT / "binder/runtime.txt").read_text())[1]
    assert version in SpecifierSet(PROJECT["requires-python"])


def test_requirements_are_those_of_bgnb():
    """The requirements for Binder are those of bgnb with all extras."""
    lines = (ROOT / "binder/requirements.txt").read_text().splitlines()
    stated = {str(Requirement(line)) for line in lines if not line.startswith("#")}
    assert stated == {str(Requirement(text)) for text in everything()}


def test_post_build_installs_only_bgnb():
    """The script installs bgnb without dependencies, so that these are not built again for each commit."""
    script = ROOT / "binder/postBuild"
    assert os.access(script, os.X_OK)
    assert b"\r" not in script.read_bytes()
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", script], check=True)
    (install,) = [line for line in script.read_text().splitlines() if "pip install" in line]
    assert {"--no-deps", "."} <= set(install.split())


def test_readme_link_opens_a_notebook():
    """The link to Binder in the README opens an existing notebook."""
    (link, *_) = re.findall(r"https://mybinder\.org/v2/[^\s)\"]+", (ROOT / "README.md").read_text())
    (address,) = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)["urlpath"]
    assert address == "lab/tree/notebooks/explore.ipynb"
    assert (ROOT / address.removeprefix("lab/tree/")).exists()


@pytest.mark.slow
def test_repo2docker_uses_our_files():
    """repo2docker finds the requirements, the script and the version of Python."""
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
    assert "environment-2epy-2d3-2e12" in made  # environment.py-3.12, in its notation
