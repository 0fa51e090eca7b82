"""Files that would make commands wait for ever or take all memory are refused: pipes, devices, and gzip bombs."""

from __future__ import annotations

import bz2
import errno
import gzip
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import bgnb
from bgnb._util.compression import compress
from bgnb._util.reading import read_bytes
from bgnb.files.model_directory import model_files
from tests.helpers.commands import command, error_of
from tests.helpers.errors import raises
from tests.helpers.files import names
from tests.helpers.limited import MEMORY, outcomes
from tests.helpers.processes import PATIENCE, started

MODEL = "bg_cube_model_group{}_table.fits.gz"
# Content that no command may unpack.
BOMB = 3 * MEMORY
OPTIONS = {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero")}


# Lend a file to this process, as file servers do, until another program opens it.
LEND = """
import fcntl, os, signal, sys, time
asked = []
signal.signal(signal.SIGIO, lambda *_: asked.append(True))
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("lent", flush=True)
while not asked:
    signal.pause()
time.sleep(0.2)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Make runs, the model of their only group, and a part."""
    folder = tmp_path_factory.mktemp("odd")
    bgnb.make_test_dataset(folder / "in", n_runs=4, trigger_rate=3.0, seed=4)
    options = {"select": "all", "n_energy": 3, "n_fov": 4, "alt_edges": [0, 90], "az_edges": [0, 360]}
    bgnb.make_bg_cube_models(folder / "in", "GADF", folder / "models", method="spline", **options)
    bgnb.make_bg_cube_models(folder / "in", "GADF", folder / "part", part="1/1", **options)
    return folder


def model_in(models: Path) -> Path:
    """Return the file of the first model in a directory."""
    return min(models.glob(MODEL.format("*")))


def changed(directory: Path, name: str, change: Callable[[Path], object], target: Path) -> Path:
    """Copy a directory, and put something else in place of a file."""
    shutil.copytree(directory, target)
    (target / name).unlink()
    change(target / name)
    return target


@pytest.mark.slow
def test_pipes_and_devices_among_models(folder, tmp_path):
    """No command waits for a pipe, or reads a device, in place of a file of a directory of models or of a part."""
    commands: list[tuple[object, ...]] = []
    codes = []

    def expect(code: str, *arguments: object) -> None:
        commands.append(arguments)
        codes.append(code)

    indir, models = folder / "in", folder / "models"
    files = [model_in(models).name, "bg_observation_groups.ecsv", "bg_spline.fits.gz", "report.json"]
    for kind in OPTIONS:
        (place := tmp_path / kind).mkdir()
        for number, name in enumerate(files if kind == "pipe" else files[:1]):  # both are refused by the same function
            odd = changed(models, name, OPTIONS[kind], place / f"models{number}")
            expect("1", "check", odd)
            if number != 2:  # the spline is not compared, and without a report there are fewer words
                expect("0" if number == 3 else "not-a-file", "compare-models", odd, models, place / f"compared{number}")
            if number < 2:
                expect("not-a-file", "attach", odd, indir, "GADF", place / f"attached{number}")
                expect("not-a-file", "validate", odd, indir, "GADF", place / f"validated{number}")
            elif number == 2:
                expect("not-a-file", "check-runs", indir, "GADF", odd, place / f"checked{number}")
        for directory in ("models", "part"):
            odd = changed(folder / directory, "manifest.json", OPTIONS[kind], place / f"{directory}-manifest")
            expect("not-a-model", *(("merge", odd, place / "merged") if directory == "part" else ("check", odd)))
        for name in ("part.json", "run1.counted"):
            odd = changed(folder / "part", name, OPTIONS[kind], place / f"part-{name}")
            if kind == "device":
                sign(odd)  # the manifest lists the link
            expect("damaged" if kind == "pipe" else "not-a-file", "merge", odd, place / "merged")
    assert [code_of(outcome) for outcome in outcomes(commands)] == codes


@pytest.mark.slow
def test_pipes_and_devices_as_options(folder, tmp_path):
    """No option reads a pipe or a device, and neither is a lock or a notebook."""
    options = {
        "config": (".toml", ".json"),
        "select": (".txt",),
        "exclude": (".reg", ".ecsv", ".csv", ".fits"),
        "catalog": (".ecsv", ".fits"),
        "epochs": (".ecsv",),
    }
    commands: list[tuple[object, ...]] = []
    expected: list[str] = []
    for kind, make in OPTIONS.items():
        (place := tmp_path / kind).mkdir()
        making = ("make-bg-cube-models", folder / "in", "GADF", place / "out")
        for name, suffixes in options.items():
            for suffix in suffixes:
                make(path := place / f"{name}{suffix}")
                commands.append((*making, f"--{name}", path))
        commands.append(("make-bg-cube-models", place / "select.txt", "FILES", place / "out"))
        expected += ["not-a-file"] * (len(commands) - len(expected))
        (place / ".locked.bgnb-partial").mkdir(mode=0o700)
        make(place / ".locked.bgnb-partial" / ".bgnb-lock")
        commands.append((*making[:-1], place / "locked"))
        make(place / "odd.ipynb")
        commands.append(("run-notebook", place / "odd.ipynb", place / "run.ipynb"))
        expected += ["not-writable", "not-found"]
    assert [code_of(outcome) for outcome in outcomes(commands)] == expected


@pytest.mark.slow
def test_bombs(folder, tmp_path):
    """Files that are small but contain gigabytes are refused in little memory."""
    zeros = compress(bytes(BOMB // 64)) * 64
    model = gzip.decompress(model_in(folder / "models").read_bytes())
    table = fits.BinTableHDU.from_columns([fits.Column("BKG", "1B")])
    table.header["NAXIS2"] = BOMB
    header = fits.PrimaryHDU().header.tostring().encode() + table.header.tostring().encode()
    bombs = {
        "beyond.fits.gz": compress(model) + zeros,
        "stated.fits.gz": compress(header) + zeros,
        "bzip2.fits": bz2.compress(header),
    }
    commands: list[tuple[object, ...]] = []
    for name, content in bombs.items():
        odd = changed(
            folder / "models", model_in(folder / "models").name, lambda path, content=content: path.write_bytes(content),
            tmp_path / name,
        )  # fmt: skip
        commands.append(("attach", odd, folder / "in", "GADF", tmp_path / "out"))
    making = ("make-bg-cube-models", folder / "in", "GADF", tmp_path / "out")
    (tmp_path / "catalog.fits").write_bytes(bombs["stated.fits.gz"])
    (tmp_path / "regions.fits.gz").write_bytes(bombs["beyond.fits.gz"])
    (tmp_path / "runs.ecsv").write_bytes(compress(b"# %ECSV 1.0\n") + zeros)
    commands += [
        (*making, "--catalog", tmp_path / "catalog.fits"),
        (*making, "--exclude", tmp_path / "regions.fits.gz"),
    ]
    for name in ("text.txt", "settings.toml", "report.json"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(BOMB)  # of no size on the disk
    commands += [(*making, "--select", tmp_path / "text.txt"), (*making, "--config", tmp_path / "settings.toml")]
    commands.append((*making, "--config", tmp_path / "report.json"))
    found = outcomes([*commands, (*making, "--exclude", tmp_path / "runs.ecsv")])
    assert [code_of(outcome) for outcome in found] == ["too-large"] * len(commands) + ["bad-region"]


@pytest.mark.slow
def test_bombs_in_parts(folder, tmp_path):
    """Counts that are larger than they state are refused in little memory."""
    text = json.dumps({"stacks": [], "errors": {}}).encode()
    content = compress(len(text).to_bytes(8, "little") + text) + compress(bytes(BOMB // 64)) * 64
    odd = changed(folder / "part", "run1.counted", lambda path: path.write_bytes(content), tmp_path / "part")
    sign(odd)
    (outcome,) = outcomes([("merge", odd, tmp_path / "out")])
    assert code_of(outcome) == "damaged"


def sign(directory: Path) -> None:
    """Make the manifest agree with the other files."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["files"]:
        file = directory / name
        content = os.fsencode(file.readlink()) if file.is_symlink() else file.read_bytes()
        size = "" if file.is_symlink() else f"{len(content)} "
        manifest["files"][name] = size + sha256(content).hexdigest()
    path.write_text(json.dumps(manifest, indent=1) + "\n")


def code_of(outcome: tuple[int, str]) -> str:
    """Return the code of the error of a command, or its exit status if it ends without one."""
    status, line = outcome
    return line.rpartition("[")[2].removesuffix("]") if status == 2 else str(status)


def test_cubes_in_the_wrong_form(folder, tmp_path):
    """Tables of several rows and compressed images that state more pixels than fit into memory are refused."""
    with fits.open(model_in(folder / "models")) as hdus:
        row = hdus["BACKGROUND"].data
        hdus["BACKGROUND"].data = np.concatenate([row, row])
        hdus.writeto(tmp_path / "rows.fits", checksum=True)
    with raises("bad-header", "HDU BACKGROUND", "2 rows"):
        bgnb.read_model(tmp_path / "rows.fits")
    image = fits.CompImageHDU(np.zeros((64, 64), np.uint8), name="SKY")
    image.writeto(tmp_path / "image.fits")
    content = (tmp_path / "image.fits").read_bytes()
    for number in (1, 2):
        start = content.index(f"ZNAXIS{number} ".encode())
        content = content[: start + 10] + b"99999".rjust(20) + content[start + 30 :]
    (tmp_path / "image.fits").write_bytes(content)
    with raises("too-large", "HDU SKY"):
        bgnb.read_exclusions(tmp_path / "image.fits")


def test_growing_file(tmp_path, monkeypatch):
    """A file that grows while it is read is refused, since the rest is unknown."""
    path = tmp_path / "growing"
    path.write_text("text")
    status = path.stat()
    path.write_text("more text")
    monkeypatch.setattr(os, "fstat", lambda _: status)
    with raises("changed", path):
        read_bytes(path)


def test_compressed_tables(tmp_path):
    """Catalogues may be gzipped, but only once; Astropy would decompress others to any size."""
    table = Table({"RA": [10.0], "DEC": [-20.0]})
    table.write(tmp_path / "plain.ecsv")
    content = (tmp_path / "plain.ecsv").read_bytes()
    (tmp_path / "once.ecsv").write_bytes(gzip.compress(content))
    assert bgnb.read_catalog(tmp_path / "once.ecsv")["RA"].tolist() == [10]
    for name, odd in {"twice.ecsv": gzip.compress(gzip.compress(content)), "bzip2.ecsv": bz2.compress(content)}.items():
        (tmp_path / name).write_bytes(odd)
        with raises("bad-catalog", name):
            bgnb.read_catalog(tmp_path / name)


@pytest.mark.parametrize("needed", [False, True])
def test_links_to_nothing_among_models(folder, tmp_path, needed):
    """A link to no file, or to itself, hinders no command that does not read it, and is named by others."""
    for target in ("nowhere", model_in(folder / "models").name):
        name = model_in(folder / "models").name if needed else "extra.fits"
        odd = tmp_path / target
        shutil.copytree(folder / "models", odd)
        (odd / name).unlink(missing_ok=True)
        (odd / name).symlink_to(target if needed else "extra.fits")
        if needed:
            with raises("not-found" if target == "nowhere" else "unreadable", odd / name):
                bgnb.attach(odd, folder / "in", "GADF", tmp_path / f"store-{target}")
        else:
            assert len(bgnb.attach(odd, folder / "in", "GADF", tmp_path / f"store-{target}").runs) == 4


def only_line(*arguments: object) -> str:
    """Run a command that fails with one line and no warnings, and return the line."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        done = command(*arguments)
    assert done.exit_code == 2
    assert not [str(warning.message) for warning in found]
    (line,) = done.output.splitlines()
    return line


@pytest.mark.parametrize("option", ["catalog", "exclude", "epochs"])
def test_odd_tables_are_one_line(folder, tmp_path, option):
    """A table of an unknown type of column is refused in one line, without warnings of Astropy."""
    names = {"catalog": "RA DEC", "exclude": "RA DEC RADIUS", "epochs": "EPOCH START STOP"}[option].split()
    path = tmp_path / "odd.ecsv"
    lines = ["# %ECSV 1.0", "# ---", "# datatype:", *(f"# - {{name: {name}, unit: '?', datatype: floaX64}}" for name in names)]
    path.write_text("\n".join([*lines, " ".join(names), " ".join("1" for _ in names)]) + "\n")
    assert str(path) in only_line("make-bg-cube-models", folder / "in", "GADF", tmp_path / "out", f"--{option}", path)


def test_odd_groups_are_one_line(folder, tmp_path):
    """The groups of models are refused in one line, without warnings of Astropy."""
    odd = tmp_path / "models"
    shutil.copytree(folder / "models", odd)
    path = odd / "bg_observation_groups.ecsv"
    path.write_text(path.read_text().replace("float64", "floaX64"))
    assert only_line("attach", odd, folder / "in", "GADF", tmp_path / "out").endswith("[not-a-model]")


def test_odd_headers_are_one_line(folder, tmp_path):
    """A model whose header is damaged is refused in one line, without warnings of Astropy."""
    content = gzip.decompress(model_in(folder / "models").read_bytes())
    for number, (old, new) in enumerate(((b"TFIELDS =", b"TFIEL\xffS ="), (b"XTENSION=", b"XTENSXON="))):
        odd = changed(
            folder / "models", model_in(folder / "models").name,
            lambda path, old=old, new=new: path.write_bytes(compress(content.replace(old, new))), tmp_path / f"odd{number}",
        )  # fmt: skip
        assert "bgnb check" in only_line("attach", odd, folder / "in", "GADF", tmp_path / "out")


@pytest.mark.parametrize(
    "change",
    [{"creator": 1}, {"part": [1]}, {"part": [1, 10**9]}, {"part": ["1", "1"]}, {"plan": None}, {"settings": []}],
    ids=str,
)
def test_odd_description_of_a_part(folder, tmp_path, change):
    """A part whose description has other values is refused, even if its manifest agrees."""
    odd = tmp_path / "part"
    shutil.copytree(folder / "part", odd)
    content = json.loads((odd / "part.json").read_text())
    (odd / "part.json").write_text(json.dumps(content | change))
    sign(odd)
    with raises("parts-mismatch", odd):
        bgnb.merge([odd], tmp_path / "out")


def test_settings_of_a_part_name_its_file(folder, tmp_path):
    """Settings that are refused are those of the description of the part."""
    odd = tmp_path / "part"
    shutil.copytree(folder / "part", odd)
    content = json.loads((odd / "part.json").read_text())
    for setting in ({"exclude": 1}, {"exclude": [1]}, {"alt_edges": [10**400]}, {"exclusion_radius": 10**400}):
        (odd / "part.json").write_text(json.dumps(content | {"settings": content["settings"] | setting}))
        sign(odd)
        assert str(odd / "part.json") in only_line("merge", odd, tmp_path / "out")


def test_odd_settings_in_a_configuration(folder, tmp_path):
    """Numbers that no float can hold, values of other types, and names that no file can have are refused."""
    config = tmp_path / "config.json"
    for setting, text in (
        ({"exclusion_radius": 10**400}, "exclusion_radius must be an angle"),
        ({"alt_edges": [0, 10**400]}, "alt_edges must be numbers"),
        ({"exclude": 1}, "exclude"),
        ({"catalog": "a\0b"}, "a\ufffdb"),
        ({"catalog": "\ud800"}, "catalog"),
    ):
        config.write_text(json.dumps({"settings": setting}))
        line = only_line("make-bg-cube-models", folder / "in", "GADF", tmp_path / "out", "--config", config)
        assert text in line


def first_run(**values: object) -> Callable[[dict], object]:
    """Make a function that changes the first run in the text of packed counts."""
    return lambda text: text["stacks"][0]["runs"][0].update(values)


def first_key(*key: object) -> Callable[[dict], object]:
    """Make a function that changes the key of the first stack in the text of packed counts."""
    return lambda text: text["stacks"][0].update(key=key)


@pytest.mark.parametrize(
    "change",
    [
        first_run(obs_id="1"),
        first_run(livetime_s=float("nan")),
        first_run(livetime_s=None),
        first_run(ontime_s=-1.0),
        first_run(energy_threshold_tev=float("nan")),
        first_run(energy_limit_tev=[]),
        first_run(events=10**400),
        first_run(events=0),
        first_run(events_in_mask=-1),
        first_run(events_outside_axes=1.5),
        first_run(n_tels=10**30),
        first_run(alt_pnt=None, az_pnt=None),
        first_run(az_pnt=float("inf")),
        first_run(mjd=1e308),
        first_run(notes=[1]),
        first_run(selection="\x1b[31m"),
        first_run(telescop="\ud800"),
        first_run(simulated="yes"),
        first_run(fingerprint=[]),
        first_key(),
        first_key(0, ["1"], [0]),
        first_key(5, [1], [0]),
        first_key(0, [], []),
        first_key(0, [2], [0]),  # that of the second
        first_key(-1, [], []),
        first_run(livetime_s=0),
        first_run(livetime_s=1e-3),
        lambda text: text.update(errors=None),
        lambda text: text.update(errors={"1": ["code", "message"]}),
    ],
)
def test_odd_counts_of_a_part(folder, tmp_path, change):
    """Counts of other types, out of range or that contradict each other are refused, even if the manifest agrees."""
    odd = with_counts_changed(folder / "part", change, tmp_path / "part")
    assert only_line("merge", odd, tmp_path / "out").rpartition("[")[2] in ("damaged]", "wrong-run]")


def with_counts_changed(part: Path, change: Callable[[dict], object], target: Path) -> Path:
    """Copy a part, and change the text of its packed counts."""
    content = gzip.decompress((part / "run1.counted").read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    change(text := json.loads(content[8:end]))
    changed_text = json.dumps(text).encode()
    packed = compress(len(changed_text).to_bytes(8, "little") + changed_text + content[end:])
    odd = changed(part, "run1.counted", lambda path: path.write_bytes(packed), target)
    sign(odd)
    return odd


def test_counts_of_a_part_packed_anew(folder, tmp_path):
    """The same counts are accepted, so that those above are refused for what was changed."""
    bgnb.merge([with_counts_changed(folder / "part", lambda text: text, tmp_path / "part")], tmp_path / "out")


@pytest.mark.parametrize("part", ["1/" + "9" * 5000, "1/10000000"])
def test_too_many_parts(folder, tmp_path, part):
    """A number of parts that no one can have is refused."""
    with raises("invalid-argument", "part must be"):
        bgnb.make_bg_cube_models(folder / "in", "GADF", tmp_path / "out", part=part)


def test_odd_terms_of_a_spline(folder, tmp_path):
    """A spline whose tables do not match each other is refused when it is read."""
    for column, code in (("TERMS", "bad-header"), ("MEANS", "bad-column")):
        path = tmp_path / f"{column}.fits"
        with fits.open(folder / "models" / "bg_spline.fits.gz") as hdus:
            table = hdus[column].data
            table[table.names[0]][-1] = "?"
            hdus.writeto(path, checksum=True)
        with raises(code, path):
            bgnb.read_spline(path)


def test_paths_that_the_system_refuses(folder, tmp_path):
    """A path that the system does not look up, as here for its length or elsewhere for lack of permission, is one line."""
    long, runs, out = tmp_path / ("x" * 300), (folder / "in", "GADF"), tmp_path / "out"
    for arguments in (
        ("check", long),
        ("merge", long, out),
        ("make-bg-cube-models", *runs, out, "--select", "all", "--exclude", long),
        ("inspect", *runs, "--catalog", long),
        ("make-bg-cube-models", *runs, out, "--epochs", long),
        ("attach", long, *runs, out),
        ("make-true-reco", long, "--test"),
        ("run-notebook", f"{long}.ipynb", out.with_suffix(".ipynb")),
    ):
        line = error_of(*arguments)
        assert str(long) in line, arguments
        assert line.endswith(("[unreadable]", "[not-writable]")), line
        assert names(tmp_path) == set()
    with raises("unreadable", long):
        model_files(long)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOTCONN, "unreadable"), (errno.ENOSPC, "not-writable")])
@pytest.mark.parametrize("named", [True, False])
def test_file_systems_that_are_gone(folder, monkeypatch, number, code, named):
    """An error of a file system is one line, also where it is not expected, as from a server that no longer answers."""

    def gone(path, *_):
        raise OSError(number, os.strerror(number), *[str(path)] * named)

    monkeypatch.setattr(Path, "glob", gone)
    line = error_of("inspect", folder / "models", "GADF")
    where = f"{folder / 'models'}: " * named
    assert line == f"Error: {where}{os.strerror(number)}; is the file system there, writable and not full? [{code}]"


def test_file_that_is_lent_is_waited_for(tmp_path):
    """A file that a server has lent to another machine is read as soon as that has given it back."""
    (tmp_path / "file").write_bytes(b"content")
    with started([sys.executable, "-c", LEND, tmp_path / "file"]) as process:
        if process.stdout.readline() != "lent\n":
            pytest.skip("the file system has no leases")
        assert read_bytes(tmp_path / "file") == b"content"
        assert process.wait(PATIENCE) == 0
