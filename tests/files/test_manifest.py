"""Comparison of directories with their manifests, by `bgnb check`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256

import pytest

import bgnb
from bgnb.files.manifest import MANIFEST
from bgnb.files.output_directory import new_directory
from tests.helpers.commands import command, error_of
from tests.helpers.errors import raises
from tests.helpers.files import names
from tests.helpers.processes import PATIENCE


def test_check_names_each_problem(models, tmp_path):
    """Missing, changed and foreign files are listed."""
    out = shutil.copytree(models, tmp_path / "out")
    result = command("check", out)
    assert (result.exit_code, result.output) == (0, f"{out}: all {len(names(out))} files are as bgnb wrote them\n")
    (out / "report.json").unlink()
    (out / "mine.txt").touch()
    changed = out / "bg_observation_table.fits.gz"
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    result = command("check", out)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"{changed}: was changed after bgnb wrote it, or is damaged",
        f"{out / 'mine.txt'}: was not written by bgnb",
        f"{out / 'report.json'}: is missing",
    ]


def test_files_of_another_size_are_not_read(models, tmp_path):
    """A file that became larger than any disk is changed, which is known at once."""
    out = shutil.copytree(models, tmp_path / "out")
    os.truncate(out / "report.json", 1 << 40)
    done = subprocess.run([sys.executable, "-m", "bgnb", "check", out], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, f"{out / 'report.json'}: was changed after bgnb wrote it, or is damaged\n")


@pytest.mark.slow
def test_check_detects_each_bit(tmp_path):
    """Each changed bit of a file or of the manifest is detected, and a changed link."""
    with new_directory(tmp_path / "out", overwrite=False, kind="models") as directory:
        (directory / "folder").mkdir()
        (directory / "folder" / "file").write_bytes(b"some text")
        (directory / "link").symlink_to("folder")
    assert bgnb.check(tmp_path / "out") == dict.fromkeys(["folder/file", "link", MANIFEST])
    for name in ("folder/file", MANIFEST):
        path = tmp_path / "out" / name
        content = path.read_bytes()
        for bit in range(8 * len(content)):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            try:
                assert any(bgnb.check(tmp_path / "out").values()), (name, bit)
            except bgnb.BgnbError as error:
                assert error.code == "not-a-model"  # noqa: PT017
        path.write_bytes(content)
    (tmp_path / "out" / "link").unlink()
    (tmp_path / "out" / "link").symlink_to("elsewhere")
    assert [name for name, problem in bgnb.check(tmp_path / "out").items() if problem] == ["link"]


@pytest.mark.parametrize(
    ("manifest", "exit_code", "start", "end"),
    [
        (None, 2, "Error: {path}: ", "[not-a-model]"),
        ('{"creator": "somebody"}', 2, "Error: {path}: its manifest.json", "[not-a-model]"),
        ("[]", 2, "Error: {path}: its manifest.json", "[not-a-model]"),
        ("[" * 100_000, 2, "Error: {path}: its manifest.json", "[not-a-model]"),
        ('{"creator": "bgnb", "fi', 1, "{path}/manifest.json: is damaged", ""),
        ('{"creator": "bgnb", "kind": "models", "files": 3}', 1, "{path}/manifest.json: is damaged", ""),
        ('{"creator": "bgnb", "kind": "x", "files": {}}', 1, "{path}/manifest.json: is damaged", ""),
        ("\udcff", 1, "{path}/manifest.json: is damaged", ""),
    ],
    ids=["none", "foreign", "list", "deep", "truncated", "number", "kind", "binary"],
)
def test_check_describes_manifest(tmp_path, manifest, exit_code, start, end):
    """Directories of others are errors; damaged manifests are problems."""
    (tmp_path / "a").touch()
    if manifest:
        (tmp_path / MANIFEST).write_bytes(os.fsencode(manifest))
    result = command("check", tmp_path)
    assert result.exit_code == exit_code
    (only,) = result.output.splitlines()
    assert only.startswith(start.format(path=tmp_path))
    assert only.endswith(end)


def test_check_reads_no_files_elsewhere(tmp_path):
    """Names in a manifest that lead out of the directory, also through a link, are those of missing files."""
    (tmp_path / "secret").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    names = ("../secret", f"{tmp_path}/secret", "link/secret", "a\0b", "\ud800")
    sums = dict.fromkeys(names, f"0 {sha256().hexdigest()}") | {"link": sha256(bytes(tmp_path)).hexdigest()}
    (tmp_path / "out" / MANIFEST).write_text(json.dumps({"creator": "bgnb", "kind": "runs", "files": sums}, indent=1) + "\n")
    assert bgnb.check(tmp_path / "out") == dict.fromkeys(names, "is missing") | {"link": None, MANIFEST: None}


def test_check_names_directories_inside(models, tmp_path):
    """The error for a directory that contains directories of bgnb names these."""
    shutil.copytree(models, tmp_path / "reco")
    line = error_of("check", tmp_path)
    assert str(tmp_path / "reco") in line
    assert line.endswith("[not-a-model]")
    assert error_of("check", tmp_path / "none").endswith("[not-found]")
    (tmp_path / "reco" / "epoch").mkdir()
    assert f"check {tmp_path / 'reco'}, of which it is a part" in error_of("check", tmp_path / "reco" / "epoch")


@pytest.mark.slow
def test_folders_nested_deeply(tmp_path):
    """Python 3.11 cannot list folders nested deeper than its recursion limit, 300 here and usually 1000; newer versions can."""
    folders = [tmp_path / "out"]
    folders += [tmp_path / "out" / "/".join("d" * depth) for depth in range(1, 400)]
    limit = sys.getrecursionlimit()
    try:
        for folder in folders:
            folder.mkdir()
        sys.setrecursionlimit(300)
        with pytest.raises(bgnb.BgnbError) as caught:
            bgnb.check(tmp_path / "out")
        assert caught.value.code == "unreadable" or (caught.value.code == "not-a-model" and sys.version_info >= (3, 12))
        with raises("no-runs"):
            bgnb.open_runs(tmp_path / "out", "FILES")
    finally:
        sys.setrecursionlimit(limit)
        for folder in reversed(folders):
            folder.rmdir()
