"""The command line: one command per public verb, with the argument names of the functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from bgnb import __version__
from bgnb.errors import BgnbError, notes_of


class _BadInput(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """A group whose commands end with one clear line, and exit status 2, where the input is bad."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BgnbError as error:
            raise _BadInput("\n".join([str(error), *notes_of(error)])) from error


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options in one decorator, for commands that share them."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_overwrite = click.option("--overwrite", is_flag=True, help="Replace what an earlier call made.")
_on_error = click.option(
    "--on-error",
    default="skip",
    show_default=True,
    metavar="skip|fail",
    help="A run that cannot be used: leave it out and report it, or stop at once and make nothing.",
)
_seed = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random numbers.")
_workers = click.option(
    "--workers", type=int, help="Processes on this machine.  [default: all cores, fewer where there is little to do]"
)
_energy_threshold = click.option(
    "--energy-threshold", type=float, help="LO_THRES at the zenith, TeV; grows as sin(altitude)^-3.  [default: 0.1 everywhere]"
)
_observatory = click.option(
    "--observatory", default="HESS", show_default=True, help="HESS, MAGIC, VERITAS, CTAO-NORTH or CTAO-SOUTH."
)
_fovalign = click.option("--fovalign", default="ALTAZ", show_default=True, help="Frame of DETX and DETY: ALTAZ or RADEC.")
_n_energy = click.option("--n-energy", type=int, help="Energy bins.  [default: 20, fewer in groups with fewer than 100 runs]")
_n_fov = click.option(
    "--n-fov", type=int, help="Bins in each of DETX and DETY.  [default: 60, fewer in groups with fewer than 100 runs]"
)
_method = click.option(
    "--method", default="default", show_default=True, help="How counts become a rate: default, michi, spline or unsmoothed."
)


def _true_model(spectral_index: float) -> Callable[[Any], Any]:
    """Options for the parameters of the true model."""
    return _options(
        click.option(
            "--trigger-rate", default=300.0, show_default=True, help="Background events per second at the zenith, unmasked."
        ),
        click.option("--sigma", default=5.0, show_default=True, help="Width of the field of view at the highest energy, deg."),
        click.option(
            "--spectral-index",
            default=spectral_index,
            show_default=True,
            help="Counts per log energy fall with it, the rate with it + 1.",
        ),
        click.option("--gradient-x", default=0.0, show_default=True, help="Relative change of the rate per deg of DETX."),
        click.option("--gradient-y", default=0.0, show_default=True, help="The same for DETY."),
        click.option("--mask-quadrant", is_flag=True, help="No events where DETX > 0 and DETY > 0."),
        _fovalign,
    )


def _edges(_: click.Context, __: click.Parameter, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(edge) for edge in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of numbers such as 0,45,90") from None


_selection = _options(
    click.option(
        "--select",
        default="far",
        show_default=True,
        metavar="far|all|FILE",
        help="Runs to keep: far from known sources, all, or those with the OBS_IDs in a text file, one a line.",
    ),
    click.option(
        "--catalog",
        type=click.Path(path_type=Path),
        help="Known sources: any table with RA, DEC and optionally EXTENSION (deg).",
    ),
    click.option(
        "--exclusion-radius",
        default="3 deg",
        show_default=True,
        help="Far means more than this plus twice the source's extension.",
    ),
)
_group_edges = _options(
    click.option(
        "--alt-edges", callback=_edges, help="Edges of the groups in altitude, deg, such as 0,45,90.  [default: 14 groups]"
    ),
    click.option("--az-edges", callback=_edges, help="Edges of the groups in azimuth, deg.  [default: -90,90,270]"),
)
_between = click.option(
    "--between",
    default="interpolate",
    show_default=True,
    help="A model for a run: interpolate between groups (a spline: evaluate it), or take the nearest.",
)
_validation_grid = _options(
    click.option(
        "--interpolation",
        default="gammapy",
        show_default=True,
        help="Between bin centres: gammapy (log rate, linear), or none: constant in each bin.",
    ),
    _between,
    click.option("--energy-min", default="0.5 TeV", show_default=True, help="Lower end of the energy bins."),
    click.option("--energy-max", default="50 TeV", show_default=True, help="Upper end of the energy bins."),
    click.option("--n-energy", default=8, show_default=True, help="Energy bins."),
    click.option("--pixel", default="0.5 deg", show_default=True, help="Width of the pixels."),
    click.option("--offset-max", default="2.5 deg", show_default=True, help="Greatest offset of a pixel from the pointing."),
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bgnb")
def main() -> None:
    """Background cube models for very-high-energy gamma-ray astronomy."""


@main.command(no_args_is_help=True)
@click.argument("indir", type=click.Path(path_type=Path))
@click.argument("scheme")
@click.argument("outdir", type=click.Path(path_type=Path))
@click.option("--test", is_flag=True, help="Quick test: at most 20 runs, evenly spread, altitude edges 0,45,90.")
@_method
@_overwrite
@_selection
@click.option(
    "--sources",
    default="drop",
    show_default=True,
    metavar="drop|mask",
    help="Known sources: drop the runs near them, or keep these and cut circles around the sources out of them.",
)
@click.option(
    "--mask-radius", default="0.5 deg", show_default=True, help="Of such a circle, besides twice the source's extension."
)
@_group_edges
@click.option("--min-livetime", help="Merge neighbouring groups until each has so much, such as '5 h'.  [default: no merging]")
@click.option("--energy-min", default="0.1 TeV", show_default=True, help="Lower end of the energy axis.")
@click.option("--energy-max", default="80 TeV", show_default=True, help="Upper end of the energy axis.")
@_n_energy
@click.option("--fov-max", default="0.07 rad", show_default=True, help="DETX and DETY reach from minus this to this.")
@click.option(
    "--n-fov", type=int, help="Bins in each of DETX and DETY.  [default: 60, fewer in groups with fewer than 100 runs]"
)
@_fovalign
@_on_error
@_workers
@click.option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler to count on, such as tcp://10.0.0.1:8786.")
@click.option("--part", metavar="I/N", help="Count only part I of N, for `bgnb merge`.")
def make_bg_cube_models(**arguments: Any) -> None:
    """Make background cube models from a directory of runs.

    INDIR holds event lists. SCHEME says how: GADF (obs-index.fits.gz and
    hdu-index.fits.gz) or HESS (runinfo.fits and folders of 200 runs). OUTDIR is made: it
    gets two FITS files per group of runs, the tables of runs and groups, and report.json,
    which says what became of every run.

    \b
    Examples:
      bgnb make-bg-cube-models hess-dl3-dr1 GADF models
      bgnb make-bg-cube-models hess-dl3-dr1 GADF quick --test
      bgnb make-bg-cube-models hess-dl3-dr1 GADF models --method spline --overwrite
      bgnb make-bg-cube-models magic GADF models --alt-edges 0,40,60,90 --az-edges 0,360
      bgnb make-bg-cube-models runs GADF models --scheduler tcp://10.0.0.1:8786
      bgnb make-bg-cube-models runs GADF part3 --part 3/10
    """
    from bgnb.pipeline import make_bg_cube_models

    report = make_bg_cube_models(**arguments)
    if part := arguments["part"]:
        click.echo(report.summary)
        _warn(report.faults)
        click.echo(f"Part {part} is in {arguments['outdir']}; when all parts are there: bgnb merge PART... MODELS")
        return
    click.echo(str(report))
    _warn(report.faults)
    click.echo(f"Models and report.json are in {arguments['outdir']}")


@main.command(no_args_is_help=True)
@click.argument("parts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("outdir", type=click.Path(path_type=Path))
@_overwrite
def merge(**arguments: Any) -> None:
    """Make models of runs that were counted in parts.

    PARTS are the directories that `bgnb make-bg-cube-models ... --part I/N` made, all N of
    them, with the same settings. The models are those that it makes without --part.

    \b
    Example:
      for i in 1 2 3; do bgnb make-bg-cube-models runs GADF parts/$i --part $i/3; done
      bgnb merge parts/* models
    """
    from bgnb.pipeline import merge

    report = merge(**arguments)
    click.echo(str(report))
    _warn(report.faults)
    click.echo(f"Models and report.json are in {arguments['outdir']}")


def _warn(faults: Mapping[int, str]) -> None:
    """One line about runs that cannot be used."""
    if faults:
        click.echo(f"Warning: {len(faults)} run{'s' * (len(faults) > 1)} cannot be used; see above and report.json", err=True)


def _source(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> list[Any]:
    from bgnb.simulate import PointSource

    sources = []
    for text in texts:
        name, *numbers = text.split(",")
        try:
            ra, dec, rate = (float(number) for number in numbers)
        except ValueError:
            raise click.BadParameter(f"'{text}' is not of the form NAME,RA,DEC,RATE, such as Crab,83.63,22.01,0.1") from None
        sources.append(PointSource(name.strip(), ra, dec, rate))
    return sources


@main.command(no_args_is_help=True)
@click.argument("outdir", type=click.Path(path_type=Path))
@click.argument("scheme", default="GADF")
@click.option("--n-runs", default=10, show_default=True, help="Number of runs.")
@_observatory
@click.option("--alt-range", nargs=2, default=(45.0, 90.0), show_default=True, help="Range of altitude, deg.")
@click.option("--az-range", nargs=2, default=(0.0, 360.0), show_default=True, help="Range of azimuth, deg.")
@click.option("--date-range", nargs=2, default=("2010-01-01", "2015-01-01"), show_default=True, help="Dates, UTC.")
@click.option("--n-tels-range", nargs=2, default=(3, 4), show_default=True, help="Fewest and most telescopes.")
@click.option("--muoneff-range", nargs=2, default=(0.6, 1.0), show_default=True, help="Range of muon efficiency.")
@_true_model(2.7)
@_energy_threshold
@click.option(
    "--sources",
    "--source",
    multiple=True,
    callback=_source,
    metavar="NAME,RA,DEC,RATE",
    help="A gamma-ray source (deg, events per second); may be repeated.",
)
@_seed
@_workers
@_overwrite
def make_test_dataset(**arguments: Any) -> None:
    """Simulate a data set of runs with known background.

    OUTDIR is made, in SCHEME GADF or HESS: an observation table and, for each run, an
    event list and an effective-area table. The same seed gives the same files.

    \b
    Examples:
      bgnb make-test-dataset runs
      bgnb make-test-dataset runs HESS --n-runs 50 --trigger-rate 30 --workers 2
      bgnb make-test-dataset runs --observatory CTAO-NORTH --source "Crab,83.633,22.014,0.2"
    """
    from bgnb.dataset import make_test_dataset

    table = make_test_dataset(**arguments)
    click.echo(f"{len(table)} runs with {table['EVENT_COUNT'].sum()} events are in {arguments['outdir']}")


@main.command(no_args_is_help=True)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--altitude", default="70 deg", show_default=True, help="Altitude of the pointing.")
@click.option("--n-energy", default=20, show_default=True, help="Energy bins from 0.1 to 80 TeV.")
@click.option("--n-fov", default=60, show_default=True, help="Bins in each of DETX and DETY, to ±0.07 rad.")
@_true_model(2.7)
@_overwrite
def make_test_bg_cube_model(file: Path, altitude: str, n_energy: int, n_fov: int, overwrite: bool, **parameters: Any) -> None:
    """Write the true cube of a simulation, as it would be for given parameters.

    \b
    Example:
      bgnb make-test-bg-cube-model true.fits.gz --altitude "81 deg" --spectral-index 1.5
    """
    from bgnb.cube import CubeAxes
    from bgnb.gadf import write_model
    from bgnb.truth import TrueModel, make_test_bg_cube_model

    if not file.name.endswith((".fits", ".fits.gz")):
        raise BgnbError(f"{file}: must be named ….fits or ….fits.gz")
    if file.exists() and not overwrite:
        raise BgnbError(f"{file}: exists already; use --overwrite to replace it")
    axes = CubeAxes.regular(n_energy=n_energy, n_fov=n_fov)
    write_model(make_test_bg_cube_model(axes, altitude, TrueModel(**parameters)), file)
    click.echo(f"The true model is in {file}")


@main.command(no_args_is_help=True)
@click.argument("outdir", type=click.Path(path_type=Path))
@click.option("--test", is_flag=True, help="Quick test with two runs.")
@click.option("--n-runs", default=100, show_default=True, help="Number of runs.")
@click.option(
    "--group-id", default=27, show_default=True, help="One of the default groups; 27 is altitude 72-90, azimuth 90-270."
)
@_observatory
@_true_model(1.5)
@_energy_threshold
@_method
@_n_energy
@_n_fov
@_seed
@_workers
@click.option("--keep-dataset", is_flag=True, help="Keep the simulated runs in OUTDIR/dataset.")
@_overwrite
def true_reco(**arguments: Any) -> None:
    """Make the true and the reconstructed model of one group.

    Simulates runs, makes models of them as of real ones, and writes OUTDIR/true and
    OUTDIR/reco, to be compared with `bgnb compare`.

    \b
    Examples:
      bgnb true-reco truth --test
      bgnb true-reco truth --method michi --workers 2
    """
    from bgnb.truereco import make_true_reco

    report = make_true_reco(**arguments)
    click.echo(str(report))
    true, reco, comparison = (arguments["outdir"] / name for name in ("true", "reco", "comparison"))
    click.echo(f"Models are in {true} and {reco}; to compare them: bgnb compare {true} {reco} {comparison}")


@main.command(no_args_is_help=True)
@click.argument("dir1", type=click.Path(path_type=Path))
@click.argument("dir2", type=click.Path(path_type=Path))
@click.argument("outdir", type=click.Path(path_type=Path), default=Path("comparison"))
@click.option(
    "--normalise", default="none", show_default=True, help="Scale the second to the first: none, cube, or plane by plane."
)
@click.option(
    "--energies", multiple=True, default=("5 TeV", "50 TeV"), show_default=True, help="Energy of an image; may be repeated."
)
@click.option(
    "--positions",
    multiple=True,
    type=(float, float),
    default=((0, 0), (2, 2)),
    show_default=True,
    help="DETX and DETY of a spectrum, deg; may be repeated.",
)
@click.option("--labels", nargs=2, default=None, help="Names of the two in pictures.  [default: names of the directories]")
@_overwrite
def compare(**arguments: Any) -> None:
    """Compare two directories of models, group by group; the first is the reference.

    Prints, per group, the ratio of the integrals, the relative difference in the centre of
    the field of view, halfway and at its rim, the pulls over bins with at least 10 expected
    counts, and the spectral indices at the first position. OUTDIR (default: comparison)
    gets these and more in report.json, and pictures as PNG and as HTML.

    \b
    Examples:
      bgnb compare truth/true truth/reco comparison
      bgnb compare models michi --normalise plane --energies "1 TeV" --positions 0 0
    """
    from bgnb.comparisons import compare_models

    result = compare_models(**arguments)
    click.echo("\n".join(result.table.pformat(max_lines=-1, max_width=-1)))
    first, second, out = arguments["dir1"], arguments["dir2"], arguments["outdir"]
    click.echo(f"1 is {first}, the reference; 2 is {second}, normalised: {arguments['normalise']}.")
    click.echo("RATIO: 2 over 1 of the rates, where both were exposed. BIAS: the same − 1, by zone of the field of view.")
    click.echo("PULL: difference over its statistical error; its width is 1 if only chance differs and nothing is smoothed.")
    if not all(comparison.independent for comparison in result.comparisons.values()):
        click.echo("Models that share runs have no independent errors, and so no pulls.")
    for directory, groups in ((first, result.only_first), (second, result.only_second)):
        if groups:
            click.echo(f"Only in {directory}: groups {', '.join(map(str, groups))}")
    click.echo(f"Pictures are in {out}: comparison_group<ID>.png, and .html to zoom; numbers are in {out / 'report.json'}")


@main.command(no_args_is_help=True)
@click.argument("modeldir", type=click.Path(path_type=Path))
@click.argument("indir", type=click.Path(path_type=Path))
@click.argument("scheme")
@click.argument("outdir", type=click.Path(path_type=Path), default=Path("validation"))
@_selection
@_validation_grid
@_on_error
@_overwrite
def validate(**arguments: Any) -> None:
    """Predict runs from models, and compare with what was counted.

    Take runs that the models were not made from; to test a method, see cross-validate.
    Prints, per run and in total, predicted over observed counts, and how well the shape
    fits. OUTDIR (default: validation) gets all figures in report.json, and pictures.

    \b
    Examples:
      bgnb validate models hess-dl3-dr1 GADF --select all
      bgnb validate models new-runs GADF check --select runs.txt --between nearest
    """
    from bgnb.validate import validate

    validation = validate(**arguments)
    click.echo("\n".join(validation.table.pformat(max_lines=-1, max_width=-1)))
    click.echo(validation.summary)
    click.echo(f"Pictures and report.json are in {arguments['outdir']}")


def _numbers(_: click.Context, __: click.Parameter, text: str | None) -> list[int] | None:
    try:
        return [int(number) for number in text.split(",")] if text else None
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of whole numbers such as 4,8,15") from None


@main.command(no_args_is_help=True)
@click.argument("indir", type=click.Path(path_type=Path))
@click.argument("scheme")
@click.argument("outdir", type=click.Path(path_type=Path), default=Path("cross-validation"))
@_method
@click.option("--folds", default=3, show_default=True, help="Parts of the runs; each is predicted from models of the others.")
@click.option("--n-train", callback=_numbers, help="For a learning curve: numbers of runs to make models from, such as 4,8,15.")
@_seed
@_selection
@_group_edges
@_fovalign
@_validation_grid
@_on_error
@_overwrite
def cross_validate(**arguments: Any) -> None:
    """Predict each run from models that were made without it: the test of a method.

    Prints how well the predictions fit. OUTDIR (default: cross-validation) gets all
    figures in report.json, and pictures.

    \b
    Examples:
      bgnb cross-validate hess-dl3-dr1 GADF --method spline
      bgnb cross-validate hess-dl3-dr1 GADF learning --folds 10 --n-train 4,8,15
    """
    from bgnb.validate import cross_validate

    for size, validation in cross_validate(**arguments).items():
        click.echo(f"Models from {size} runs:")
        click.echo(validation.summary)
    click.echo(f"Pictures and report.json are in {arguments['outdir']}")


@main.command(no_args_is_help=True)
@click.argument("modeldir", type=click.Path(path_type=Path))
@click.argument("indir", type=click.Path(path_type=Path))
@click.argument("scheme")
@click.argument("outdir", type=click.Path(path_type=Path))
@click.option(
    "--select",
    default="all",
    show_default=True,
    metavar="all|far|FILE",
    help="Runs: all, far from known sources, or those with the OBS_IDs in a text file, one a line.",
)
@_between
@_on_error
@_overwrite
def attach(**arguments: Any) -> None:
    """Attach models to runs: make a data store for Gammapy.

    MODELDIR holds models, INDIR runs in SCHEME GADF or HESS. OUTDIR is made: it gets index
    files that lead to the files of INDIR, which stay as they are, and a background for
    every run. Open it with gammapy.data.DataStore.from_dir. Its paths are relative: move
    OUTDIR and INDIR together. report.json says what became of every run.

    \b
    Examples:
      bgnb attach models hess-dl3-dr1 GADF store
      bgnb attach models hess-dl3-dr1 GADF crab --select crab_runs.txt --between nearest
    """
    from bgnb.attach import attach

    report = attach(**arguments)
    click.echo(str(report))
    _warn(report.faults)
    click.echo(f"The data store and report.json are in {arguments['outdir']}")


@main.command(no_args_is_help=True)
@click.argument("directory", type=click.Path(path_type=Path))
@click.pass_context
def check(ctx: click.Context, directory: Path) -> None:
    """Check that a directory is as bgnb wrote it.

    DIRECTORY is what a command of bgnb made. Its manifest.json lists all files with their
    SHA-256. Prints a line for each file that is missing, changed, or not of bgnb; the exit
    status is 1 where there are any, and 2 where bgnb did not make the directory.

    \b
    Example:
      bgnb check models
    """
    from bgnb.manifest import check

    found = check(directory)
    faults = {name: fault for name, fault in found.items() if fault}
    for name, fault in faults.items():
        click.echo(f"{directory / name}: {fault}")
    if not faults:
        click.echo(f"{directory}: all {len(found)} files are as bgnb wrote them")
    ctx.exit(1 if faults else 0)


_timeout = click.option("--timeout", type=float, help="Seconds that a cell may take.  [default: no limit]")


@main.command(no_args_is_help=True)
@click.argument("notebook")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "-p", "--parameter", "texts", multiple=True, type=(str, str), metavar="NAME VALUE", help="A parameter; may be repeated."
)
@_timeout
def run(notebook: str, output: Path, texts: tuple[tuple[str, str], ...], timeout: float | None) -> None:
    """Run a notebook with parameters.

    NOTEBOOK is a file, or the name of a notebook that comes with bgnb: simulate_dataset,
    make_bg_cube_models, true_reco, compare_models, validate, group_report, explore,
    explore_true_reco or use_in_gammapy. OUTPUT is the executed notebook; it appears when
    it is complete. One that fails is kept as ….failed.ipynb. A list is given as
    [1, 2, 3], nothing as None.
    `papermill --help-notebook` shows the parameters of a notebook, and so does a wrong name.

    \b
    Examples:
      bgnb run make_bg_cube_models out.ipynb -p indir hess-dl3-dr1 -p outdir models
      bgnb run true_reco out.ipynb -p n_runs 20 -p method michi -p n_fov 40
    """
    from bgnb.batch import notebook_parameters, run_notebook

    declared = notebook_parameters(notebook)
    values = {name: declared[name].from_text(text) if name in declared else text for name, text in texts}
    click.echo(f"The executed notebook is {run_notebook(notebook, output, values, timeout=timeout)}")


@main.command(no_args_is_help=True)
@click.argument("modeldir", type=click.Path(path_type=Path))
@click.argument("outdir", type=click.Path(path_type=Path))
@click.option(
    "--notebook", default="group_report", show_default=True, help="A notebook with the parameters modeldir and group_id."
)
@click.option("--workers", default=2, show_default=True, help="Notebooks at a time.")
@_timeout
@_overwrite
@click.pass_context
def run_groups(ctx: click.Context, /, **arguments: Any) -> None:
    """Run a notebook for each group of models, and make an index of the results.

    OUTDIR gets index.html, and per group the executed notebook, the same as HTML, and a
    picture. A group that fails does not stop the others; it is named at the end, and the
    exit status is 1.

    \b
    Example:
      bgnb run-groups models reports --workers 4
    """
    from bgnb.groupreports import run_groups

    problems = run_groups(**arguments)
    click.echo(f"Open {arguments['outdir'] / 'index.html'}")
    for group_id, problem in problems.items():
        click.echo(f"Error: group {group_id}: {problem}", err=True)
    ctx.exit(1 if problems else 0)


@main.command(no_args_is_help=True)
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
    MODELDIR filled in, and opens it: run all cells. A notebook that is there already is
    kept. JupyterLab listens on this machine only and asks for its token, which is in the
    address that it prints. What follows -- goes to `jupyter lab`.

    \b
    Examples:
      bgnb lab models
      bgnb lab truth/true --compare truth/reco
      bgnb lab models -- --no-browser --port=8899
    """
    from bgnb.lab import open_lab, prepare_notebook

    notebook = prepare_notebook(modeldir, compare)
    click.echo(f"Opening {notebook} in JupyterLab; in its menu choose Run, Run All Cells. Ctrl-C ends it.")
    open_lab(notebook, jupyter_arguments)


@main.command(no_args_is_help=True)
@click.argument("directory", type=click.Path(path_type=Path))
def notebooks(directory: Path) -> None:
    """Copy the notebooks that come with bgnb to a directory to work in.

    \b
    Example:
      bgnb notebooks my-notebooks
    """
    from bgnb.batch import copy_notebooks

    for path in copy_notebooks(directory):
        click.echo(path)
