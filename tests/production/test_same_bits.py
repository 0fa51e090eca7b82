"""Reproducibility: equal input and settings give equal bytes at any time."""

from __future__ import annotations

import datetime
import os
import sys
import time
from pathlib import Path

import pytest
from astropy.io import fits

import bgnb
from tests.helpers.files import digests
from tests.helpers.model_directories import model_directory
from tests.helpers.run_files import run, write_gadf

DAYS = 9000


class _Later(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(days=DAYS)

    @classmethod
    def today(cls):
        return cls.now()


def shift_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shift all clocks of Python code; file times come from the system and are not shifted."""
    now, nanoseconds, localtime, gmtime = time.time, time.time_ns, time.localtime, time.gmtime
    clocks = {
        now: lambda: now() + DAYS * 86400,
        nanoseconds: lambda: nanoseconds() + DAYS * 86400 * 10**9,
        localtime: lambda seconds=None: localtime(now() + DAYS * 86400 if seconds is None else seconds),
        gmtime: lambda seconds=None: gmtime(now() + DAYS * 86400 if seconds is None else seconds),
        datetime.datetime: _Later,
    }
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("time", "datetime", "astropy", "bgnb", "gzip", "json", "numpy"):
            for attribute, value in list(vars(module).items()):
                if isinstance(value, type | type(now) | type(shift_the_clock)) and value in clocks:
                    monkeypatch.setattr(module, attribute, clocks[value])


def age(directory: Path) -> None:
    """Change the modification times of files."""
    for path in directory.rglob("*"):
        os.utime(path, (1e9, 1e9))


def models(indir: Path, out: Path) -> None:
    bgnb.make_bg_cube_models(indir, "GADF", out, select="all", n_energy=5, n_fov=8, overwrite=True)


def part(indir: Path, out: Path) -> None:
    bgnb.make_bg_cube_models(indir, "GADF", out, select="all", part="1/1", workers=1, overwrite=True)


def spline(indir: Path, out: Path) -> None:
    bgnb.make_bg_cube_models(indir, "GADF", out, select="all", method="spline", n_energy=6, n_fov=8, overwrite=True)


def attach(indir: Path, out: Path) -> None:
    bgnb.attach(indir.parent / "models", indir, "GADF", out, overwrite=True)


def dataset(_: Path, out: Path) -> None:
    sources = [bgnb.PointSource("A", 83.6, 22.0, 0.5)]
    bgnb.make_test_dataset(out, n_runs=2, trigger_rate=2, point_sources=sources, seed=3, overwrite=True)


def hess_dataset(_: Path, out: Path) -> None:
    bgnb.make_test_dataset(out, "HESS", n_runs=1, trigger_rate=2, overwrite=True)


def true_reco(_: Path, out: Path) -> None:
    bgnb.make_true_reco(out, test=True, trigger_rate=2, n_energy=5, n_fov=8, overwrite=True)


@pytest.mark.slow
@pytest.mark.parametrize("write", [models, part, spline, attach, dataset, hess_dataset, true_reco])
def test_clock_and_file_times_have_no_effect(tmp_path, monkeypatch, write):
    """All functions write the same bytes at another time, from input with other file times."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 300) for obs_id in (2, 3, 4)])
    model_directory(tmp_path / "models")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    write(indir, tmp_path / "out")
    before = digests(tmp_path / "out")
    assert len(before) >= 3
    age(indir)
    age(tmp_path / "models")
    shift_the_clock(monkeypatch)
    hdu = fits.PrimaryHDU()
    hdu.add_checksum()
    assert int(hdu.header.comments["CHECKSUM"].split()[-1][:4]) > 2045, "the clock is not shifted"
    write(indir, tmp_path / "out")
    assert digests(tmp_path / "out") == before
