"""Commands that simulate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bgnb._util.errors import command_line
from bgnb.cli.as_typed import say
from bgnb.cli.options_from_settings import (
    Command,
    checks_outdir,
    overwrite,
    path_argument,
    scheme_argument,
    settings,
    workers,
)
from bgnb.simulation.settings import DatasetSettings, TrueModelSettings, TrueRecoSettings


def _source(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> list[Any]:
    if not texts:
        return []
    from bgnb.simulation.event_lists import PointSource

    sources = []
    for text in texts:
        name, *numbers = text.split(",")
        try:
            ra, dec, rate = (float(number) for number in numbers)
        except ValueError:
            raise click.BadParameter(
                f"'{text}' does not have the form NAME,RA,DEC,RATE, such as Crab,83.63,22.01,0.1"
            ) from None
        sources.append(PointSource(name.strip(), ra, dec, rate))
    return sources


@click.command(no_args_is_help=True, cls=Command)
@path_argument("outdir")
@scheme_argument(metavar="[SCHEME]", default="GADF")
@settings(DatasetSettings)
@click.option(
    "--point-source",
    "point_sources",
    multiple=True,
    callback=_source,
    metavar="NAME,RA,DEC,RATE",
    help="A gamma-ray source (deg, events per second); may be repeated.",
)
@workers
@overwrite
@checks_outdir()
def make_test_dataset(**arguments: Any) -> None:
    """Simulate a data set of runs with known background.

    The new directory OUTDIR, in the layout SCHEME (GADF, HESS or FILES), contains an observation
    table, except for FILES, and, for each run, an event list and an effective-area table. Files are
    reproducible for a given seed.

    \b
    Examples:
      bgnb make-test-dataset runs
      bgnb make-test-dataset runs HESS --n-runs 50 --trigger-rate 30 --workers 2
      bgnb make-test-dataset runs --observatory CTAO-NORTH --point-source "Crab,83.633,22.014,0.2"
    """
    from bgnb.simulation.dataset import make_test_dataset

    table = make_test_dataset(**arguments)
    n_runs = f"{len(table)} run{'s' * (len(table) != 1)}"
    click.echo(f"{n_runs} with {table['EVENT_COUNT'].sum()} events are in {arguments['outdir']}")


@click.command(no_args_is_help=True, cls=Command)
@path_argument("file")
@click.option("--altitude", default="70 deg", show_default=True, help="Altitude of the pointing.")
@click.option("--azimuth", help="Azimuth of the pointing; needed with --elongation.")
@click.option("--n-energy", default=20, show_default=True, help="Energy bins from 0.1 to 80 TeV.")
@click.option("--n-fov", default=60, show_default=True, help="Bins in each of DETX and DETY, to ±0.07 rad.")
@settings(TrueModelSettings)
@overwrite
def make_test_bg_cube_model(
    file: Path, altitude: str, azimuth: str | None, n_energy: int, n_fov: int, overwrite: bool, **parameters: Any
) -> None:
    """Write the true model of a simulation.

    \b
    Example:
      bgnb make-test-bg-cube-model true.fits.gz --altitude "81 deg" --spectral-index 1.5
    """
    from bgnb.files.output_file import check_new_file

    check_new_file(file, (".fits", ".fits.gz"), overwrite=overwrite)
    from bgnb.cubes.cube import CubeAxes
    from bgnb.files.gadf import write_model
    from bgnb.simulation.true_model import TrueModel, make_test_bg_cube_model

    axes = CubeAxes.regular(n_energy=n_energy, n_fov=n_fov)
    write_model(make_test_bg_cube_model(axes, altitude, TrueModel(**parameters), azimuth), file, overwrite=overwrite)
    click.echo(f"The true model is in {file}")


@click.command(no_args_is_help=True, cls=Command)
@path_argument("outdir")
@settings(TrueRecoSettings, spectral_index=1.5)
@workers
@click.option("--keep-dataset", is_flag=True, help="Keep the simulated runs in OUTDIR/dataset.")
@overwrite
def make_true_reco(**arguments: Any) -> None:
    """Make the true and the reconstructed model of one group.

    Simulates runs, makes a model from them as from real runs, and writes OUTDIR/true and
    OUTDIR/reco for comparison with `bgnb compare-models`.

    \b
    Examples:
      bgnb make-true-reco truth --test
      bgnb make-true-reco truth --method michi --workers 2
    """
    from bgnb.simulation.true_reco import make_true_reco

    report = make_true_reco(**arguments)
    say(report)
    true, reco, comparison = (arguments["outdir"] / name for name in ("true", "reco", "comparison"))
    click.echo(f"Models are in {true} and {reco}; to compare them: {command_line('compare-models', true, reco, comparison)}")
