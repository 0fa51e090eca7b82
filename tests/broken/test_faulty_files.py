"""Runs whose file is missing, damaged or not FITS are skipped with an error that names it; others are used."""

import errno
import gzip
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from astropy.io import fits

from bgnb import BgnbError
from tests.broken.directory import (
    CHANGED,
    assert_skipped,
    both,
    file_of,
    good_totals,
    in_bytes,
    in_hdus,
    in_header,
    in_location,
    make_models,
    totals,
    with_card,
    with_whole_card,
)
from tests.helpers.files import names

FILE = "run4.fits.gz"
WEB_PAGE = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 250560\n"


def written(content):
    return lambda indir: file_of(indir).write_bytes(content)


def instead(make):
    """Replace the file by something else."""

    def apply(indir):
        file_of(indir).unlink()
        make(file_of(indir))

    return apply


def first_half(content):
    return content[: len(content) // 2]


def flipped(position):
    def change(content):
        broken = bytearray(content)
        broken[position if position >= 0 else len(content) + position] ^= 0x10
        return bytes(broken)

    return change


def flipped_in_data(content):
    """Change a bit of the first event without updating the checksums."""
    start = content.index(b"EXTNAME = 'EVENTS")
    return flipped(content.index(b"END" + b" " * 77, start) // 2880 * 2880 + 2880 + 3)(content)


def with_sums(change):
    return both(in_hdus(lambda hdus: None, checksum=True), in_bytes(change))


def loop(path):
    path.symlink_to(path.name)


def huge_and_sparse(indir):
    """Write a sparse, uncompressed file as large as its header says."""
    content = with_card(gzip.decompress(file_of(indir).read_bytes()), "NAXIS2", "100000000")
    file_of(indir).write_bytes(content)
    os.truncate(file_of(indir), 5 << 30)


def header_without_end(content):
    return content.replace(b"END" + b" " * 77, b" " * 80) + b" " * 2880 * 2000


def with_ascii_gti(indir):
    with fits.open(file_of(indir)) as hdus:
        number = hdus.index_of("GTI")
        columns = [fits.Column(name, "D25.16", unit="s", array=hdus[number].data[name]) for name in ("START", "STOP")]
        cards = fits.Header([card for card in hdus[number].header.cards if card.keyword in ("EXTNAME", "MJDREFI", "MJDREFF")])
        hdus[number] = fits.TableHDU.from_columns(columns, header=cards)
        hdus.writeto(file_of(indir), overwrite=True)


BROKEN_FILES = {
    "file missing": (lambda indir: file_of(indir).unlink(), "not-found"),
    "file empty": (written(b""), "empty-file"),
    "gzip file truncated": (in_bytes(first_half, decompressed=False), "truncated", "gzip stream"),
    "gzip file truncated after some bytes": (
        in_bytes(lambda content: content[:7], decompressed=False),
        "truncated",
        "gzip stream",
    ),
    "gzip file truncated in its checksum": (
        in_bytes(lambda content: content[:-3], decompressed=False),
        "truncated",
        "gzip stream",
    ),
    "truncated within the events": (
        in_bytes(lambda content: content[: content.index(b"EXTNAME = 'GTI") - 4000]),
        "truncated",
        "HDU EVENTS",
    ),
    "truncated within a header": (
        in_bytes(lambda content: content[: content.index(b"EXTNAME = 'EVENTS")]),
        "truncated",
        "HDU 1",
    ),
    "truncated after the events": (
        in_bytes(lambda content: content[: content.index(b"EXTNAME = 'GTI") // 2880 * 2880]),
        "missing-hdu",
        "HDU gti",
    ),
    "bit flipped in the gzip file": (in_bytes(flipped(600), decompressed=False), "damaged"),
    "bit flipped in the checksum of gzip": (in_bytes(flipped(-7), decompressed=False), "damaged"),
    "bit flipped in data with DATASUM": (with_sums(flipped_in_data), "damaged", "HDU EVENTS", "DATASUM"),
    "bit flipped in a header with CHECKSUM": (
        with_sums(lambda content: with_card(content, "LIVETIME", "1500.5")),
        "damaged",
        "HDU EVENTS",
        "CHECKSUM",
    ),
    "web page": (written(WEB_PAGE), "not-fits", "web page"),
    "web page, compressed": (written(gzip.compress(WEB_PAGE)), "not-fits", "web page"),
    "table compressed by fpack": (
        in_bytes(lambda content: with_whole_card(content, "HDUCLASS", f"ZTABLE  = {'T':>20}")),
        "not-fits",
        "HDU EVENTS",
        "funpack",
    ),
    "good time intervals as ASCII table": (with_ascii_gti, "bad-header", "HDU GTI", "ASCII table"),
    "Git LFS pointer": (written(POINTER), "not-fits", "git lfs pull"),
    "not a FITS file": (written(bytes(range(256)) * 100), "not-fits"),
    "other compression": (written(b"BZh91AY&SY" + bytes(100)), "not-fits"),
    "directory": (instead(Path.mkdir), "not-a-file", "directory"),
    "pipe": (instead(os.mkfifo), "not-a-file", "pipe"),
    "device": (instead(lambda path: path.symlink_to("/dev/zero")), "not-a-file", "device"),
    "link to nothing": (instead(lambda path: path.symlink_to("nowhere")), "not-found", "nowhere"),
    "link in a circle": (instead(loop), "unreadable", "symbolic links"),
    "table of gigabytes": (huge_and_sparse, "too-large", "HDU EVENTS", "1 GiB"),
    "header without end": (in_bytes(header_without_end), "bad-header", "HDU 0", "END"),
}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_file_is_skipped(indir, tmp_path, name):
    """Skip a run with a broken file, name the file, and count the others in full."""
    change, code, *words = BROKEN_FILES[name]
    change(indir)
    assert_skipped(indir, tmp_path / "out", code, FILE, *words)


def test_file_without_permission(indir, tmp_path, monkeypatch):
    """Skip a run whose file may not be read; permissions do not bind root, so the error is simulated."""
    opened = os.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith(FILE):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    assert_skipped(indir, tmp_path / "out", "unreadable", FILE, "Permission denied")


def test_file_shared_by_two_runs(indir, tmp_path):
    """Use a file for none of two runs if it does not state its OBS_ID."""
    both(in_header(OBS_ID=None), in_location(obs_id=8, FILE_NAME=FILE))(indir)
    report = make_models(indir, tmp_path / "out")
    assert totals(report) == good_totals(2)
    for obs_id, other in ((4, 8), (8, 4)):
        for words in (f"{FILE}, HDU EVENTS", f"run {other}", "OBS_ID", "[duplicate-run]"):
            assert words in report.faults[obs_id]


def test_several_broken_runs_are_named(indir, tmp_path):
    """Name every run that cannot be used."""
    for obs_id in (2, 8):
        file_of(indir, obs_id).write_bytes(b"")
    report = make_models(indir, tmp_path / "out")
    assert totals(report) == good_totals(CHANGED)
    assert list(report.faults) == [2, 8]
    for obs_id, message in report.faults.items():
        assert f"run{obs_id}.fits.gz" in message
        assert message.endswith("[empty-file]")


def test_no_output_if_all_runs_are_broken(indir, tmp_path):
    """Write nothing if no run can be used, and name them in one line."""
    for obs_id in (2, 4, 8):
        file_of(indir, obs_id).write_bytes(WEB_PAGE)
    with pytest.raises(BgnbError, match=r"run2\.fits\.gz: .* \(and 2 more runs\)") as caught:
        make_models(indir, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"in"}


@pytest.mark.usefixtures("engine")
def test_file_larger_than_the_maximum(indir, tmp_path, monkeypatch):
    """Skip a run whose file exceeds the maximum size when decompressed."""
    monkeypatch.setattr("bgnb.observations.fits_table.INFLATED_MAX", 100_000)
    in_bytes(lambda content: content + bytes(100_000))(indir)
    assert_skipped(indir, tmp_path / "out", "too-large", FILE)


def two_gigabytes_of_zeros(start):
    """Make a gzip file of 2 MB: a start, and blocks of zeros that are compressed once and repeated."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    head = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + head + 2048 * megabyte + packer.flush() + struct.pack("<II", 0, 1 << 31)


READ_BOMB = """
import resource, sys
from pathlib import Path
if sys.argv[2] == "zlib":
    sys.modules["isal"] = None
from bgnb import DataError
from bgnb.observations.fits_table import read_tables
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_tables(Path(sys.argv[1]), ["EVENTS", "GTI"])
except DataError as error:
    print(error)
taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(taken // 1024 if sys.platform == "darwin" else taken)
"""


@pytest.mark.slow
def test_memory_for_a_gzip_bomb(indir, engine):
    """Take no more memory than the maximum size for a file that decompresses to 2 GiB."""
    start = gzip.decompress(file_of(indir).read_bytes())
    file_of(indir).write_bytes(two_gigabytes_of_zeros(start))
    command = [sys.executable, "-c", READ_BOMB, str(file_of(indir)), engine]
    message, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert "1 GiB" in message
    assert message.endswith("[too-large]")
    assert int(kilobytes) < 1.5 * 2**20
