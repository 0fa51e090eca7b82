"""Commands that make, check and attach models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bgnb._util.compression import HAS_ISAL
from bgnb._util.errors import BgnbError, command_line, printable
from bgnb.cli.as_typed import say
from bgnb.cli.options_from_settings import Command, checks_outdir, config, overwrite, path_argument, settings, warn, workers
from bgnb.gammapy.settings import AttachSettings
from bgnb.production.settings import ProductionSettings

if TYPE_CHECKING:
    from bgnb.production.report import Report


@click.command(no_args_is_help=True, cls=Command)
@settings(ProductionSettings)
@path_argument("outdir")
@overwrite
@workers
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Address of a Dask scheduler whose workers read the runs, such as tcp://10.0.0.1:8786.",
)
@click.option("--part", metavar="I/N", help="Count only part I of N, for `bgnb merge`.")
@click.option(
    "--epochs",
    metavar="FILE|COLUMN",
    help="Make models for each epoch, in OUTDIR/EPOCH. FILE is a table with the columns EPOCH, START, STOP (dates or MJD); "
    "COLUMN is a column of the index of runs.",
)
@config(ProductionSettings)
@checks_outdir("indir")
def make_bg_cube_models(**arguments: Any) -> None:
    """Make background cube models from a directory of runs.

    INDIR contains event lists in the layout SCHEME: GADF (obs-index.fits.gz and
    hdu-index.fits.gz), HESS (runinfo.fits and folders of 200 runs) or FILES (no index: INDIR is a
    directory of FITS files, a FITS file, or a text file with one path per line). The new
    directory OUTDIR contains two FITS files per group of runs, the tables of runs and groups, and
    report.json with the outcome of every run.

    \b
    Examples:
      bgnb make-bg-cube-models hess-dl3-dr1 GADF models
      bgnb make-bg-cube-models hess-dl3-dr1 GADF quick --test
      bgnb make-bg-cube-models hess-dl3-dr1 GADF models --method spline --overwrite
      bgnb make-bg-cube-models magic GADF models --alt-edges 0,40,60,90 --az-edges 0,360
      bgnb make-bg-cube-models dl3-files FILES models
      bgnb make-bg-cube-models runs GADF models --scheduler tcp://10.0.0.1:8786
      bgnb make-bg-cube-models runs GADF part3 --part 3/10
      bgnb make-bg-cube-models runs GADF models --epochs epochs.ecsv
      bgnb make-bg-cube-models hess-dl3-dr1 GADF again --config models/report.json
    """
    from bgnb.production.epochs import make_epoch_models
    from bgnb.production.pipeline import make_bg_cube_models

    if arguments["epochs"] is not None:
        if arguments.pop("part") is not None:
            message = "--part and --epochs cannot be combined; count the runs of each epoch with --select"
            raise BgnbError("conflicting-arguments", message)
        by_epoch = make_epoch_models(**arguments)
        say(by_epoch)
        warn(by_epoch.faults)
        click.echo(f"The models of the epochs are in {arguments['outdir']}, which bgnb attach accepts")
        return
    del arguments["epochs"]
    report = make_bg_cube_models(**arguments)
    if part := arguments["part"]:
        click.echo(report.summary)
        warn(report.faults)
        click.echo(f"Part {part} is in {arguments['outdir']}; to merge all parts: bgnb merge PART... MODELS")
        return
    _print_report(report)
    _print_place(arguments["outdir"])


def _print_place(outdir: Path) -> None:
    picture, dashboards = command_line("plot", outdir), command_line("lab", outdir)
    click.echo(f"Models and report.json are in {outdir}; for a picture: {picture}; to explore them: {dashboards}")


def _print_report(report: Report) -> None:
    say(report)
    if not HAS_ISAL:
        click.echo("note: install isal to read gzipped files faster: pip install isal")
    warn(report.faults)


@click.command(no_args_is_help=True, cls=Command)
@path_argument("parts", nargs=-1, required=True)
@path_argument("outdir")
@overwrite
@checks_outdir("parts")
def merge(**arguments: Any) -> None:
    """Make models from runs that were counted in parts.

    PARTS are the N directories that `bgnb make-bg-cube-models ... --part I/N` wrote with the
    same settings. The models are identical to those made without --part.

    \b
    Example:
      for i in 1 2 3; do bgnb make-bg-cube-models runs GADF parts/$i --part $i/3; done
      bgnb merge parts/* models
    """
    from bgnb.production.pipeline import merge

    report = merge(**arguments)
    _print_report(report)
    _print_place(arguments["outdir"])


@click.command(no_args_is_help=True, cls=Command)
@path_argument("modeldir")
@path_argument("indir")
@settings(AttachSettings)
@path_argument("outdir")
@overwrite
@workers
@click.option("--scheduler", metavar="ADDRESS", help="Address of a Dask scheduler whose workers make the backgrounds.")
@checks_outdir("indir", "modeldir")
def attach(**arguments: Any) -> None:
    """Attach models to runs: make a data store for Gammapy.

    MODELDIR contains models, INDIR runs in the layout SCHEME (GADF, HESS or FILES). The new
    directory OUTDIR contains index files that refer to the files of INDIR, which are not changed, and a
    background for every run. Open it with gammapy.data.DataStore.from_dir. Its paths are
    relative, so move OUTDIR and INDIR together. report.json contains the outcome of every run.

    \b
    Examples:
      bgnb attach models hess-dl3-dr1 GADF store
      bgnb attach models hess-dl3-dr1 GADF crab --select crab_runs.txt --model-lookup nearest
    """
    from bgnb.gammapy.attach import attach

    report = attach(**arguments)
    say(report)
    warn(report.faults)
    store = arguments["outdir"]
    opened = f"DataStore.from_dir({json.dumps(str(store), ensure_ascii=False)}).{report.call}"
    click.echo(f"The data store and report.json are in {store}; in Gammapy: {opened}")


@click.command(no_args_is_help=True, cls=Command)
@path_argument("directory")
@click.pass_context
def check(ctx: click.Context, directory: Path) -> None:
    """Check the files of a directory that bgnb wrote.

    Compares the files with the checksums in manifest.json of DIRECTORY, and prints a line for each
    file that is missing, changed, or not written by bgnb. The exit status is 1 if there are
    such files, and 2 if bgnb did not write the directory.

    \b
    Example:
      bgnb check models
    """
    from bgnb.files.manifest import check

    found = check(directory)
    problems = {name: problem for name, problem in found.items() if problem}
    for name, problem in problems.items():
        click.echo(f"{printable(str(directory / name))}: {problem}")
    if not problems:
        click.echo(f"{directory}: all {len(found)} files are as bgnb wrote them")
    ctx.exit(1 if problems else 0)
