"""Pictures of the model of a group, in files for papers and talks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bgnb._util.checks import checked_path
from bgnb._util.errors import BgnbError, printable
from bgnb._util.extras import require
from bgnb.cubes.model import BackgroundModel
from bgnb.files.model_directory import EPOCHS_FILE, ModelDirectory
from bgnb.files.output_file import check_new_file, is_in, named_errors, write_file
from bgnb.plots.cube_state import Energy, checked_energies, default_energy
from bgnb.plots.directory_views import DirectoryViews
from bgnb.plots.labels import format_count, format_number
from bgnb.plots.model_views import ModelState

#: Widths of one column and of a page, inches.
_COLUMN, _PAGE = 3.5, 7.0


def plot(
    modeldir: str | Path,
    group_id: int | None = None,
    *,
    output: str | Path | None = None,
    energy: Energy | tuple[Energy, Energy] | None = None,
    quantity: str = "rate",
    panels: Sequence[str] = ("image", "spectrum", "profile"),
    width: float | None = None,
    font_size: float = 7.0,
    dpi: float = 300.0,
    overwrite: bool = False,
) -> Path:
    """Plot the model of a group, and write a PNG, PDF or SVG file.

    Parameters
    ----------
    modeldir : path
        Directory of models.
    group_id : int, optional
        Group; by default the group with most counts.
    output : path, optional
        File to write, which ends in ``.png``, ``.pdf`` or ``.svg``; by default MODELDIR_groupID.png in the current directory.
    energy : `~astropy.units.Quantity`, str or float (TeV), or a pair of them
        Energy, or a range of energies; by default 1 TeV, or the nearest energy at which the model is measured.
    quantity : {"rate", "integrated rate", "counts", "livetime", "relative error"}
        Quantity of the image, see `bgnb.dashboards.explore_models`.
    panels : sequence of str
        Panels, in their order: ``image`` in the field of view, ``spectrum`` in its centre, ``profile`` against the offset,
        ``strips`` along DETX and DETY, ``zenith`` (rate against zenith angle) and ``groups`` (their map).
    width : float, optional
        Width of the picture, inches; by default 3.5 (a column) for one panel, else 7 (a page).
    font_size : float
        Size of the labels, points.
    dpi : float
        Pixels per inch, in PDF and SVG those of images.
    overwrite : bool
        Replace the file if it exists.

    Returns
    -------
    `~pathlib.Path`
        The file.

    Raises
    ------
    BgnbError
        If there is no such group or panel, the model has no such energy, an argument is invalid, or the file exists.

    Examples
    --------
    >>> import bgnb
    >>> path = bgnb.plot("models", 27, output="rate.pdf", energy="2 TeV", panels=["image"])
    >>> path.name
    'rate.pdf'
    """
    require("plots")
    from bgnb.plots.static import FORMATS

    models = ModelDirectory(modeldir)
    group_id = models.checked(group_id)
    name = _name_of(models.path)
    if output is None:
        output = "_".join([*name.split("/"), f"group{group_id}.png"])
    path = checked_path("output", output)
    check_new_file(path, tuple(FORMATS), overwrite=overwrite)
    with named_errors(path):
        if is_in(path.resolve(), models.path.resolve()):
            raise BgnbError("bad-target", f"{path}: lies in the directory of models; give another file as output")
    model = models.read(group_id)
    state = ModelState.from_arguments(group_id=group_id, energy=_energies(model, group_id, energy), quantity=quantity)
    view = DirectoryViews(models).view_of(state)
    heading = f"{name}, group {models.label(group_id)}\n{_describe(model)}"
    if width is None:
        width = _COLUMN if isinstance(panels, list | tuple) and len(panels) == 1 else _PAGE
    draw = FORMATS[path.suffix.lower()]
    content = draw(replace(view, title=heading, subject=""), width=width, font_size=font_size, panels=panels, dpi=dpi)
    write_file(path, content, overwrite=overwrite)
    return path


def _name_of(directory: Path) -> str:
    """Return the name of a directory of models; that of an epoch has the name of its parent directory as well."""
    path = directory.resolve()
    return printable(f"{path.parent.name}/{path.name}" if (path.parent / EPOCHS_FILE).exists() else path.name)


def _energies(model: BackgroundModel, group_id: int, energy: Energy | tuple[Energy, Energy] | None) -> tuple[float, float]:
    """Return the range of energies to show, TeV."""
    if energy is None:
        nearest = default_energy(model)
        return nearest, nearest
    low, high = checked_energies(energy)
    first, last = model.axes.energy.value[[0, -1]]
    if not first <= low <= high <= last:
        given = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        message = f"energy must lie on the axis of group {group_id}, {first:.3g} to {last:.3g} TeV, got {given} TeV"
        raise BgnbError("invalid-argument", message)
    return low, high


def _describe(model: BackgroundModel) -> str:
    """Describe a model, for the title of its picture."""
    if model.is_true:
        return "true model"
    hours = sum(run.livetime_s for run in model.stack.runs) / 3600
    runs, counts = format_count(len(model.stack.runs), "run"), format_count(int(model.stack.counts.sum()), "count")
    return f"method {model.method}, {runs}, {format_number(hours, 2)} h, {counts}"
