"""Whoever counts, in whatever order and in how many parts: the files are the same, bit for bit."""

import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from astropy.table import Table

from bgnb import BgnbError, make_bg_cube_models, merge
from bgnb.production import chunks
from tests.helpers.commands import output_of
from tests.helpers.dask_cluster import OBS_IDS, SMALL
from tests.helpers.files import digests
from tests.helpers.run_files import run, write_gadf

CHOICES = [("default", "drop"), ("default", "mask"), ("spline", "drop"), ("spline", "mask")]
OPTIONS = ["--select", "all", "--n-energy", "6", "--n-fov", "10", "--workers", "1"]


@pytest.fixture(scope="module")
def indir(tmp_path_factory):
    """Runs in four groups, of which one cannot be read; two groups have a source in the field of view."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [run(obs_id, 20 + obs_id) for obs_id in OBS_IDS]
    write_gadf(folder / "in", runs)
    (folder / "in" / "data" / "run7.fits.gz").write_bytes(b"nonsense")
    sources = Table({name: [runs[row][f"{name}_PNT"] + 0.5 for row in (0, 1)] for name in ("RA", "DEC")})
    sources.write(folder / "sources.ecsv")
    return folder / "in"


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_RUNS", 3)


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield pool


class Backwards(Executor):
    """Does what it was given in the opposite order, when no more has come for a while."""

    def __init__(self):
        self.given = []
        self.come = threading.Condition()

    def submit(self, function, /, *arguments, **keywords):
        future = Future()
        with self.come:
            self.given.append((future, function, arguments))
            if len(self.given) == 1:
                threading.Thread(target=self.work).start()
            self.come.notify()
        return future

    def work(self):
        with self.come:
            while self.come.wait(timeout=0.3):
                pass
            given, self.given = self.given[::-1], []
        for future, function, arguments in given:
            future.set_result(function(*arguments))


@pytest.mark.parametrize(("method", "sources"), CHOICES)
def test_the_same_files_whoever_counts(indir, tmp_path, small_chunks, processes, method, sources):
    choices = SMALL | {"method": method, "sources": sources}
    if sources == "mask":
        choices["catalog"] = indir.parent / "sources.ecsv"
    report = make_bg_cube_models(indir, "GADF", tmp_path / "one", workers=1, **choices)
    assert list(report.faults) == [7]
    assert (sum(run.counted.events_in_mask for run in report.runs if run.counted) > 0) == (sources == "mask")
    expected = digests(tmp_path / "one")
    for name, workers in (("two", processes), ("backwards", Backwards())):
        assert make_bg_cube_models(indir, "GADF", tmp_path / name, workers=workers, **choices) == report
        assert digests(tmp_path / name) == expected
    for number in (1, 2, 3):
        make_bg_cube_models(indir, "GADF", tmp_path / f"part{number}", part=f"{number}/3", workers=1, **choices)
    assert merge([tmp_path / f"part{number}" for number in (3, 1, 2)], tmp_path / "merged") == report
    assert digests(tmp_path / "merged") == expected


def test_more_parts_than_chunks_on_the_command_line(indir, tmp_path):
    """The parts without runs are directories like the others."""
    parts = [tmp_path / f"p{number}" for number in range(1, 13)]
    for number, part in enumerate(parts, start=1):
        output = output_of("make-bg-cube-models", indir, "GADF", part, *OPTIONS, "--part", f"{number}/12")
        assert f"Part {number}/12 is in {part}" in output
    assert "0 of 0 runs used, 0 left out" in output
    assert "19 of 20 runs used, 1 left out" in output_of("merge", *parts, tmp_path / "merged")
    make_bg_cube_models(indir, "GADF", tmp_path / "one", workers=1, **SMALL)
    assert digests(tmp_path / "merged") == digests(tmp_path / "one")


def test_parts_are_replaced_like_models(indir, tmp_path):
    make_bg_cube_models(indir, "GADF", tmp_path / "part", part="1/2", workers=1, **SMALL)
    before = digests(tmp_path / "part")
    with pytest.raises(BgnbError, match="exists already; use --overwrite"):
        make_bg_cube_models(indir, "GADF", tmp_path / "part", part="1/2", workers=1, **SMALL)
    make_bg_cube_models(indir, "GADF", tmp_path / "part", part="2/2", workers=1, overwrite=True, **SMALL)
    after = digests(tmp_path / "part")
    assert before.keys() & after.keys() == {"part.json", "manifest.json"}
    assert len(before) == len(after) == 4  # and two groups in each


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", 3, "1/3/5"])
def test_parts_that_are_none(indir, tmp_path, part):
    with pytest.raises(BgnbError, match="part must be like 3/10, for the third of ten"):
        make_bg_cube_models(indir, "GADF", tmp_path / "part", part=part, **SMALL)


def test_a_catalogue_in_memory_cannot_be_found_again(indir, tmp_path):
    catalog = Table.read(indir.parent / "sources.ecsv")
    with pytest.raises(BgnbError, match="a part needs the catalogue as a file"):
        make_bg_cube_models(indir, "GADF", tmp_path / "part", part="1/2", catalog=catalog, **SMALL | {"sources": "mask"})


@pytest.fixture
def two_parts(indir, tmp_path, monkeypatch):
    """Two parts, made with a relative path of the runs and a catalogue of their own."""
    (tmp_path / "in").symlink_to(indir)
    Table({"RA": [282.0], "DEC": [-27.0]}).write(tmp_path / "catalog.ecsv")
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        settings = SMALL | {"sources": "mask", "catalog": "catalog.ecsv"}
        make_bg_cube_models("in", "GADF", f"part{number}", part=f"{number}/2", workers=1, **settings)
    return ["part1", "part2"]


def test_parts_are_merged_only_where_the_runs_are(two_parts, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(BgnbError, match=rf"^in: the directory .* is not there in {tmp_path}/elsewhere; merge where the parts"):
        merge([f"../{part}" for part in two_parts], "models")


def test_parts_that_do_not_belong_together(two_parts, indir, tmp_path):
    with pytest.raises(BgnbError, match=r"of 2 parts, these numbers are missing: 2$"):
        merge(["part1"], "models")
    with pytest.raises(BgnbError, match="the same part is given twice: part1 and part1"):
        merge(["part1", "part1", "part2"], "models")
    with pytest.raises(BgnbError, match=r"^part3: there is no such directory; is this part finished\?"):
        merge(["part1", "part3"], "models")
    make_bg_cube_models(indir, "GADF", "other", part="2/2", workers=1, **SMALL | {"n_fov": 12})
    with pytest.raises(BgnbError, match="other: was made with other settings, or of other runs, than part1"):
        merge(["part1", "other"], "models")
    make_bg_cube_models(indir, "GADF", "models", workers=1, **SMALL)
    with pytest.raises(BgnbError, match="models: is not a part that was made with --part"):
        merge(["part1", "models"], "merged")
    with pytest.raises(BgnbError, match="there are no parts to merge"):
        merge([], "merged")


def test_a_part_that_is_damaged(two_parts, tmp_path):
    path = next((tmp_path / "part2").glob("*.counted"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BgnbError, match=rf"part2/{path.name}: was changed after bgnb wrote it, or is damaged; make this part"):
        merge(two_parts, "models")


def test_a_catalogue_that_has_changed(two_parts, tmp_path):
    """Between parts, or between them and their merging."""
    Table({"RA": [282.0], "DEC": [-27.5]}).write(tmp_path / "catalog.ecsv", overwrite=True)
    with pytest.raises(BgnbError, match="the index of the runs or the catalogue is not what it was when part1 was made"):
        merge(two_parts, "models")
    settings = SMALL | {"sources": "mask", "catalog": "catalog.ecsv"}
    make_bg_cube_models("in", "GADF", "part2", part="2/2", workers=1, overwrite=True, **settings)
    with pytest.raises(BgnbError, match="part2: was made with other settings, or of other runs, than part1"):
        merge(two_parts, "models")
    assert not (tmp_path / "models").exists()
