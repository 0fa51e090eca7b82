"""Conversion of rates to backgrounds of Gammapy, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import LEAST_RATE, RATE_UNIT, Cube, CubeAxes, checked_rate
from bgnb.cubes.radial import cube_of_radial, radial_mean
from bgnb.files.background_tables import REVERSED, mirrored
from bgnb.observations.coordinates import FovAlign, checked_fovalign

if TYPE_CHECKING:
    from gammapy.irf import Background2D, Background3D


def to_irf(rate: Cube, fovalign: str | None = None, *, kind: str = "bkg_3d") -> Background3D | Background2D:
    """Convert a rate to a background of Gammapy.

    Values and axes are converted directly, in double precision. Gammapy interprets the values as rates per ontime at
    the bin centres, whereas those of `BackgroundModel` are means over the bins, per livetime: see `point_rate`. The
    background of an observation, with all corrections, is made by `BackgroundMaker.make_irf`.

    Parameters
    ----------
    rate : `~bgnb.Cube`
        The rate. Zeros, which Gammapy would fill from other energies, become the smallest normal number in single
        precision.
    fovalign : {"ALTAZ", "RADEC", "REVERSE_LON_RADEC"}, optional
        Frame of the background, needed for a cube. For the last one, which Gammapy uses for H.E.S.S. DR1, the rate is
        given in RADEC, and DETX is reversed.
    kind : {"bkg_3d", "bkg_2d"}
        Make a cube, or the mean over the azimuth about the pointing.

    Returns
    -------
    `~gammapy.irf.Background3D` or `~gammapy.irf.Background2D`

    Raises
    ------
    BgnbError
        If the frame is missing or unknown, there is no such kind, ``rate`` is not a cube, or a radial background is made
        from axes that do not contain the pointing.

    Examples
    --------
    >>> from gammapy.irf import Background3D
    >>> import bgnb
    >>> model = bgnb.read_group_model("models", 27)
    >>> irf = bgnb.gammapy.to_irf(bgnb.point_rate(model.rate), "ALTAZ")
    >>> isinstance(irf, Background3D), irf.data.shape
    (True, (10, 10, 10))
    """
    from gammapy.irf import Background2D, Background3D
    from gammapy.maps import MapAxis

    rate = checked_rate("rate", rate)
    energy = MapAxis.from_energy_edges(rate.axes.energy)
    if checked_choice("kind", kind, ("bkg_3d", "bkg_2d")) == "bkg_2d":
        theta, values = radial_mean(rate)
        return Background2D(
            axes=[energy, MapAxis.from_edges(theta, name="offset")], data=_without_zeros(values), unit=RATE_UNIT
        )
    if fovalign is None:
        raise BgnbError("invalid-argument", "the background is a cube: give its frame (fovalign), such as ALTAZ")
    fovalign = checked_choice("fovalign", fovalign, ("ALTAZ", "RADEC", REVERSED))
    cube = mirrored(rate) if fovalign == REVERSED else rate
    lon, lat = MapAxis.from_edges(cube.axes.detx, name="fov_lon"), MapAxis.from_edges(cube.axes.dety, name="fov_lat")
    data = _without_zeros(cube.quantity).transpose(0, 2, 1)
    return Background3D(axes=[energy, lon, lat], data=data, unit=RATE_UNIT, fov_alignment=fovalign)


def from_irf(irf: Background3D | Background2D) -> tuple[Cube, FovAlign]:
    """Convert a background of Gammapy to a rate, the inverse of `to_irf`.

    Parameters
    ----------
    irf : `~gammapy.irf.Background3D` or `~gammapy.irf.Background2D`
        The background.

    Returns
    -------
    cube : `~bgnb.Cube`
        The rate in MeV-1 s-1 sr-1, by the definition of GADF per ontime. That of a radial background is on square axes, see
        `read_background`.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY; ALTAZ for radial backgrounds, which are the same in both frames. A background in the frame
        REVERSE_LON_RADEC is converted to RADEC.

    Raises
    ------
    BgnbError
        If ``irf`` is not a background, its unit is not that of a rate, values are negative or not finite, or edges are
        invalid.

    Examples
    --------
    >>> from gammapy.irf import Background3D
    >>> import bgnb
    >>> irf = Background3D.read("models/bg_cube_model_group27_table.fits.gz", hdu="BACKGROUND")
    >>> cube, fovalign = bgnb.gammapy.from_irf(irf)
    >>> cube.axes.shape, fovalign
    ((10, 10, 10), 'ALTAZ')
    """
    from gammapy.irf import Background2D, Background3D

    if not isinstance(irf, Background3D | Background2D):
        raise BgnbError("invalid-argument", f"irf must be a Background3D or Background2D, got {type(irf).__name__}")
    try:
        values = irf.quantity.to(RATE_UNIT).astype(float)
    except u.UnitConversionError:
        raise BgnbError("bad-unit", f"the background is in '{irf.unit}', not in {RATE_UNIT}") from None
    values[values.value == LEAST_RATE] = 0
    energy = irf.axes["energy"].edges
    if irf.has_offset_axis:
        return cube_of_radial(energy, irf.axes["offset"].edges, values), "ALTAZ"
    axes = CubeAxes(energy=energy, dety=irf.axes["fov_lat"].edges, detx=irf.axes["fov_lon"].edges)
    cube, frame = Cube(axes, values.transpose(0, 2, 1)), irf.fov_alignment.value
    return (mirrored(cube), "RADEC") if frame == REVERSED else (cube, checked_fovalign(frame))


def _without_zeros(values: u.Quantity) -> np.ndarray:
    """Convert rates to MeV-1 s-1 sr-1, and replace zeros."""
    return np.maximum(values.to_value(RATE_UNIT), LEAST_RATE)
