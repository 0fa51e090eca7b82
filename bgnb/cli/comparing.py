"""Commands that validate and compare models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bgnb._util.errors import numbered
from bgnb.cli.options_from_settings import (
    Command,
    checks_outdir,
    config,
    overwrite,
    path_argument,
    scheme_argument,
    settings,
    warn,
    workers,
)
from bgnb.production.settings import CubeBinning, ProductionSettings
from bgnb.validation.settings import CrossValidationSettings, InspectionSettings, RunCheckSettings, ValidationSettings


@click.command(no_args_is_help=True, cls=Command)
@path_argument("indir")
@scheme_argument(metavar="SCHEME")
@path_argument("outdir", required=False)
@settings(InspectionSettings)
@overwrite
@checks_outdir("indir")
def inspect(**arguments: Any) -> None:
    """Describe a directory of runs before making models.

    Reads and checks every run, which takes some seconds for hundreds of runs. Prints instrument, livetime,
    altitudes, energy thresholds, rates, known sources near the runs, the livetime in each group, the runs that are not
    usable, with the options that make them usable, and a command that makes models. If OUTDIR is given, runs.html there
    shows all of this and a table of all runs; runs.ecsv and report.json contain the tables.

    \b
    Examples:
      bgnb inspect hess-dl3-dr1 GADF
      bgnb inspect hess-dl3-dr1 GADF overview --alt-edges 0,45,90
    """
    from bgnb.validation.inspect_runs import inspect

    click.echo(str(inspect(**arguments)))
    if out := arguments["outdir"]:
        click.echo(
            f"The page of all runs is {out / 'runs.html'}; their table is in {out / 'runs.ecsv'} and {out / 'report.json'}"
        )


@click.command(no_args_is_help=True, cls=Command)
@path_argument("modeldir")
@path_argument("indir")
@scheme_argument(metavar="SCHEME")
@path_argument("outdir", default=Path("validation"))
@settings(ValidationSettings)
@overwrite
@checks_outdir("modeldir", "indir")
def validate(**arguments: Any) -> None:
    """Compare predicted with observed counts of runs.

    Use runs that the models were not made from; to test a method, see cross-validate. Prints
    the ratio of observed to predicted counts and the goodness of fit of the shape, per run and
    in total. OUTDIR (default: validation) contains all numbers in report.json, and plots.

    \b
    Examples:
      bgnb validate models new-runs GADF
      bgnb validate models new-runs GADF check --select runs.txt --model-lookup nearest
      bgnb validate models hess-dl3-dr1 GADF --sources mask
    """
    from bgnb.validation.result import table_lines
    from bgnb.validation.validate import validate

    validation = validate(**arguments)
    click.echo("\n".join(table_lines(validation.table)))
    click.echo("COUNTS: observed. EXPECTED: predicted, no free norm. RATIO: COUNTS / EXPECTED. GROUPS: models used.")
    click.echo("DEV_EXP: deviance / its expectation, one free norm per run; 1 ± DEV_EXP_ERROR for a correct model.")
    click.echo("WIDTH: standard deviation of the significances of energy bins and pixels, one free norm per run; expected: 1.")
    click.echo(validation.summary)
    _print_place_of_numbers(arguments["outdir"])


@click.command(no_args_is_help=True, cls=Command)
@path_argument("indir")
@scheme_argument(metavar="SCHEME")
@path_argument("outdir", default=Path("cross-validation"))
@settings(CrossValidationSettings)
@overwrite
@config(ProductionSettings, renamed={name: f"model_{name}" for name in CubeBinning.declared()})
@checks_outdir("indir")
def cross_validate(**arguments: Any) -> None:
    """Predict each run from models that were made without it.

    This tests a method and its settings. The options are those of make-bg-cube-models, except for the
    axes of the models, --model-energy-min to --model-n-fov: --energy-min, --energy-max and
    --n-energy are the bins in which counts are compared. --config takes the
    settings of the models, axes included, from the report.json of models. Prints the
    goodness of fit of the predictions. OUTDIR (default: cross-validation) contains all numbers in
    report.json, and plots.

    \b
    Examples:
      bgnb cross-validate hess-dl3-dr1 GADF --method spline
      bgnb cross-validate hess-dl3-dr1 GADF learning --folds 10 --n-train 4,8,15
      bgnb cross-validate hess-dl3-dr1 GADF masked --sources mask --min-livetime "5 h"
      bgnb cross-validate hess-dl3-dr1 GADF check --config models/report.json
    """
    from bgnb.validation.validate import cross_validate

    validations = cross_validate(**arguments)
    printed: set[str] = set()  # notes and totals are often the same for all numbers of runs
    for size, validation in validations.items():
        n_runs, folds = len(validation.runs) + len(validation.faults), arguments["folds"]
        used = f"{size}{' or more' * (size == max(validations) and bool(n_runs % folds))} runs of the other folds"
        click.echo(f"{n_runs} runs in {folds} random folds; the runs of each fold are predicted from models of {used}.")
        lines = [line for line in validation.summary.splitlines() if line not in printed]
        printed.update(lines)
        click.echo("\n".join(lines))
    _print_place_of_numbers(arguments["outdir"])


def _print_place_of_numbers(outdir: Path) -> None:
    click.echo(
        "For a correct model, deviance / expectation is 1 within its error. "
        "Significances are those of energy bins and pixels of each run."
    )
    click.echo(
        f"Plots of profiles and significances are in {outdir}; {outdir / 'report.json'} has all numbers, by run and by bin"
    )


@click.command(no_args_is_help=True, cls=Command)
@path_argument("indir")
@scheme_argument(metavar="SCHEME")
@path_argument("modeldir")
@path_argument("outdir", default=Path("run-checks"))
@settings(RunCheckSettings)
@overwrite
@checks_outdir("indir", "modeldir")
def check_runs(**arguments: Any) -> None:
    """Check the quality of runs with models.

    Compares each run with the models: its norm, its rate against time, sectors of the field of
    view, its spectrum, and the sky, for unknown sources. Prints the probability of each
    result, and the position of the largest deviation. OUTDIR (default: run-checks) contains
    all numbers in report.json, plots of each run in runs.html, and in good_runs.txt the runs
    without alarm, for --select.

    \b
    Examples:
      bgnb check-runs hess-dl3-dr1 GADF models
    """
    from bgnb.validation.check_runs import check_runs
    from bgnb.validation.result import table_lines

    checks = check_runs(**arguments)
    click.echo("\n".join(table_lines(checks.table)))
    click.echo("VERDICT: good, or the tests that give an alarm.")
    click.echo("NORM, TILT: norm and change of the spectral index relative to the models; NORM_ERR: statistical error.")
    click.echo("P: probability, by test, that a good run deviates as much somewhere; its norm varies as from run to run.")
    click.echo("TEST: the test with the lowest P; COUNTS, EXPECTED, SIGMA: its largest deviation, at WHERE.")
    click.echo("SIGMA, the largest of many, is often 4 or 5 in good runs; P takes their number into account.")
    click.echo(checks)
    out = arguments["outdir"]
    click.echo(f"Plots are in {out / 'runs.html'}, good runs in {out / 'good_runs.txt'}, and numbers in {out / 'report.json'}")
    warn(checks.faults)


@click.command(no_args_is_help=True, cls=Command)
@path_argument("dir1")
@path_argument("dir2")
@path_argument("outdir", default=Path("comparison"))
@click.option(
    "--normalise",
    default="none",
    show_default=True,
    help="Normalisation of the second to the first: none, cube (one factor) or plane (one factor per energy bin).",
)
@click.option(
    "--energies",
    metavar="ENERGY",
    multiple=True,
    default=("5 TeV", "50 TeV"),
    show_default=True,
    help="Energy of an image; may be repeated.",
)
@click.option(
    "--positions",
    multiple=True,
    type=(float, float),
    metavar="DETX DETY",
    default=((0, 0), (2, 2)),
    show_default=True,
    help="Position of a spectrum, deg; may be repeated.",
)
@click.option(
    "--labels",
    nargs=2,
    metavar="LABEL1 LABEL2",
    default=None,
    help="Labels of the two in plots.  [default: names of the directories]",
)
@overwrite
@workers
@checks_outdir("dir1", "dir2")
def compare_models(**arguments: Any) -> None:
    """Compare two directories of models, group by group.

    DIR1 is the reference. Prints, per group, the ratio of the integrals, the relative difference in the centre of
    the field of view, halfway and at its edge, the pulls of bins with at least 10 expected
    counts, and the spectral indices at the first position. OUTDIR (default: comparison)
    contains these and more in report.json, and per group a PNG and an HTML page, which
    shows all energies.

    \b
    Examples:
      bgnb compare-models truth/true truth/reco comparison
      bgnb compare-models models michi --normalise plane --energies "1 TeV" --positions 0 0 --positions 1 -2
    """
    from bgnb.validation.compare_models import compare_models
    from bgnb.validation.result import table_lines

    result = compare_models(**arguments)
    table = result.table
    click.echo("\n".join(table_lines(table)))
    first, second, out = arguments["dir1"], arguments["dir2"], arguments["outdir"]
    click.echo(f"1 is {first}, the reference; 2 is {second}, normalised: {arguments['normalise']}.")
    click.echo("RATIO: rate of 2 over rate of 1, in bins exposed in both. BIAS: ratio − 1, by zone of the field of view.")
    click.echo("INDEX: spectral index of the rates of 1 and 2 at the first position.")
    if "PULL_BINS" in table.colnames:
        click.echo(
            "PULL: difference over its statistical error. Errors of bins are correlated, for splines over the whole "
            "field of view; over many models, the pulls have a mean of 0 and a width of 1."
        )
    for directory, groups in ((first, result.only_first), (second, result.only_second)):
        if groups:
            click.echo(f"Only in {directory}: {numbered('group', groups, len(groups))}")
    for note in result.notes:
        click.echo(f"note: {note}")
    click.echo(f"Plots are in {out}: comparison_group<ID>.png, .html at all energies; numbers are in {out / 'report.json'}")
