"""Commands for notebooks and dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bgnb.cli.as_typed import say
from bgnb.cli.options_from_settings import Command, checks_outdir, overwrite

_timeout = click.option("--timeout", type=float, help="Maximum duration of a cell, s.  [default: no limit]")


@click.command(no_args_is_help=True, cls=Command)
@click.argument("notebook")
@click.argument("output", type=click.Path(path_type=Path))
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
    make_bg_cube_models, true_reco, compare_models, validate, group_report, explore,
    explore_true_reco or significance_map. OUTPUT is the executed notebook; it appears when
    it is complete, and replaces an older one. A notebook that fails is kept as
    ….failed.ipynb. Lists are given as [1, 2, 3], no value as None. Directories of an
    earlier run are replaced with --overwrite.
    The error for an unknown parameter lists those of the notebook.

    \b
    Examples:
      bgnb run-notebook make_bg_cube_models out.ipynb -p indir hess-dl3-dr1 -p outdir models
      bgnb run-notebook true_reco out.ipynb -p n_runs 20 -p method michi -p n_fov 40
    """
    from bgnb.notebooks.run import notebook_parameters, run_notebook

    declared = notebook_parameters(notebook)
    texts += (("overwrite", "True"),) * overwrite
    values = {name: declared[name].from_text(text) if name in declared else text for name, text in texts}
    say(f"The executed notebook is {run_notebook(notebook, output, values, timeout=timeout)}")


@click.command(no_args_is_help=True, cls=Command)
@click.argument("modeldir", type=click.Path(path_type=Path))
@click.argument("outdir", type=click.Path(path_type=Path))
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
        click.echo(f"Error: group {group_id}: {problem}", err=True)
    ctx.exit(1 if problems else 0)


@click.command(no_args_is_help=True, cls=Command)
@click.argument("modeldir", type=click.Path(path_type=Path))
@click.argument("jupyter_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- JUPYTER OPTIONS]")
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    metavar="DIR2",
    help="Models to compare with those in MODELDIR, the reference.",
)
def lab(modeldir: Path, compare: Path | None, jupyter_arguments: tuple[str, ...]) -> None:
    """Open JupyterLab on the dashboards of models.

    Writes explore.ipynb (or explore_true_reco.ipynb) to the current directory, with
    MODELDIR filled in, and opens it: run all cells. Existing notebooks are kept, and opened
    again only if their cells are unchanged. JupyterLab listens on this machine only and asks
    for its token, which is in the address that it prints. Arguments after -- are passed to
    `jupyter lab`.

    \b
    Examples:
      bgnb lab models
      bgnb lab truth/true --compare truth/reco
      bgnb lab models -- --no-browser --port=8899
    """
    from bgnb.notebooks.lab import open_lab, prepare_notebook

    notebook = prepare_notebook(modeldir, compare)
    click.echo(f"Opening {notebook} in JupyterLab; in its menu choose Run, Run All Cells. Ctrl-C ends it.")
    open_lab(notebook, jupyter_arguments)


@click.command(no_args_is_help=True, cls=Command)
@click.argument("directory", type=click.Path(path_type=Path))
def copy_notebooks(directory: Path) -> None:
    """Copy the notebooks that come with bgnb to a directory.

    \b
    Example:
      bgnb copy-notebooks my-notebooks
    """
    from bgnb.notebooks.shipped import copy_notebooks

    for path in copy_notebooks(directory):
        click.echo(path)
