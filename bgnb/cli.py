"""The command line: one command per public verb, with the argument names of the functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bgnb import __version__
from bgnb.errors import BgnbError


class _BadInput(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """A group whose commands end bad input with one clear line and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BgnbError as error:
            raise _BadInput(str(error)) from error


def _edges(_: click.Context, __: click.Parameter, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(edge) for edge in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of numbers such as 0,45,90") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bgnb")
def main() -> None:
    """Background cube models for very-high-energy gamma-ray astronomy."""


@main.command(no_args_is_help=True)
@click.argument("indir", type=click.Path(path_type=Path))
@click.argument("scheme")
@click.argument("outdir", type=click.Path(path_type=Path))
@click.option("--test", is_flag=True, help="Quick test: at most 20 runs, evenly spread, altitude edges 0,45,90.")
@click.option("--method", default="default", show_default=True, help="How counts become a rate: default, michi or unsmoothed.")
@click.option("--overwrite", is_flag=True, help="Replace OUTDIR, if bgnb made it.")
@click.option(
    "--select",
    default="far",
    show_default=True,
    metavar="far|all|FILE",
    help="Runs to keep: far from known sources, all, or those with the OBS_IDs in a text file, one a line.",
)
@click.option(
    "--catalog", type=click.Path(path_type=Path), help="Known sources: any table with RA, DEC and optionally EXTENSION (deg)."
)
@click.option(
    "--exclusion-radius", default="3 deg", show_default=True, help="Far means more than this plus twice the source's extension."
)
@click.option(
    "--alt-edges", callback=_edges, help="Edges of the groups in altitude, deg, such as 0,45,90.  [default: 14 groups]"
)
@click.option("--az-edges", callback=_edges, help="Edges of the groups in azimuth, deg.  [default: -90,90,270]")
@click.option("--energy-min", default="0.1 TeV", show_default=True, help="Lower end of the energy axis.")
@click.option("--energy-max", default="80 TeV", show_default=True, help="Upper end of the energy axis.")
@click.option("--n-energy", type=int, help="Energy bins.  [default: 20, fewer in groups with fewer than 100 runs]")
@click.option("--fov-max", default="0.07 rad", show_default=True, help="DETX and DETY reach from minus this to this.")
@click.option(
    "--n-fov", type=int, help="Bins in each of DETX and DETY.  [default: 60, fewer in groups with fewer than 100 runs]"
)
@click.option("--fovalign", default="ALTAZ", show_default=True, help="Frame of DETX and DETY: ALTAZ or RADEC.")
def make_bg_cube_models(**arguments: Any) -> None:
    r"""Make background cube models from a directory of runs.

    INDIR holds event lists. SCHEME says how: GADF (obs-index.fits.gz and
    hdu-index.fits.gz) or HESS (runinfo.fits and folders of 200 runs). OUTDIR is made: it
    gets two FITS files per group of runs, the tables of runs and groups, and report.json,
    which says what became of every run.

    \b
    Examples:
      bgnb make-bg-cube-models hess-dl3-dr1 GADF models
      bgnb make-bg-cube-models hess-dl3-dr1 GADF quick --test
      bgnb make-bg-cube-models hess-dl3-dr1 GADF models --select all --overwrite
      bgnb make-bg-cube-models magic GADF models --alt-edges 0,40,60,90 --az-edges 0,360
    """
    from bgnb.pipeline import make_bg_cube_models

    report = make_bg_cube_models(**arguments)
    click.echo("\n".join(report.table.pformat(max_lines=-1, max_width=-1)))
    click.echo(report.summary)
    click.echo(f"Models and report.json are in {arguments['outdir']}")
