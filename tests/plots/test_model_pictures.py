"""Pictures of models: files, titles, labels, errors, and what is visible."""

import re
import shlex
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy import units as u
from matplotlib.image import imread

import bgnb
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.stack import Stack
from bgnb.plots import static
from tests.helpers.commands import error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.model_directories import model_directory
from tests.helpers.models import AXES, asymmetric_model

ALL = ("image", "spectrum", "profile", "groups", "zenith", "strips")
QUANTITIES = ("rate", "integrated rate", "counts", "livetime", "relative error")


def sparse_model() -> BackgroundModel:
    """Make a model of few counts, without livetime at low energies and without error."""
    stack = asymmetric_model().stack
    counts = np.random.default_rng(5).poisson(0.1, AXES.shape)
    livetime = stack.livetime_us.copy()
    counts[:2], livetime[:2] = 0, 0
    return replace(bgnb.make_model(Stack(AXES, "ALTAZ", counts, livetime, stack.runs), "unsmoothed"), error=None)


@pytest.fixture(scope="module")
def modeldir(tmp_path_factory) -> Path:
    """Directory with a rich model, group 27, and two sparse ones, groups 13 and 15."""
    directory = model_directory(tmp_path_factory.mktemp("of models") / "my models", groups=(27, 15))
    pointing = {"ALT_PNT": 47.0, "AZ_PNT": 190.0}
    for group_id, model in ((13, sparse_model()), (15, bgnb.make_model(sparse_model().stack, "classic"))):
        bgnb.write_model(model, directory / f"bg_cube_model_group{group_id}_table.fits.gz", pointing)
    return directory


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def drawn(monkeypatch) -> list:
    """List of all figures that are drawn."""
    figures, draw = [], static._draw

    def keep(*arguments):
        figures.append(draw(*arguments))
        return figures[-1]

    monkeypatch.setattr(static, "_draw", keep)
    return figures


def texts_of(svg: Path) -> list[str]:
    return ["".join(each.itertext()).strip() for each in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89P"), ("b.pdf", b"%PDF"), ("c.svg", b"<?xml")])
def test_format_follows_extension(modeldir, here, name, start):
    """The extension chooses the format; command and function write the same file. One in capitals: test_size_and_resolution."""
    panels = ["image", "profile"] if name == "a.png" else ["image"]
    assert bgnb.plot(modeldir, 27, output=name, panels=panels) == Path(name)
    content = Path(name).read_bytes()
    assert content.startswith(start)
    output_of("plot", modeldir, 27, "--output", name, "--panels", ", ".join(panels), "--overwrite")
    assert Path(name).read_bytes() == content
    assert [path.name for path in here.iterdir()] == [name]


def test_title_names_model_and_method(modeldir, here):
    """The title names directory, group and method, and with an epoch its parent directory."""
    texts = texts_of(bgnb.plot(modeldir, 27, output="a.svg"))
    title = " ".join(texts)
    for part in ("my models, group 27: altitude 72 to 90°", "method classic, 2 runs, 0.83 h", " counts"):
        assert part in title
    (modeldir.parent / "epochs.ecsv").touch()
    assert f"{modeldir.parent.name}/my models, group 27" in " ".join(texts_of(bgnb.plot(modeldir, 27, output="b.svg")))
    assert bgnb.plot(modeldir, 27, panels=["image"]).name == f"{modeldir.parent.name}_my models_group27.png"
    (modeldir.parent / "epochs.ecsv").unlink()


def test_default_group_is_named(modeldir, here):
    """Without GROUP, the command plots the group with most counts, and says how to plot another one."""
    said = output_of("plot", modeldir)
    assert "my models_group27.png, of group 27" in said
    assert (here / "my models_group27.png").exists()
    assert "13, 15" in said
    command = shlex.split(said.strip().partition(" one of them: ")[2])
    assert command == ["bgnb", "plot", str(modeldir), "13"]
    assert "my models_group13.png" in output_of(*command[1:])
    assert len(list(here.iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        ({"group_id": 3}, "not-found", ("group 3", "13, 15, 27")),
        ({"energy": "500 TeV"}, "invalid-argument", ("energy", "500 TeV", "0.3 to 60 TeV")),
        ({"energy": ("0.1 TeV", "1 TeV")}, "invalid-argument", ("energy", "0.1 to 1 TeV", "0.3 to 60 TeV")),
        ({"energy": "2 s"}, "invalid-argument", ("energy",)),
        ({"energy": ("2 TeV", "1 TeV")}, "invalid-argument", ("energy",)),
        ({"quantity": "flux"}, "unknown-choice", ("flux", "relative error")),
        ({"panels": ["image", "sky"]}, "unknown-choice", ("sky", "strips")),
        ({"panels": []}, "invalid-argument", ("panels",)),
        ({"panels": 3}, "invalid-argument", ("panels",)),
        ({"output": "a.eps"}, "invalid-argument", ("a.eps", ".png, .pdf or .svg")),
        ({"output": "png"}, "invalid-argument", ("png",)),
        ({"output": "no/a.png"}, "not-writable", ("no/a.png",)),
        ({"output": 5}, "invalid-argument", ("output",)),
        ({"width": 0.5}, "invalid-argument", ("width",)),
        ({"font_size": 90}, "invalid-argument", ("font_size",)),
        ({"dpi": 5}, "invalid-argument", ("dpi", "30 to 1200")),
        ({"dpi": "many"}, "invalid-argument", ("dpi",)),
        ({"dpi": 1200, "width": 30}, "invalid-argument", ("dpi", "36000 pixels")),
    ],
)
def test_invalid_arguments_fail(modeldir, here, options, code, named):
    """An invalid argument raises an error that names it, and no file is written."""
    with raises(code, *named):
        bgnb.plot(modeldir, **options)
    assert not list(here.iterdir())


@pytest.mark.parametrize("name", ["dpi", "font-size", "width", "energy", "panels"])
def test_errors_of_the_command_name_options(modeldir, here, name):
    value = {"energy": "500 TeV", "panels": "sky"}.get(name, "0.5")
    assert ("panel" if name == "panels" else f"--{name} ") in error_of("plot", modeldir, f"--{name}", value)


def test_missing_and_wrong_directories_fail(here):
    """A directory without models, and one with models for each epoch, are named."""
    with raises("not-found", "nowhere"):
        bgnb.plot("nowhere")
    for epoch in ("2004", "2005"):
        (here / "models" / epoch).mkdir(parents=True)
    assert "[not-a-model]" in error_of("plot", "models")
    (here / "models" / "epochs.ecsv").touch()
    assert "models: contains models for each epoch; give one of: 2004, 2005" in error_of("plot", "models")


def test_existing_file_is_kept(modeldir, here):
    """A file is replaced only if requested, and kept if the new one cannot be made."""
    (here / "a.svg").write_text("mine")
    assert "--overwrite" in error_of("plot", modeldir, "-o", "a.svg")
    with raises("exists", "a.svg"):
        bgnb.plot(modeldir, output="a.svg")
    with raises("exists", "a.svg"):  # before it is drawn
        bgnb.plot(modeldir, output="a.svg", panels=["sky"])
    with raises("unknown-choice"):
        bgnb.plot(modeldir, output="a.svg", panels=["sky"], overwrite=True)
    (here / "link.svg").symlink_to("missing.svg")
    with raises("exists", "link.svg"):
        bgnb.plot(modeldir, output="link.svg")
    assert (here / "a.svg").read_text() == "mine"
    output_of("plot", modeldir, "-o", "a.svg", "--overwrite")
    assert "energy / TeV" in texts_of(here / "a.svg")
    assert {path.name for path in here.iterdir()} == {"a.svg", "link.svg"}


def test_file_is_complete_or_absent(modeldir, here, monkeypatch):
    """If the disk is full, neither a part of the file remains nor the older file is lost."""
    (here / "a.pdf").write_text("mine")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for name in ("a.pdf", "b.pdf"):
        with raises("not-writable", "No space left"):
            bgnb.plot(modeldir, output=name, panels=["image"], overwrite=True)
    assert [path.name for path in here.iterdir()] == ["a.pdf"]
    assert (here / "a.pdf").read_text() == "mine"


def test_directory_of_models_remains_as_it_is(modeldir, monkeypatch):
    """No picture is written into the directory of models, as --overwrite of the main job would refuse to replace it."""
    before = sorted(modeldir.iterdir())
    monkeypatch.chdir(modeldir)
    with raises("bad-target", "my models_group27.png"):
        bgnb.plot(".")
    assert sorted(modeldir.iterdir()) == before


def test_panels_are_chosen(modeldir, here):
    """Panels are drawn in the requested order; three by default."""
    kinds = {"image": "DETX / deg", "spectrum": "energy / TeV", "profile": "offset / deg", "zenith": "zenith angle / deg"}

    def shown(**options):
        texts = texts_of(bgnb.plot(modeldir, 27, output="a.svg", overwrite=True, **options))
        return [kind for kind, label in sorted(kinds.items(), key=lambda item: texts.index(item[1]) if item[1] in texts else -1)
                if label in texts]  # fmt: skip

    assert shown() == ["image", "spectrum", "profile"]
    assert shown(panels=("zenith", "image")) == ["zenith", "image"]


def test_energy_is_measured_by_default(modeldir, here):
    """By default, the image shows 1 TeV, or the nearest energy with measurements."""
    edges = AXES.energy.value
    assert edges[1] < 1 < edges[2]
    for group_id, where in ((27, 1), (13, 2), (15, 2)):
        texts = " ".join(texts_of(bgnb.plot(modeldir, group_id, panels=["image"], output=f"{group_id}.svg")))
        assert f"Rate at {edges[where]:.3g} to {edges[where + 1]:.3g} TeV" in texts
        assert "extrapolated" not in texts
    given = " ".join(texts_of(bgnb.plot(modeldir, 15, panels=["image"], energy=0.5 * u.TeV, output="c.svg")))
    assert f"Rate at {edges[0]:.3g} to {edges[1]:.3g} TeV, extrapolated" in given
    output_of("plot", modeldir, 27, "-o", "d.svg", "--energy", "1 TeV,40 TeV")
    assert f"Rate at {edges[1]:.3g} to {edges[5]:.3g} TeV" in " ".join(texts_of(here / "d.svg"))


def test_size_and_resolution(modeldir, here):
    """The default width is a column for one panel, else a page, and the resolution is that requested."""
    for panels, width in ((["image"], 3.5), (["image", "spectrum"], 7)):
        png = bgnb.plot(modeldir, panels=panels, output="a.png", overwrite=True).read_bytes()
        assert imread(BytesIO(png)).shape[1] == width * 300
    output_of("plot", modeldir, "-o", "b.PNG", "--width", 5, "--dpi", 100)
    assert imread(BytesIO((here / "b.PNG").read_bytes())).shape[1] == 500


def errors_of(axes):
    """List the error bands and error bars of a panel, as pairs of corners or ends."""
    bands = [bar.get_bbox().get_points() for container in axes.containers for bar in container]
    bars = [ends for lines in axes.collections for ends in lines.get_segments() if len(ends)]
    return np.array([ends for ends in (*bands, *bars) if np.isfinite(ends).all()]).reshape(-1, 2, 2)


def drawn_points(axes):
    """List points along all lines, and the ends of all errors, in pixels."""
    x, y = errors_of(axes).reshape(-1, 2).T
    points = [axes.transData.transform(np.column_stack([x, np.where((y <= 0) & (axes.get_yscale() == "log"), 1e-99, y)]))]
    for line in axes.lines:
        corners = axes.transData.transform(np.column_stack(line.get_data()).astype(float))
        corners = corners[np.isfinite(corners).all(axis=1)]
        points += [corners, *(corners[:-1] + step * np.diff(corners, axis=0) for step in np.linspace(0, 1, 20))]
    return np.concatenate(points)


def is_inside(inner, outer, margin=0.5):
    """Return true if a box lies in another one."""
    outer = outer.padded(margin)
    return bool(outer.x0 <= inner.x0 and inner.x1 <= outer.x1 and outer.y0 <= inner.y0 and inner.y1 <= outer.y1)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "group_id"), [(3.5, 27), (7, 13), (7, 15), (14, 27)])
def test_nothing_is_hidden(modeldir, here, drawn, width, group_id):
    """All texts are in the figure, all errors in their panels, and no legend covers points, lines or errors."""
    bgnb.plot(modeldir, group_id, panels=ALL, width=width, output="a.png", dpi=50)
    (figure,) = drawn
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.axison]
    bars = [bar for axes in figure.axes for bar in axes.child_axes]
    assert (len(panels), len(bars)) == (5, 2)
    for axes in (*figure.axes, *bars):
        assert is_inside(axes.get_tightbbox(), figure.bbox), axes.get_title()
    (title,) = figure.texts
    assert is_inside(title.get_window_extent(), figure.bbox)
    assert not any(title.get_window_extent().overlaps(axes.get_tightbbox()) for axes in figure.axes)
    legends = 0
    for axes in panels:
        low, high = axes.get_ylim()
        for (_, start), (_, end) in errors_of(axes):
            assert low <= start or (axes.get_yscale() == "log" and start < 0.11 * end), axes.get_title()
            assert start <= end <= high, axes.get_title()
        if legend := axes.get_legend():
            box, legends = legend.get_window_extent(), legends + 1
            assert not any(box.contains(*point) for point in drawn_points(axes)), axes.get_title()
            assert not any(box.overlaps(text.get_window_extent()) for text in [axes.xaxis.label, *axes.get_xticklabels()])
    assert legends >= 2
    assert sum(len(errors_of(axes)) for axes in panels) > 5


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_axes_have_quantity_and_unit(modeldir, here, drawn, quantity):
    """Each axis and each colour bar names its quantity and unit; only counts have no unit."""
    panels = ALL if quantity == "rate" else ("image", "groups")  # the others show the rate, whatever the image shows
    bgnb.plot(modeldir, 27, panels=panels, quantity=quantity, output="a.png", dpi=50)
    (figure,) = drawn
    assert len(figure.axes) == len(panels)
    labels = {axis.get_label_text() for axes in figure.axes if axes.axison for axis in (axes.xaxis, axes.yaxis)}
    bars = [bar.get_ylabel() for axes in figure.axes for bar in axes.child_axes]
    assert len(bars) == 2
    for label in (*labels, *bars):
        assert re.fullmatch(r"[\w ]+ / (deg|TeV|h|%|\S+ h|\((10\S* )?(MeV⁻¹ )?s⁻¹ sr⁻¹\))|counts per bin", label), label
    assert bars[0].startswith(quantity)
    assert {"DETX / deg", "DETY / deg"} <= labels
    if panels == ALL:
        assert {"energy / TeV", "offset / deg", "zenith angle / deg", "DETX or DETY / deg"} < labels
    assert all(label.startswith("rate / (") for label in labels if "sr⁻¹" in label)


@pytest.mark.slow
def test_main_job_names_the_command(here):
    """The last line of the main job has commands that work if they are pasted, also with spaces in the path."""
    bgnb.make_test_dataset(here / "runs", n_runs=2, trigger_rate=3.0, alt_range=(60, 66), az_range=(100, 170), progress=False)
    said = output_of("make-bg-cube-models", "runs", "GADF", "my models", "--method", "classic", "--n-fov", 20)
    command = re.search(r"bgnb (plot [^;]*)", said)[1]
    assert "my models_group23.png" in output_of(*shlex.split(command))
    assert (here / "my models_group23.png").stat().st_size > 10_000
