"""Commands for pictures, notebooks and dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bgnb._util.errors import command_line, printable
from bgnb.cli.as_typed import say
from bgnb.cli.options_from_settings import Command, FilePath, checks_outdir, overwrite, path_argument


def _listed(_: click.Context, __: click.Parameter, text: str | None) -> list[str] | None:
    """Split the value of an option at its commas."""
    return None if text is None else [part.strip() for part in text.split(",")]


_timeout = click.option("--timeout", type=float, help="Maximum duration of a cell, s.  [default: no limit]")


@click.command(no_args_is_help=True, cls=Command)
@path_argument("modeldir")
@click.argument("group_id", metavar="[GROUP]", type=int, required=False)
@click.option(
    "-o",
    "--output",
    type=FilePath(),
    metavar="FILE",
    help="A file that ends in .png, .pdf or .svg.  [default: MODELDIR_groupID.png in the current directory]",
)
@click.option(
    "--energy",
    metavar="ENERGY[,ENERGY]",
    callback=_listed,
    help='Energy, or a range: "2 TeV" or "1 TeV,10 TeV".  [default: 1 TeV, or the nearest energy that was measured]',
)
@click.option(
    "--quantity",
    default="rate",
    show_default=True,
    help="Quantity of the image: rate, integrated rate, counts, livetime or relative error.",
)
@click.option(
    "--panels",
    default="image,spectrum,profile",
    show_default=True,
    metavar="NAME,...",
    callback=_listed,
    help="Some of image, spectrum, profile, strips, zenith and groups, in their order.",
)
@click.option("--width", type=float, help="Width, inches.  [default: 3.5 for one panel, else 7]")
@click.option("--font-size", type=float, default=7.0, show_default=True, help="Size of the labels, points.")
@click.option("--dpi", type=float, default=300.0, show_default=True, help="Pixels per inch.")
@overwrite
def plot(**arguments: Any) -> None:
    """Plot the model of a group.

    Writes a picture with the rate in the field of view at an energy, the spectrum in its centre, and the rate against the
    offset, or the panels in --panels. GROUP is by default the group with the most counts.

    \b
    Examples:
      bgnb plot models
      bgnb plot models 27 -o rate.pdf --energy "2 TeV" --panels image --width 3.5
      bgnb plot models --panels image,spectrum,profile,groups,zenith,strips
    """
    if (path := arguments["output"]) is not None:
        from bgnb.files.output_file import check_new_file

        check_new_file(path, (".png", ".pdf", ".svg"), overwrite=arguments["overwrite"])
    from bgnb.files.model_directory import ModelDirectory
    from bgnb.plots.model_pictures import plot

    if (energies := arguments["energy"]) is not None and len(energies) == 1:
        (arguments["energy"],) = energies
    path = plot(**arguments)
    models, group_id = ModelDirectory(arguments["modeldir"]), arguments["group_id"]
    if group_id is not None:
        click.echo(f"The picture is {path}")
        return
    chosen = models.checked(None)
    click.echo(f"The picture is {path}, of group {chosen}, which has the most counts")
    if others := [str(each) for each in models.group_ids if each != chosen]:
        command = command_line("plot", arguments["modeldir"], others[0])
        click.echo(f"Other groups: {', '.join(others)}; to plot one of them: {command}")


@click.command(no_args_is_help=True, cls=Command)
@click.argument("notebook")
@path_argument("output")
@click.option(
    "-p", "--parameter", "texts", multiple=True, type=(str, str), metavar="NAME VALUE", help="A parameter; may be repeated."
)
@_timeout
@click.option("--overwrite", is_flag=True, help="Replace the directories of an earlier run; the same as -p overwrite True.")
def run_notebook(
    notebook: str, output: Path, texts: tuple[tuple[str, str], ...], timeout: float | None, overwrite: bool
) -> None:
    """Run a notebook with parameters.

    NOTEBOOK is a file, or the name of a notebook that comes with bgnb: simulate_dataset,
    from_runs_to_models, make_bg_cube_models, true_reco, compare_models, validate,
    group_report, explore, explore_true_reco, or, with Gammapy, significance_map,
    extended_source or upper_limit. OUTPUT is the executed notebook; it appears when
    it is complete, and replaces an older one. A notebook that fails is kept as
    ….failed.ipynb. Write lists as [1, 2, 3], and no value as None. The error for an unknown
    parameter lists those of the notebook.

    \b
    Examples:
      bgnb run-notebook make_bg_cube_models out.ipynb -p indir hess-dl3-dr1 -p outdir models
      bgnb run-notebook true_reco out.ipynb -p n_runs 20 -p method michi -p n_fov 40
    """
    from bgnb.notebooks.content import notebook_parameters
    from bgnb.notebooks.run import run_notebook

    declared = notebook_parameters(notebook)
    texts += (("overwrite", "True"),) * overwrite
    values = {name: declared[name].from_text(text) if name in declared else text for name, text in texts}
    say(f"The executed notebook is {run_notebook(notebook, output, values, timeout=timeout)}")


@click.command(no_args_is_help=True, cls=Command)
@path_argument("modeldir")
@path_argument("outdir")
@click.option(
    "--notebook", default="group_report", show_default=True, help="A notebook with the parameters modeldir and group_id."
)
@click.option("--workers", default=2, show_default=True, help="Number of notebooks at a time.")
@_timeout
@overwrite
@checks_outdir("modeldir")
@click.pass_context
def run_groups(ctx: click.Context, /, **arguments: Any) -> None:
    """Run a notebook for each group of models.

    OUTDIR contains index.html, and for each group the executed notebook, its conversion
    to HTML, and its first PNG. If the notebook of a group fails, the others continue; the
    errors are listed at the end, and the exit status is 1.

    \b
    Example:
      bgnb run-groups models reports --workers 4
    """
    from bgnb.notebooks.group_reports import run_groups

    problems = run_groups(**arguments)
    click.echo(f"Open {arguments['outdir'] / 'index.html'}")
    for group_id, problem in problems.items():
        click.echo(printable(f"Error: group {group_id}: {problem}"), err=True)
    ctx.exit(1 if problems else 0)


@click.command(no_args_is_help=True, cls=Command)
@path_argument("modeldir")
@click.argument("jupyter_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- JUPYTER OPTIONS]")
@click.option(
    "--compare",
    type=FilePath(),
    metavar="DIR2",
    help="Models to compare with those in MODELDIR, the reference.",
)
def lab(modeldir: Path, compare: Path | None, jupyter_arguments: tuple[str, ...]) -> None:
    """Open JupyterLab on the dashboards of models.

    Writes explore.ipynb (or explore_true_reco.ipynb) to the current directory, which must not be
    writable by others, with MODELDIR filled in, and opens it; then run all cells. An existing
    notebook is never overwritten, and is opened again only if its cells are unchanged and its outputs
    contain neither HTML nor code.
    JupyterLab listens on this machine only and asks for its token, which is in the address that it
    prints. Arguments after -- are passed to `jupyter lab`.

    \b
    Examples:
      bgnb lab models
      bgnb lab truth/true --compare truth/reco
      bgnb lab models -- --no-browser --port=8899
    """
    from bgnb.notebooks.lab import open_lab, prepare_notebook

    notebook = prepare_notebook(modeldir, compare)
    click.echo(f"Opening {notebook} in JupyterLab; in its menu choose Run, Run All Cells. Ctrl-C twice ends it.")
    open_lab(notebook, jupyter_arguments)


@click.command(no_args_is_help=True, cls=Command)
@path_argument("directory")
def copy_notebooks(directory: Path) -> None:
    """Copy the notebooks that come with bgnb to a directory.

    \b
    Example:
      bgnb copy-notebooks my-notebooks
    """
    from bgnb.notebooks.shipped import copy_notebooks

    for path in copy_notebooks(directory):
        click.echo(path)
