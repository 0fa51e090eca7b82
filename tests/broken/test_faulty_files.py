"""Files of runs that are missing, damaged, or something else, are left out by name, and the others are used."""

import errno
import gzip
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from bgnb import BgnbError
from tests.broken.directory import (
    CHANGED,
    both,
    file_of,
    good_totals,
    in_bytes,
    in_hdus,
    in_header,
    in_location,
    left_out_by_name,
    make_models,
    totals,
    with_card,
)
from tests.helpers.files import names

FILE = "run4.fits.gz"
WEB_PAGE = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 250560\n"


def written(content):
    return lambda indir: file_of(indir).write_bytes(content)


def instead(make):
    """Something else in the place of the file."""

    def apply(indir):
        file_of(indir).unlink()
        make(file_of(indir))

    return apply


def half(content):
    return content[: len(content) // 2]


def flipped(position):
    def change(content):
        broken = bytearray(content)
        broken[position if position >= 0 else len(content) + position] ^= 0x10
        return bytes(broken)

    return change


def flipped_in_data(content):
    """A bit of the first event changed, and all sums kept."""
    start = content.index(b"EXTNAME = 'EVENTS")
    return flipped(content.index(b"END" + b" " * 77, start) // 2880 * 2880 + 2880 + 3)(content)


def with_sums(change):
    return both(in_hdus(lambda hdus: None, checksum=True), in_bytes(change))


def loop(path):
    path.symlink_to(path.name)


def huge_and_sparse(indir):
    """A plain file that is as large as its header says, and takes no room on the disk."""
    content = with_card(gzip.decompress(file_of(indir).read_bytes()), "NAXIS2", "100000000")
    file_of(indir).write_bytes(content)
    os.truncate(file_of(indir), 5 << 30)


def header_without_end(content):
    return content.replace(b"END" + b" " * 77, b" " * 80) + b" " * 2880 * 2000


BROKEN_FILES = {
    "file missing": (lambda indir: file_of(indir).unlink(), "there is no such file"),
    "file empty": (written(b""), "is empty"),
    "gzip file cut": (in_bytes(half, inflated=False), "is cut: its compressed data do not end"),
    "gzip file cut after some bytes": (in_bytes(lambda content: content[:7], inflated=False), "is cut"),
    "gzip file cut in its sums": (in_bytes(lambda content: content[:-3], inflated=False), "is cut"),
    "cut within the events": (
        in_bytes(lambda content: content[: content.index(b"EXTNAME = 'GTI") - 4000]),
        "HDU EVENTS",
        "ends within",
    ),
    "cut within a header": (
        in_bytes(lambda content: content[: content.index(b"EXTNAME = 'EVENTS")]),
        "is cut, at the header of HDU 1",
    ),
    "cut after the events": (
        in_bytes(lambda content: content[: content.index(b"EXTNAME = 'GTI") // 2880 * 2880]),
        "there is no HDU gti",
    ),
    "bit flipped in the gzip file": (in_bytes(flipped(600), inflated=False), "is damaged, and cannot be inflated"),
    "bit flipped in the sum of gzip": (in_bytes(flipped(-7), inflated=False), "is damaged, and cannot be inflated"),
    "bit flipped in data with DATASUM": (with_sums(flipped_in_data), "HDU EVENTS", "DATASUM does not fit the table"),
    "bit flipped in a header with CHECKSUM": (
        with_sums(lambda content: with_card(content, "LIVETIME", "1500.5")),
        "HDU EVENTS",
        "CHECKSUM does not fit the HDU",
    ),
    "web page": (written(WEB_PAGE), "is a web page, not a FITS file"),
    "web page, compressed": (written(gzip.compress(WEB_PAGE)), "is a web page, not a FITS file"),
    "pointer of a version control": (written(POINTER), "is a pointer of git-lfs", "git lfs pull"),
    "not a FITS file": (written(bytes(range(256)) * 100), "is not a FITS file"),
    "other compression": (written(b"BZh91AY&SY" + bytes(100)), "is not a FITS file"),
    "folder": (instead(Path.mkdir), "is a folder, not a file"),
    "pipe": (instead(os.mkfifo), "is a pipe or a device, not a file"),
    "device": (instead(lambda path: path.symlink_to("/dev/zero")), "is a pipe or a device, not a file"),
    "link to nothing": (instead(lambda path: path.symlink_to("nowhere")), "is a link to nowhere, which is not there"),
    "link in a circle": (instead(loop), "cannot be read: Too many levels of symbolic links"),
    "table of gigabytes": (huge_and_sparse, "HDU EVENTS", "the table has more than 1 GiB"),
    "header without end": (in_bytes(header_without_end), "the header of HDU 0 does not end"),
}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file_is_left_out_by_name_and_the_others_count(indir, tmp_path, name):
    change, *words = BROKEN_FILES[name]
    change(indir)
    left_out_by_name(indir, tmp_path / "out", [FILE, *words])


def test_a_file_that_may_not_be_read(indir, tmp_path, monkeypatch):
    """Rights do not bind root, so the refusal itself is put in."""
    opened = Path.open

    def refuse(path, *args, **kwargs):
        if path.name == FILE:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    report = make_models(indir, tmp_path / "out")
    assert totals(report) == good_totals(2, 8)
    assert report.faults[CHANGED].endswith("run4.fits.gz: cannot be read: Permission denied")


def test_one_file_under_two_numbers_is_used_for_neither_if_it_does_not_say_its_own(indir, tmp_path):
    both(in_header(OBS_ID=None), in_location(obs_id=8, FILE_NAME=FILE))(indir)
    report = make_models(indir, tmp_path / "out")
    assert totals(report) == good_totals(2)
    for obs_id, other in ((4, 8), (8, 4)):
        assert f"{FILE}, HDU EVENTS: the index names these events for run {other} too" in report.faults[obs_id]
        assert "there is no keyword OBS_ID" in report.faults[obs_id]


def test_several_broken_runs_are_all_named(indir, tmp_path):
    for obs_id in (2, 8):
        file_of(indir, obs_id).write_bytes(b"")
    report = make_models(indir, tmp_path / "out")
    assert totals(report) == good_totals(CHANGED)
    assert [obs_id for obs_id, message in report.faults.items() if f"run{obs_id}.fits.gz: is empty" in message] == [2, 8]


def test_where_all_runs_are_broken_nothing_is_written(indir, tmp_path):
    for obs_id in (2, 4, 8):
        file_of(indir, obs_id).write_bytes(WEB_PAGE)
    with pytest.raises(BgnbError, match=r"no model could be made: 3 cannot be used, .*run2\.fits\.gz: is a web page") as caught:
        make_models(indir, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"in"}


@pytest.mark.usefixtures("engine")
def test_a_file_that_inflates_beyond_the_limit(indir, tmp_path, monkeypatch):
    monkeypatch.setattr("bgnb.observations.fits_table.INFLATED_MAX", 100_000)
    in_bytes(lambda content: content + bytes(100_000))(indir)
    report = make_models(indir, tmp_path / "out")
    assert totals(report) == good_totals(2, 8)
    assert "run4.fits.gz: inflates to more than" in report.faults[CHANGED]


def two_gigabytes_of_zeros(start):
    """A gzip file of 2 MB: a beginning, and blocks of zeros that are compressed once and written again and again."""
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


def test_a_bomb_of_two_gigabytes_takes_no_more_memory_than_the_limit(indir, engine):
    start = gzip.decompress(file_of(indir).read_bytes())
    file_of(indir).write_bytes(two_gigabytes_of_zeros(start))
    command = [sys.executable, "-c", READ_BOMB, str(file_of(indir)), engine]
    message, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert message.endswith("inflates to more than 1 GiB, where bgnb stops; inflate it yourself if it is as it should be")
    assert int(kilobytes) < 1.5 * 2**20
