"""Regions of the field of view: circles, annuli and boxes in DETX and DETY."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError, shortened
from bgnb.cubes.cube import CubeAxes, distances

# Sizes of each shape, after the position of its centre.
_SIZES = {"circle": ("r",), "annulus": ("r1", "r2"), "box": ("width", "height")}
# Limits of numbers and of sizes, deg; beyond them areas have large rounding errors.
_LARGEST, _SMALLEST = 180.0, 1e-6
# Number of points of a circle that is drawn.
_POINTS = 121


@dataclass(frozen=True, kw_only=True)
class FovRegion:
    """A region of the field of view, in the plane of DETX and DETY.

    Parameters
    ----------
    shape : {"circle", "annulus", "box"}
        Shape of the region.
    x, y : float
        DETX and DETY of the centre, deg.
    sizes : tuple of float
        The radius of a circle, the inner and outer radius of an annulus, or width (in DETX)
        and height (in DETY) of a box, deg.

    Raises
    ------
    BgnbError
        If there is no such shape, its sizes are not above zero and, for an annulus, increasing, or a number is too
        large or a size too small to compute areas.
    """

    shape: str
    x: float
    y: float
    sizes: tuple[float, ...]

    def __post_init__(self) -> None:
        names = _SIZES.get(self.shape)
        if names is None or len(self.sizes) != len(names) or not np.all(np.isfinite([self.x, self.y, *self.sizes])):
            raise _unknown(str(self))
        if min(self.sizes) <= 0:
            raise BgnbError("invalid-argument", f"region {self}: {' and '.join(names)} must be above 0")
        if self.shape == "annulus" and self.sizes[0] >= self.sizes[1]:
            raise BgnbError("invalid-argument", f"region {self}: the inner radius must be smaller than the outer radius")
        widths = (self.sizes[1] - self.sizes[0],) if self.shape == "annulus" else self.sizes
        if max(map(abs, (self.x, self.y, *self.sizes))) > _LARGEST or min(*self.sizes, *widths) < _SMALLEST:
            text = f"numbers must be at most {_LARGEST:g} deg, and sizes and differences of radii at least {_SMALLEST:g} deg"
            raise BgnbError("invalid-argument", f"region {shortened(str(self))}: {text}")

    @classmethod
    def from_text(cls, text: str) -> FovRegion:
        """Make a region from text in the notation of DS9.

        Parameters
        ----------
        text : str
            ``circle(x, y, r)``, ``annulus(x, y, r1, r2)`` or ``box(x, y, width, height)`` in
            deg, in upper or lower case, with or without spaces.

        Raises
        ------
        BgnbError
            If the text is not a region.

        Examples
        --------
        >>> print(FovRegion.from_text("Circle( 1.0,-.5 , 0.30)"))
        circle(1, -0.5, 0.3)
        """
        match = re.fullmatch(r"\s*([a-z]+)\s*\(([^()]*)\)\s*", str(text), re.IGNORECASE)
        try:
            shape, (x, y, *sizes) = match[1].lower(), map(float, match[2].split(","))  # type: ignore[index]
        except (TypeError, ValueError):
            raise _unknown(str(text)) from None
        return cls(shape=shape, x=x, y=y, sizes=tuple(sizes))

    def coverage(self, axes: CubeAxes) -> Floats:
        """Compute the fraction of each bin that lies inside, by area in DETX and DETY; shape (dety, detx).

        Raises
        ------
        BgnbError
            If the region covers no part of the field of view.
        """
        x, y = axes.detx.value - self.x, axes.dety.value - self.y
        if self.shape == "box":
            width, height = (_overlap(edges, size / 2) for edges, size in zip((x, y), self.sizes, strict=True))
            area = height[:, None] * width
        else:
            area = _disc_area(x, y, self.sizes[-1])
            if self.shape == "annulus":
                area -= _disc_area(x, y, self.sizes[0])
        if not np.any(area > 0):
            ends = f"DETX {axes.detx[0].value:g} to {axes.detx[-1]:g}, DETY {axes.dety[0].value:g} to {axes.dety[-1]:g}"
            raise BgnbError("invalid-argument", f"region {self} lies outside the field of view of the model, {ends}")
        return np.clip(area / (np.diff(y)[:, None] * np.diff(x)), 0, 1)

    def outline(self) -> tuple[Floats, Floats]:
        """Return DETX and DETY of closed lines around the region, deg, with NaN between the two circles of an annulus."""
        if self.shape == "box":
            width, height = self.sizes
            return self.x + width / 2 * np.array([-1, 1, 1, -1, -1]), self.y + height / 2 * np.array([-1, -1, 1, 1, -1])
        angle = np.linspace(0, 2 * np.pi, _POINTS)
        circle = np.array([np.cos(angle), np.sin(angle)])
        lines = [piece for radius in self.sizes for piece in (radius * circle, np.full((2, 1), np.nan))]
        x, y = np.concatenate(lines[:-1], axis=1)
        return self.x + x, self.y + y

    def __str__(self) -> str:
        numbers = map(partial(np.format_float_positional, trim="-"), (self.x, self.y, *self.sizes))
        return f"{self.shape}({', '.join(numbers)})"


def _unknown(text: str) -> BgnbError:
    shapes = [f"{shape}(x, y, {', '.join(sizes)})" for shape, sizes in _SIZES.items()]
    text = f"'{shortened(text)}' is not a region of the field of view; use {', '.join(shapes)} in deg"
    return BgnbError("invalid-argument", text)


def _overlap(edges: Floats, half: float) -> Floats:
    """Compute the length of each bin that lies within a distance of 0."""
    return np.diff(np.clip(edges, -half, half))


def _disc_area(x: Floats, y: Floats, radius: float) -> Floats:
    """Compute the area of each bin, with edges relative to the centre of a disc, that lies in the disc."""
    nearest, farthest = (np.hypot(across, along[:, None]) for across, along in zip(distances(x), distances(y), strict=True))
    area = np.diff(np.diff(_area_below(x / radius, y[:, None] / radius), axis=0), axis=1) * radius**2
    inside = np.where(farthest <= radius, np.diff(y)[:, None] * np.diff(x), np.maximum(area, 0))  # without rounding errors
    return np.where(nearest >= radius, 0, inside)


def _area_below(x: Floats, y: Floats) -> Floats:
    """Compute the area of the unit disc to the left of x and below y."""
    y = np.clip(y, -1, 1)
    corner = np.sqrt(1 - y**2)  # the circle has this |x| at this y

    def half(to: Floats) -> Floats:
        """Compute the area above the line y = 0, up to an x."""
        to = np.clip(to, -1, 1)
        return (to * np.sqrt(1 - to**2) + np.arcsin(to)) / 2 + np.pi / 4

    within = np.clip(x, -corner, corner)
    middle = y * (within + corner) + half(within) - half(-corner)
    sides = half(np.minimum(x, -corner)) + half(np.maximum(x, corner)) - half(corner)
    return middle + np.where(y > 0, 2 * sides, 0)
