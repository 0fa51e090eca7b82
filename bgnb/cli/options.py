"""Options that several commands share, and what they print alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click


def options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options in one decorator, for commands that share them."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


overwrite = click.option("--overwrite", is_flag=True, help="Replace what an earlier call made.")


on_error = click.option(
    "--on-error",
    default="skip",
    show_default=True,
    metavar="skip|fail",
    help="A run that cannot be used: leave it out and report it, or stop at once and make nothing.",
)


seed = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random numbers.")


workers = click.option(
    "--workers", type=int, help="Processes on this machine.  [default: all cores, fewer where there is little to do]"
)


energy_threshold = click.option(
    "--energy-threshold", type=float, help="LO_THRES at the zenith, TeV; grows as sin(altitude)^-3.  [default: 0.1 everywhere]"
)


observatory = click.option(
    "--observatory", default="HESS", show_default=True, help="HESS, MAGIC, VERITAS, CTAO-NORTH or CTAO-SOUTH."
)


fovalign = click.option("--fovalign", default="ALTAZ", show_default=True, help="Frame of DETX and DETY: ALTAZ or RADEC.")


n_energy = click.option(
    "--n-energy", type=int, help="Energy bins.  [default: 20, fewer in groups of fewer than 100 runs; spline: 40]"
)


n_fov = click.option(
    "--n-fov",
    type=int,
    help="Bins in each of DETX and DETY.  [default: 60, fewer in groups of fewer than 100 runs; spline: 40]",
)


method = click.option(
    "--method", default="default", show_default=True, help="How counts become a rate: default, michi, spline or unsmoothed."
)


def true_model(spectral_index: float) -> Callable[[Any], Any]:
    """Options for the parameters of the true model."""
    return options(
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
        fovalign,
    )


def edges(_: click.Context, __: click.Parameter, text: str | None) -> list[float] | None:
    """Numbers from a text such as 0,45,90."""
    if text is None:
        return None
    try:
        return [float(edge) for edge in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a list of numbers such as 0,45,90") from None


selection = options(
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


group_edges = options(
    click.option(
        "--alt-edges", callback=edges, help="Edges of the groups in altitude, deg, such as 0,45,90.  [default: 14 groups]"
    ),
    click.option("--az-edges", callback=edges, help="Edges of the groups in azimuth, deg.  [default: -90,90,270]"),
)


between = click.option(
    "--between",
    default="interpolate",
    show_default=True,
    help="A model for a run: interpolate between groups (a spline: evaluate it), or take the nearest.",
)


validation_grid = options(
    click.option(
        "--interpolation",
        default="gammapy",
        show_default=True,
        help="Between bin centres: gammapy (log rate, linear), or none: constant in each bin.",
    ),
    between,
    click.option("--energy-min", default="0.5 TeV", show_default=True, help="Lower end of the energy bins."),
    click.option("--energy-max", default="50 TeV", show_default=True, help="Upper end of the energy bins."),
    click.option("--n-energy", default=8, show_default=True, help="Energy bins."),
    click.option("--pixel", default="0.5 deg", show_default=True, help="Width of the pixels."),
    click.option("--offset-max", default="2.5 deg", show_default=True, help="Greatest offset of a pixel from the pointing."),
)


def warn(faults: Mapping[int, str]) -> None:
    """One line about runs that cannot be used."""
    if faults:
        click.echo(f"Warning: {len(faults)} run{'s' * (len(faults) > 1)} cannot be used; see above and report.json", err=True)
