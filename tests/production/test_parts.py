"""Files are bit-identical regardless of the backend, the order of the chunks and the number of parts."""

import json
import shutil
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from astropy.table import Table

from bgnb import make_bg_cube_models, merge
from bgnb.files.manifest import manifest_of
from bgnb.files.output_directory import new_directory
from bgnb.production import count_chunks as counting
from bgnb.production import parts
from tests.helpers.commands import output_of
from tests.helpers.dask_cluster import OBS_IDS, SMALL
from tests.helpers.errors import raises
from tests.helpers.files import digests
from tests.helpers.run_files import run, sky_image, write_gadf

CHOICES = [("classic", "drop"), ("default", "mask"), ("spline", "drop"), ("spline", "mask")]
OPTIONS = ["--select", "all", "--n-energy", "6", "--n-fov", "10", "--method", "classic", "--workers", "1"]


@pytest.fixture(scope="module")
def indir(tmp_path_factory):
    """Runs in four groups, one of them unreadable; two groups have a source in the field of view."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [run(obs_id, 20 + obs_id) for obs_id in OBS_IDS]
    write_gadf(folder / "in", runs)
    (folder / "in" / "data" / "run7.fits.gz").write_bytes(b"nonsense")
    sources = Table({name: [runs[row][f"{name}_PNT"] + 0.5 for row in (0, 1)] for name in ("RA", "DEC")})
    sources.write(folder / "sources.ecsv")
    circle = {"RA": [runs[2]["RA_PNT"]], "DEC": [runs[2]["DEC_PNT"] - 0.4], "RADIUS": [0.7], "E_MIN": [0.5]}
    Table(circle).write(folder / "circles.ecsv")
    sky_image(folder / "sky.fits", runs[3]["RA_PNT"], runs[3]["DEC_PNT"] + 0.5)
    return folder / "in"


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(counting, "CHUNK_RUNS", 3)


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield pool


class Backwards(Executor):
    """Executor that does its tasks in reverse order, when no more have come for a while."""

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


@pytest.mark.slow
@pytest.mark.parametrize(("method", "sources"), CHOICES)
def test_same_files_from_all_backends(indir, tmp_path, small_chunks, processes, method, sources):
    """One process, several, an executor in reverse order and merged parts write the same bytes."""
    choices = SMALL | {"method": method, "sources": sources}
    if sources == "mask":
        choices |= {
            "catalog": indir.parent / "sources.ecsv",
            "exclude": [indir.parent / "circles.ecsv", indir.parent / "sky.fits"],
        }
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


@pytest.mark.slow
def test_more_parts_than_chunks(indir, tmp_path):
    """Parts without runs are directories like the others."""
    parts = [tmp_path / f"p{number}" for number in range(1, 13)]
    for number, part in enumerate(parts, start=1):
        output = output_of("make-bg-cube-models", indir, "GADF", part, *OPTIONS, "--part", f"{number}/12")
        assert f"Part {number}/12 is in {part}" in output
    assert "0 of 0 runs used, 0 skipped" in output
    assert "19 of 20 runs used, 1 skipped" in output_of("merge", *parts, tmp_path / "merged")
    make_bg_cube_models(indir, "GADF", tmp_path / "one", workers=1, **SMALL)
    assert digests(tmp_path / "merged") == digests(tmp_path / "one")


def test_parts_are_replaced_like_models(indir, tmp_path):
    """The directory of a part is replaced only with ``overwrite``."""
    make_bg_cube_models(indir, "GADF", tmp_path / "part", part="1/2", workers=1, **SMALL)
    before = digests(tmp_path / "part")
    with raises("exists", tmp_path / "part", "overwrite = True"):
        make_bg_cube_models(indir, "GADF", tmp_path / "part", part="1/2", workers=1, **SMALL)
    make_bg_cube_models(indir, "GADF", tmp_path / "part", part="2/2", workers=1, overwrite=True, **SMALL)
    after = digests(tmp_path / "part")
    assert before.keys() & after.keys() == {"part.json", "manifest.json"}
    assert len(before) == len(after) == 4  # and two groups in each


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", 3, "1/3/5"])
def test_invalid_part_numbers(indir, tmp_path, part):
    """An invalid part is an error that shows a valid one."""
    with raises("invalid-argument", part, "3/10"):
        make_bg_cube_models(indir, "GADF", tmp_path / "part", part=part, **SMALL)


def test_part_needs_a_catalogue_file(indir, tmp_path):
    """A catalogue in memory is refused, as merging reads it again."""
    catalog = Table.read(indir.parent / "sources.ecsv")
    with raises("invalid-argument", "part", "catalog"):
        make_bg_cube_models(indir, "GADF", tmp_path / "part", part="1/2", catalog=catalog, **SMALL | {"sources": "mask"})
    circles = Table({"RA": [282.0], "DEC": [-27.0], "RADIUS": [1.0]})
    with raises("invalid-argument", "part", "exclude"):
        make_bg_cube_models(indir, "GADF", tmp_path / "part", part="1/2", exclude=circles, **SMALL)


@pytest.fixture
def two_parts(indir, tmp_path, monkeypatch):
    """Two parts, made with relative paths of the runs and the catalogue."""
    (tmp_path / "in").symlink_to(indir)
    Table({"RA": [282.0], "DEC": [-27.0]}).write(tmp_path / "catalog.ecsv")
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        settings = SMALL | {"sources": "mask", "catalog": "catalog.ecsv"}
        make_bg_cube_models("in", "GADF", f"part{number}", part=f"{number}/2", workers=1, **settings)
    return ["part1", "part2"]


def test_merge_in_another_directory(two_parts, tmp_path, monkeypatch):
    """Relative paths of runs refer to the current directory."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with raises("not-found", f"{tmp_path}/elsewhere/in: "):
        merge([f"../{part}" for part in two_parts], "models")


def test_merge_into_the_runs(two_parts, tmp_path):
    """The directory of runs, which only the parts name, is neither replaced nor used for the models."""
    with raises("bad-target", "in/models", "contains the input"):
        merge(two_parts, "in/models")
    with new_directory(tmp_path / "copy", overwrite=False, kind="models") as directory:  # as bgnb replaces it
        shutil.copytree("in", directory, dirs_exist_ok=True)
    before = digests(tmp_path / "copy")
    (tmp_path / "in").unlink()
    (tmp_path / "in").symlink_to("copy")
    with raises("bad-target", "contains the input"):
        merge(two_parts, "copy", overwrite=True)
    assert digests(tmp_path / "copy") == before


def test_parts_of_different_plans(two_parts, indir, tmp_path):
    """Parts that are missing, given twice or made with other settings are refused."""
    with raises("parts-mismatch", "part 2 of 2 is missing"):
        merge(["part1"], "models")
    with raises("parts-mismatch", "a part is given more than once: part1, part1"):
        merge(["part1", "part1", "part2"], "models")
    with raises("not-found", "part3: "):
        merge(["part1", "part3"], "models")
    make_bg_cube_models(indir, "GADF", "other", part="2/2", workers=1, **SMALL | {"n_fov": 12})
    with raises("parts-mismatch", "other", "part1"):
        merge(["part1", "other"], "models")
    make_bg_cube_models(indir, "GADF", "models", workers=1, **SMALL)
    with raises("parts-mismatch", "models", "--part"):
        merge(["part1", "models"], "merged")
    with raises("parts-mismatch"):
        merge([], "merged")


def test_part_replaced_while_it_is_read(two_parts, indir, tmp_path, monkeypatch):
    """The counts of two productions are not mixed, also if a part is replaced while it is merged."""
    shutil.copytree("part2", "other")
    (tmp_path / "other" / "manifest.json").write_text((tmp_path / "other" / "manifest.json").read_text() + " ")
    read = parts._read_counts

    def replace_and_read(path, chunk):
        if (tmp_path / "other").exists() and path.parent.name == "part2":
            (tmp_path / "part2").rename(tmp_path / "old")
            (tmp_path / "other").rename(tmp_path / "part2")
        return read(path, chunk)

    monkeypatch.setattr(parts, "_read_counts", replace_and_read)
    with raises("changed", "part2"):
        merge(two_parts, "models")
    assert not (tmp_path / "models").exists()


def test_damaged_part_is_refused(two_parts, tmp_path):
    """A truncated file of counts is an error with its name."""
    path = next((tmp_path / "part2").glob("*.counted"))
    path.write_bytes(path.read_bytes()[:-1])
    with raises("damaged", f"part2/{path.name}"):
        merge(two_parts, "models")


@pytest.mark.parametrize("change", ["no file", "truncated", "other runs", "no settings"])
def test_parts_with_a_manifest_of_other_content(two_parts, tmp_path, change):
    """Files that agree with the manifest, but not with the part, are an error with their name."""
    part = tmp_path / ("part1" if change == "no settings" else "part2")
    path, *others = sorted(part.glob("*.counted"))
    code, words = "damaged", [f"{part.name}/{path.name}", "make this part again"]
    if change == "no file":
        code = "unreadable"
        path.unlink()
    elif change == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif change == "other runs":
        code = "wrong-run"
        path.write_bytes(others[0].read_bytes())
    else:
        code, words = "parts-mismatch", ["part1", "--part"]
        described = json.loads((part / "part.json").read_text())
        (part / "part.json").write_text(json.dumps(described | {"settings": {}}))
    (part / "manifest.json").unlink()
    (part / "manifest.json").write_bytes(manifest_of(part, "parts"))
    with raises(code, *words):
        merge(two_parts, "models")
    assert not (tmp_path / "models").exists()


def test_changed_catalogue_is_refused(two_parts, tmp_path):
    """A catalogue that changes between two parts, or before they are merged."""
    Table({"RA": [282.0], "DEC": [-27.5]}).write(tmp_path / "catalog.ecsv", overwrite=True)
    with raises("parts-mismatch", "catalogue", "part1"):
        merge(two_parts, "models")
    settings = SMALL | {"sources": "mask", "catalog": "catalog.ecsv"}
    make_bg_cube_models("in", "GADF", "part2", part="2/2", workers=1, overwrite=True, **settings)
    with raises("parts-mismatch", "part2", "part1"):
        merge(two_parts, "models")
    assert not (tmp_path / "models").exists()
