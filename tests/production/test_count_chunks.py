"""Each run is counted once; counts are kept, found again, and never mistaken for others."""

import errno
import gzip
import json
import os
import signal
import stat
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from bgnb import DataError, ObservationGroups, make_bg_cube_models, open_runs
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.sky_shapes import ClosedLines
from bgnb.files import output_directory as outdir
from bgnb.files.output_directory import kept_folder
from bgnb.production import count_chunks as counting
from bgnb.production import pipeline
from bgnb.production.count_chunks import Chunk, Counted, KeptChunks, count_chunk, count_chunks
from bgnb.production.plan import make_plan
from bgnb.production.settings import ProductionSettings
from bgnb.production.workers import Workers
from tests.helpers.dask_cluster import OBS_IDS, SMALL, SMALL_CHUNKS, command, lines
from tests.helpers.errors import raises
from tests.helpers.files import digests, give_away, names
from tests.helpers.processes import PATIENCE, until
from tests.helpers.run_files import run, write_gadf

AXES = CubeAxes.regular(n_energy=6, n_fov=10)


@pytest.fixture(scope="module")
def runs():
    return [run(obs_id, 20 + obs_id) for obs_id in OBS_IDS]


@pytest.fixture
def indir(runs, tmp_path):
    return write_gadf(tmp_path / "in", runs)


@pytest.fixture
def reading(monkeypatch):
    """Small chunks that are kept; OBS_ID of the runs that are read, and callbacks after some of them."""

    class Reading(list):
        def __init__(self):
            super().__init__()
            self.after = {}

        def __call__(self, files):
            self.append(files.obs_id)
            events = read(files)
            self.after.get(files.obs_id, lambda: None)()
            return events

    reading, read = Reading(), counting.read_pieces
    monkeypatch.setattr(counting, "read_pieces", reading)
    monkeypatch.setattr(counting, "CHUNK_RUNS", 3)
    monkeypatch.setattr(pipeline, "KEPT_FROM", 1)
    return reading


def interrupt():
    raise KeyboardInterrupt


def make(indir, out, **changes):
    return make_bg_cube_models(indir, "GADF", out, **{"workers": 1} | SMALL | changes)


def chunk_of(indir, *obs_ids, mask=None):
    runs = open_runs(indir, "GADF")
    files = tuple(runs.files(obs_id) for obs_id in obs_ids)
    return Chunk(ObservationGroups(), "none", AXES, "ALTAZ", mask, files)


def assert_same(one, other):
    assert one.stacks.keys() == other.stacks.keys()
    for key, stack in one.stacks.items():
        assert np.array_equal(stack.counts, other.stacks[key].counts)
        assert np.array_equal(stack.livetime_us, other.stacks[key].livetime_us)
        assert stack.runs == other.stacks[key].runs


@pytest.mark.slow
def test_second_run_counts_what_is_missing(indir, tmp_path, reading):
    """After an interruption, the same command counts only the chunks that are missing."""
    expected = make(indir, tmp_path / "expected")
    reading.clear()
    reading.after = {21: interrupt}
    with pytest.raises(KeyboardInterrupt) as caught:
        make(indir, tmp_path / "out")
    kept = kept_folder(tmp_path / "out")
    assert caught.value.__notes__ == [f"The counts so far are kept in {kept}; run the same command to continue."]
    assert not (tmp_path / "out").exists()
    first = set(reading)
    unfinished = {obs_id for obs_id in first if obs_id % 2 and obs_id % 3 == 0}  # the group of run 21, in chunks of three
    reading.clear()
    reading.after = {}
    assert make(indir, tmp_path / "out") == expected
    assert 0 < len(reading) < len(OBS_IDS)
    assert set(reading) & first <= unfinished
    assert sorted(reading) == sorted(set(reading))
    assert digests(tmp_path / "out") == digests(tmp_path / "expected")
    assert not kept.exists()


@pytest.mark.slow
def test_runs_that_recovered_are_counted(indir, tmp_path, reading):
    """A run with a temporary error of the disk, whose file is unchanged, is read again."""
    expected = make(indir, tmp_path / "expected")

    def not_answered():
        raise DataError("unreadable", "run3.fits.gz: cannot be read: Input/output error")

    reading.after = {3: not_answered, 20: interrupt}
    with pytest.raises(KeyboardInterrupt):
        make(indir, tmp_path / "out")
    reading.after = {}
    assert make(indir, tmp_path / "out") == expected


def test_counts_of_few_runs_are_not_kept(indir, tmp_path, reading, monkeypatch):
    """Below a number of runs, an interruption leaves no counts."""
    monkeypatch.setattr(pipeline, "KEPT_FROM", 21)
    reading.after = {21: interrupt}
    with pytest.raises(KeyboardInterrupt) as caught:
        make(indir, tmp_path / "out")
    assert not hasattr(caught.value, "__notes__")
    assert names(tmp_path) == {"in"}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_killed_command_repeats_no_chunk(indir, tmp_path, number, status):
    """A command that was killed continues from the chunks that it counted."""
    (tmp_path / "wait11").touch()
    arguments = (indir, "GADF", tmp_path / "out", "--workers", 2)
    with command(tmp_path, *arguments, WATCH=tmp_path, CHANGE=SMALL_CHUNKS) as process:
        # The other worker gets through all other chunks while one waits for run 11.
        until(
            lambda: len(list(kept_folder(tmp_path / "out").glob("[0-9a-f]*"))) == 7,
            "all chunks but one",
            process,
        )
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    if number == signal.SIGINT:
        note = f"The counts so far are kept in {kept_folder(tmp_path / 'out')}; run the same command to continue."
        assert errors.splitlines() == ["Interrupted; unfinished output is removed.", note]
    kept = digests(kept_folder(tmp_path / "out"))
    (tmp_path / "read").unlink()
    (tmp_path / "wait11").unlink()
    with command(tmp_path, *arguments, WATCH=tmp_path, CHANGE=SMALL_CHUNKS) as process:
        assert process.wait() == 0, process.stderr.read()
    assert len(kept) == 7
    assert sorted(map(int, lines(tmp_path / "read"))) == [5, 7, 11]
    make(indir, tmp_path / "expected")
    assert digests(tmp_path / "out") == digests(tmp_path / "expected")


def test_digest_covers_all_that_matters(indir):
    """The digest of a chunk changes with everything that its counts depend on."""
    mask = SourceMask(np.array([83.6]), np.array([22.0]), np.array([0.5]))
    first = chunk_of(indir, 2, 3, mask=mask)
    others = [
        chunk_of(indir, 2, mask=mask),
        chunk_of(indir, 2, 3),
        replace(first, mask=replace(mask, radius=np.array([0.5000001]))),
        replace(first, mask=replace(mask, e_max=np.array([10.0]))),
        replace(first, mask=mask + SourceMask(*np.zeros((3, 0)), shapes=[ClosedLines([np.array([[1, 2], [3, 4], [1, 5.0]])])])),
        replace(first, axes=CubeAxes.regular(n_energy=6, n_fov=12)),
        replace(first, fovalign="RADEC"),
        replace(first, cells="run"),
        replace(first, groups=ObservationGroups(az_edges=[-90, 80, 270] * u.deg)),
        replace(first, version="0.0"),
        replace(first, runs=(first.runs[0], replace(first.runs[1], index={**first.runs[1].index, "LIVETIME": 1.0}))),
        replace(first, runs=(first.runs[0], replace(first.runs[1], shared_with=(7,)))),
        replace(first, runs=(first.runs[0], replace(first.runs[1], gti=None))),
    ]
    assert chunk_of(indir, 2, 3, mask=mask).digest == first.digest
    digests_of_others = [other.digest for other in others]
    path = first.runs[0].events.path
    status = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as cp --preserve does
    digests_of_others.append(chunk_of(indir, 2, 3, mask=mask).digest)
    path.unlink()
    digests_of_others.append(chunk_of(indir, 2, 3, mask=mask).digest)
    assert len({first.digest, *digests_of_others}) == 1 + len(digests_of_others) == 16


def test_run_that_changes_is_counted_again(indir, tmp_path, reading):
    """The digest is of the file as it was before it was read."""
    path = indir / "data" / "run2.fits.gz"
    other = write_gadf(tmp_path / "other", [run(2, 300)]) / "data" / "run2.fits.gz"
    reading.after = {2: lambda: path.write_bytes(other.read_bytes()), 18: interrupt}
    with pytest.raises(KeyboardInterrupt):
        make(indir, tmp_path / "out")
    reading.clear()
    reading.after = {}
    report = make(indir, tmp_path / "out")
    assert 2 in reading
    assert report.runs[0].counted.events == 300


def test_damaged_kept_chunks_are_recounted(indir, tmp_path):
    """Kept counts that are damaged are replaced."""
    kept = KeptChunks(tmp_path / "kept")
    chunk, other = chunk_of(indir, 2, 3), chunk_of(indir, 5, 7)
    good = count_chunk(chunk).packed
    kept.write(chunk, count_chunk(chunk))
    assert_same(kept.read(chunk), count_chunk(chunk))
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    unpacked = gzip.decompress(good)
    size = int.from_bytes(unpacked[:8], "little")
    text = json.loads(unpacked[8 : 8 + size])
    text["stacks"][0]["runs"][0]["notes"] = [[1]]
    odd = json.dumps(text).encode()
    contents = (
        b"",
        gzip.compress(bytes(7) + b"\x80{}"),  # states more bytes than can be read
        gzip.compress(len(odd).to_bytes(8, "little") + odd + unpacked[8 + size :]),
        good[:-9],
        bytes(flipped),
        b"junk",
        gzip.compress(b"junk"),
        gzip.compress(b"PK\3\4"),
        count_chunk(other).packed,
    )
    for content in contents:
        (tmp_path / "kept" / chunk.digest).write_bytes(content)
        assert kept.read(chunk) is None
        ((_, counted),) = count_chunks([chunk], lambda piece: piece, Workers(), kept)
        assert counted.obs_ids == [2, 3]
        assert_same(kept.read(chunk), count_chunk(chunk))


def test_full_disk_keeps_whole_chunks_only(indir, tmp_path, reading, monkeypatch):
    """If the disk is full, complete chunks are kept and no others."""
    sync = os.fsync

    def full(number):
        if len(list(kept_folder(tmp_path / "out").glob("[0-9a-f]*"))) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(number)

    monkeypatch.setattr(outdir.os, "fsync", full)
    with raises("not-writable", "No space left on device") as caught:
        make(indir, tmp_path / "out")
    monkeypatch.setattr(outdir.os, "fsync", sync)
    assert f"kept in {kept_folder(tmp_path / 'out')}" in caught.value.__notes__[0]
    assert len(list(kept_folder(tmp_path / "out").iterdir())) == 2
    reading.clear()
    make(indir, tmp_path / "out")
    assert len(reading) == len(OBS_IDS) - 6


def test_file_in_place_of_the_kept_folder(indir, tmp_path, reading):
    """A file with the name of the folder for kept counts is an error."""
    (tmp_path / ".out.bgnb-partial").write_text("in the way")
    with raises("foreign-files", ".out.bgnb-partial", "remove it"):
        make(indir, tmp_path / "out")
    assert (tmp_path / ".out.bgnb-partial").read_text() == "in the way"


@pytest.mark.parametrize("kind", ["other user", "open to all", "link"])
def test_planted_counts_are_refused(indir, tmp_path, reading, monkeypatch, kind):
    """Counts that somebody else may have put beside the output are an error, before anything is read."""
    (planted := tmp_path / "planted").mkdir(mode=0o700)
    real = KeptChunks(planted / kept_folder(tmp_path / "out").name)
    kept = tmp_path / ".out.bgnb-partial"
    plan = make_plan(ProductionSettings.from_dict({"indir": str(indir), "scheme": "GADF", **SMALL}))
    for obs_ids in plan.chunks:
        chunk = plan.chunk(obs_ids)
        counted = count_chunk(chunk)
        stacks = {key: replace(stack, counts=10 * stack.counts) for key, stack in counted.stacks.items()}
        real.write(chunk, replace(counted, stacks=stacks))
    if kind == "link":
        kept.symlink_to(planted)
    else:
        planted.rename(kept)
    if kind == "open to all":
        kept.chmod(0o777)
    if kind == "other user":
        give_away(kept, monkeypatch)
    reading.clear()
    with raises("foreign-files", kept) as caught:
        make(indir, tmp_path / "out")
    assert not hasattr(caught.value, "__notes__")
    assert reading == []
    assert names(tmp_path) == {"in", ".out.bgnb-partial", *(["planted"] if kind == "link" else [])}


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_kept_counts_are_private(indir, tmp_path, umask):
    """Only the user has access to the kept counts, for any umask."""
    chunk, kept = chunk_of(indir, 2, 3), KeptChunks(tmp_path / "kept")
    before = os.umask(umask)
    try:
        kept.write(chunk, count_chunk(chunk))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    assert_same(kept.read(chunk), count_chunk(chunk))


def test_file_systems_without_permissions_keep_no_counts(indir, tmp_path, reading, monkeypatch):
    """Counts are not kept on file systems without permissions, and the models are made."""
    mkdir = Path.mkdir

    def open_to_all(self, *args, **options):
        mkdir(self, *args, **options)
        self.chmod(0o777)

    monkeypatch.setattr(Path, "mkdir", open_to_all)
    reading.after = {21: interrupt}
    with pytest.raises(KeyboardInterrupt) as caught:
        make(indir, tmp_path / "out")
    assert not hasattr(caught.value, "__notes__")
    assert names(tmp_path) == {"in"}
    reading.after = {}
    make(indir, tmp_path / "out")
    assert names(tmp_path) == {"in", "out"}


class Answering:
    """Executor whose workers return given results."""

    def __init__(self, answer):
        self.answer = answer

    def submit(self, function, chunk):
        future = Future()
        future.set_result(self.answer(chunk))
        return future


def count(chunk, answer):
    return count_chunks([chunk], lambda piece: piece, Workers(submit=Answering(answer).submit), KeptChunks(None))


def test_error_of_a_worker_only_is_raised(indir):
    """A run that a worker cannot read, but the driver can: the worker may not see the files."""

    def answer(chunk):
        stacks = count_chunk(replace(chunk, runs=chunk.runs[:1])).stacks
        return Counted(stacks, {3: DataError("unreadable", "data/run3.fits.gz: No such file or directory")}).packed

    with raises("unreadable", "run3.fits.gz: No such file", "workers"):
        list(count(chunk_of(indir, 2, 3), answer))
    (indir / "data" / "run3.fits.gz").unlink()
    ((_, counted),) = count(chunk_of(indir, 2, 3), answer)
    assert list(counted.errors) == [3]
    assert counted.errors[3].code == "unreadable"


def test_counts_of_other_runs_are_refused(indir):
    """Counts that a worker returns for other runs are an error."""
    with raises("wrong-run", "[2]", "runs 2, 3", kind=DataError):
        list(count(chunk_of(indir, 2, 3), lambda chunk: count_chunk(replace(chunk, runs=chunk.runs[:1])).packed))


def test_run_counted_twice_is_an_error(indir, tmp_path, monkeypatch):
    """A run in two chunks is an internal error."""
    chunks = pipeline.Plan.chunks
    monkeypatch.setattr(pipeline.Plan, "chunks", property(lambda plan: [*chunks.fget(plan), [6]]))
    with pytest.raises(RuntimeError, match="the counts are not those of runs"):
        make(indir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_without_files_are_skipped(indir, tmp_path):
    """Runs without files in the index are skipped."""
    index = Table.read(indir / "hdu-index.fits.gz")
    index[index["OBS_ID"] != 5].write(indir / "hdu-index.fits.gz", overwrite=True)
    report = make(indir, tmp_path / "out")
    assert list(report.faults) == [5]
    assert report.faults[5].startswith(f"{indir}/hdu-index.fits.gz, HDU 1: ")
    assert report.faults[5].endswith(" run 5 [bad-index]")
    assert len(report.group_ids) == len(OBS_IDS) - 1


@pytest.mark.slow
def test_relative_path_for_distant_workers(indir, tmp_path, monkeypatch):
    """Workers in other directories find runs that were given by a relative path."""

    class Elsewhere(ThreadPoolExecutor):
        def submit(self, function, /, chunk):
            with monkeypatch.context() as there:
                there.chdir(tmp_path.parent)
                future = super().submit(function, chunk)
                wait([future])
                return future

    monkeypatch.chdir(tmp_path)
    with Elsewhere(1) as elsewhere:
        assert len(make("in", tmp_path / "out", workers=elsewhere).group_ids) == len(OBS_IDS)
