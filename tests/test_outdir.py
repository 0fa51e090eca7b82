"""What becomes of a directory that is in the way."""

import json
from pathlib import Path

import pytest

from bgnb import BgnbError
from bgnb.manifest import MANIFEST
from bgnb.outdir import new_directory


def make(target: Path, *names: str, overwrite: bool = False) -> None:
    with new_directory(target, overwrite=overwrite) as directory:
        for name in names:
            (directory / name).write_text(name)


def test_only_what_the_manifest_lists_is_replaced(tmp_path):
    make(tmp_path / "out", "a", "b")
    make(tmp_path / "out", "c", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["c", MANIFEST]
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(BgnbError, match="holds link, which bgnb did not write there"):
        make(tmp_path / "out", "d", overwrite=True)


def test_a_manifest_of_others_is_none_of_ours(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    (tmp_path / "out" / MANIFEST).write_text(json.dumps({"creator": "somebody", "files": ["mine"]}))
    with pytest.raises(BgnbError, match="which bgnb did not write there"):
        make(tmp_path / "out", "a", overwrite=True)


def test_a_file_that_comes_while_we_work_is_kept(tmp_path):
    make(tmp_path / "out", "a")
    with (
        pytest.raises(BgnbError, match="holds late, which bgnb did not write there"),
        new_directory(tmp_path / "out", overwrite=True),
    ):
        (tmp_path / "out" / "late").write_text("mine")
    assert (tmp_path / "out" / "late").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_the_current_directory_is_not_pulled_from_under_the_shell(tmp_path, monkeypatch):
    make(tmp_path / "out", "a")
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(BgnbError, match="is the current directory"):
        make(Path(), "b", overwrite=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_breaks_between_the_renames_brings_the_old_directory_back(tmp_path, monkeypatch, error):
    make(tmp_path / "out", "a")
    rename = Path.rename

    def failing(self, target):
        if self.name.endswith("-partial"):
            raise error
        return rename(self, target)

    monkeypatch.setattr("bgnb.outdir._exchange", lambda *_: False)  # as where the system cannot
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises((KeyboardInterrupt, BgnbError)):
        make(tmp_path / "out", "b", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", MANIFEST]
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
