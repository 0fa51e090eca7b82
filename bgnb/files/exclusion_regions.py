"""Exclusion regions that users give: files of regions, tables of circles, sky images, and such objects in memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError, quoted
from bgnb._util.extras import require
from bgnb._util.reading import decoded, home_expanded, read_bytes
from bgnb._util.threads import ignored_warnings
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.sky_shapes import ClosedLines, SkyImage, check_number_of_edges
from bgnb.files.fits_reader import open_fits
from bgnb.observations.catalog import not_in_degrees
from bgnb.observations.table_file import check_frame, columns_by_name, numbers_in, read_table_file

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

_FORMATS = {".reg": "ds9", ".crtf": "crtf"}
_NONE = np.zeros(0)
# Number of vertices of an ellipse; its area is too small by 0.005 %.
_VERTICES = 360
# Lines of comments, which may contain semicolons; DS9 writes texts and composite regions in lines that start like them.
_COMMENTS = re.compile(r"(?m)^[^\S\n]*#(?! (?:text|composite)\().*")
# Keywords of the coordinates of an image.
_WCS_NUMBERS = re.compile(r"(CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)([12]_[12]|00[12]00[12])|PV[12]_\d+|PROJP\d|LONPOLE|LATPOLE")
_WCS_KEYWORDS = re.compile(rf"{_WCS_NUMBERS.pattern}|NAXIS[12]?|C(TYPE|UNIT)[12]|RADE(SYS|CSYS)|EQUINOX|EPOCH")
_DISTORTED = re.compile(r"[AB]P?_ORDER|C[PQ]DIS\d.*|D[PQ]\d.*|D2IM.*|AXISCORR|WAT\d_\d+")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NOT_INCLUDED = re.compile(r"\binclude\s*=\s*0")
# Longitudes in DS9 and in CRTF that are above 360 deg.
_ABOVE_A_TURN = r"([+-]?(?:36[1-9]|3[7-9]\d|[4-9]\d\d|\d{4,})(?:\.\d*)?)"
_BEYOND = re.compile(_ABOVE_A_TURN + "d?")
_BEYOND_CRTF = re.compile(r"\[\s*" + _ABOVE_A_TURN + r"deg\b", re.IGNORECASE)
# A rectangle whose corners are given, not its centre.
_CORNERS = re.compile(r"(?<![a-z])box\s*\[\s*\[", re.IGNORECASE)
# Frames of DS9 in pixels, which are refused later.
_PIXELS = re.compile(r"\b(image|physical|detector|amplifier|linear)\b", re.IGNORECASE)
# Words of DS9 files: first of a statement, frames, shapes, and numbers of values of those of which others would be ignored.
_FIRST_WORD = re.compile(r"(?:[+-]?\s*([a-z0-9]+))?(.*)", re.DOTALL)
_FRAMES = ("icrs", "fk5", "j2000", "fk4", "b1950", "galactic", "ecliptic", "image")
_N_VALUES = {"circle": (3,), "ellipse": range(5, 1000, 2), "box": (4, *range(5, 1000, 2))}
_SHAPES = (*_N_VALUES, "annulus", "polygon")
# Maximum size of a file of regions, bytes: the package regions takes half a minute for it.
_REGIONS_MAX = 1 << 18
# Lines up to this length are parsed at once; longer ones must have no word that is too long, and in CRTF be polygons.
_SHORT = 5000
_LONG_WORD = re.compile(r"[A-Za-z0-9_]{1001}")
_LONG_CRTF = re.compile(r"[+-]?[\sA-Za-z]{1,40}\[\s*(\[[^\[\]=]{1,100}\][\s,]*)+[^\[\]=]{0,100}\].{0,5000}")
_AREAS = "circles, ellipses, annuli, polygons and rectangles on the sky can be excluded"


def read_exclusions(exclude: Any) -> SourceMask:
    """Read exclusion regions.

    Parameters
    ----------
    exclude : object, list of objects or None
        Any number of objects of these kinds: paths of DS9 (``.reg``) or CRTF (``.crtf``) files of regions, of tables of
        circles (columns RA, DEC, RADIUS in deg, and optionally E_MIN and E_MAX in TeV), or of FITS images of the sky (0 or
        False: excluded); `~astropy.table.Table`, ``regions.SkyRegion``, ``regions.Regions``, or
        ``gammapy.maps.WcsNDMap`` in memory.

    Returns
    -------
    `~bgnb.cubes.exclusion_mask.SourceMask`
        All regions together, as `norm_of_run` and `stack_runs` accept them.

    Raises
    ------
    BgnbError
        If a file cannot be read, or a region has no area or is not supported.

    Examples
    --------
    >>> import bgnb
    >>> from astropy.table import Table
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> run = bgnb.read_event_list(runs.files(1))
    >>> mask = bgnb.read_exclusions(Table({"RA": [run.ra_pnt], "DEC": [run.dec_pnt], "RADIUS": [0.5]}))
    >>> stack = bgnb.stack_runs([run], bgnb.CubeAxes.regular(n_energy=10, n_fov=20), mask=mask)
    >>> stack.runs[0].events_in_mask > 0
    True
    """
    objects = exclude if isinstance(exclude, list | tuple) else () if exclude is None else (exclude,)
    masks = (_read(each) if isinstance(each, str | Path) else _from_memory(each) for each in objects)
    return sum(masks, SourceMask(_NONE, _NONE, _NONE))


def _read(path: str | Path) -> SourceMask:
    if not str(path):
        raise BgnbError("invalid-argument", "exclude: the name of a file is empty")
    path = Path(home_expanded(path))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: it contains a null byte
        raise BgnbError("not-found", f"exclude: there is no file '{path}'") from None
    except OSError as error:
        raise BgnbError("unreadable", f"exclude: '{path}' cannot be read: {error.strerror}") from None
    if region_format := _FORMATS.get(path.suffix.lower()):
        return _from_regions(_read_regions(path, region_format), str(path))
    try:
        if _is_fits(path):
            with open_fits(path, verify=False) as hdus:
                # One axis is no image: TOPCAT stores a description of the table so.
                images = [hdu for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] > 1]
                names = [hdu.name or str(hdus.index(hdu)) for hdu in images]
                if len(images) > 1:
                    text = f"contains several images ({', '.join(names[:5])}{', …' * (len(names) > 5)})"
                    raise BgnbError("bad-region", f"{path}: {text}; write the mask into a file of its own")
                if images:
                    return _from_image(images[0].data, images[0].header, f"HDU {names[0]}")  # errors name the path
        table = read_table_file(path)
    except BgnbError:
        raise
    except Exception as error:  # astropy's readers raise many kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        kinds = "a DS9 (.reg) or CRTF (.crtf) file, a FITS image, or a table with the columns RA, DEC and RADIUS"
        raise BgnbError("bad-region", f"{path}: cannot be read as {kinds}: {reason[0]}") from None
    return _from_table(table, str(path))


def _is_fits(path: Path) -> bool:
    return re.search(r"\.(fits?|fts)(\.(gz|bz2|fz))?$", path.name.lower()) is not None


def _from_memory(value: Any) -> SourceMask:
    if isinstance(value, Table):
        return _from_table(value, "exclude")
    if hasattr(value, "geom") and hasattr(value, "data"):  # a map of Gammapy
        if not hasattr(value.geom, "wcs") or getattr(value.geom, "is_region", False):
            raise BgnbError("bad-region", f"exclude: {type(value).__name__} is not supported; use a WcsNDMap or a region")
        _check_distortions(value.geom.wcs, "exclude")  # which the header would lack
        return _from_image(np.asarray(value.data), value.geom.wcs.to_header(), "exclude")
    regions = value.regions if hasattr(value, "regions") and not hasattr(value, "contains") else [value]
    if wrong := [region for region in regions if not type(region).__name__.endswith("Region")]:
        kinds = "a path, a table of circles, a sky region or list of them, or a WcsNDMap"
        raise BgnbError("bad-region", f"exclude: must be {kinds}, got {quoted(wrong[0])}")
    return _from_regions(regions, "exclude")


def _read_regions(path: Path, region_format: str) -> Iterable[Any]:
    require("regions")
    from regions import Regions

    try:
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # of coordinates that are refused below
            # regions warns of shapes and frames that it does not know, and skips them.
            warnings.simplefilter("ignore", AstropyWarning)  # of seconds that are 60
            warnings.simplefilter("error", AstropyUserWarning)
            text = _COMMENTS.sub("", "\n".join(decoded(read_bytes(path, _REGIONS_MAX)).splitlines()))
            (_check_ds9 if region_format == "ds9" else _check_crtf)(text, path)
            return Regions.parse(text, format=region_format)
    except BgnbError:
        raise
    except Exception as error:  # many kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BgnbError("bad-region", f"{path}: cannot be read as a {region_format.upper()} file: {reason[0]}") from None


def _check_ds9(text: str, path: Path) -> None:
    """Refuse lines of which the package regions would ignore a part without a warning."""
    in_pixels = _PIXELS.search(re.sub(r"\{[^{}]*\}", "", _QUOTED.sub("", text)))
    for number, line in enumerate(text.lower().splitlines(), start=1):
        if wrong := _why_slow(line, "ds9"):
            raise BgnbError("bad-region", f"{path}, line {number}: {wrong}")
        for statement in re.sub(r"\{[^{}]*\}", "", line).split(";"):  # braces contain texts
            statement = statement.partition("#")[0].strip()
            word, values = _FIRST_WORD.match(statement).groups()  # type: ignore[union-attr] # it matches everything
            n_values = len(re.split(r"[\s,]+", values.strip("(|) \t")))
            if word in _FRAMES and values:
                wrong = f"'{values}' follows the frame {word} in the same line; put a semicolon between them"
            elif word in _N_VALUES and n_values not in _N_VALUES[word]:
                wrong = f"{word} with {n_values} values; write one region in each line, with decimal points"
            elif word == "global" and _NOT_INCLUDED.search(_QUOTED.sub("", statement)):
                wrong = "'include=0' in a line 'global' is not supported; remove it, or the regions that it concerns"
            elif word in _SHAPES and statement.count("(") != statement.count(")"):
                wrong = "a bracket is missing; is the file complete?"
            elif word in _SHAPES and not in_pixels and (turns := _longitude_beyond(word, values)):
                wrong = f"a longitude must be between -360 and 360 deg, got {turns}"
            else:
                continue
            raise BgnbError("bad-region", f"{path}, line {number}: {wrong}")


def _longitude_beyond(shape: str, values: str) -> str | None:
    """Return the first longitude of a region in DS9 that is above 360 deg, as it is written; None if there is none."""
    numbers = re.split(r"[\s,]+", values.strip("(|) \t"))
    longitudes = numbers[::2] if shape == "polygon" else numbers[:1]
    return next((match[1] for number in longitudes if (match := _BEYOND.fullmatch(number))), None)


def _check_crtf(text: str, path: Path) -> None:
    """Refuse lines with several regions, of which the package regions would ignore all but the first, and what it misreads."""
    for number, line in enumerate(text.splitlines(), start=1):
        regions = _QUOTED.sub("", line)
        if wrong := _why_slow(line, "crtf"):
            raise BgnbError("bad-region", f"{path}, line {number}: {wrong}")
        if len(re.findall(r"[a-z]\s*\[\s*\[", regions)) > 1:
            wrong = "contains several regions; write one region in each line"
        elif turns := _BEYOND_CRTF.search(line):
            wrong = f"a longitude must be between -360 and 360 deg, got {turns[1]}"
        elif re.search(r"[^=\s]\s*#", regions):  # which may begin a colour
            wrong = "contains a comment after a region; write it in a line of its own"
        elif _CORNERS.search(regions):
            wrong = "a box given by its corners would be read as a wider one; use centerbox or poly"
        else:
            continue
        raise BgnbError("bad-region", f"{path}, line {number}: {wrong}")


def _why_slow(line: str, region_format: str) -> str:
    """Describe what makes the time to parse a long line grow as the square of its length; "" if nothing does."""
    if len(line) <= _SHORT:
        return ""
    if region_format == "crtf":
        return "" if _LONG_CRTF.fullmatch(line.strip()) else f"has more than {_SHORT} characters, but is no polygon"
    if "{" in line.rpartition("}")[2]:
        return "a } is missing after a {; is the file complete?"
    return "a word has more than 1000 characters; shorten it" if _LONG_WORD.search(line) else ""


def _from_regions(regions: Iterable[Any], where: str) -> SourceMask:
    circles: list[tuple[float, float, float]] = []
    shapes: list[ClosedLines] = []
    n_edges = 0
    for number, region in enumerate(regions, start=1):
        name: str = type(region).__name__
        place = f"{where}, region {number} ({name})"
        if not region.meta.get("include", True):
            raise BgnbError(
                "bad-region", f"{place}: regions with a minus sign or include=0 are not supported; remove it, or the region"
            )
        if region.meta.get("type", "reg") != "reg":
            raise BgnbError("bad-region", f"{place}: is an annotation (ann), which is drawn only; remove it, or the word ann")
        try:
            if name == "CircleSkyRegion":
                if not 0 < region.radius.to_value("deg") <= 180:
                    raise BgnbError("bad-region", f"radius must lie within 0 and 180 deg, got {region.radius}")
                icrs = region.center.icrs
                if not np.isfinite([icrs.ra.deg, icrs.dec.deg]).all():
                    raise BgnbError("bad-region", "the centre is not a finite position")
                circles.append((icrs.ra.deg, icrs.dec.deg, region.radius.to_value("deg")))
            elif name in _LINES:
                shapes.append(ClosedLines(_LINES[name](region)))
                n_edges += shapes[-1].n_edges
                check_number_of_edges(n_edges)
            else:
                raise BgnbError("bad-region", f"is not supported; {_AREAS}")
        except BgnbError as error:
            raise BgnbError("bad-region", f"{place}: {error.message}") from None
    if not circles and not shapes:
        raise BgnbError("bad-region", f"{where}: there are no regions")
    ra, dec, radius = np.array(circles, dtype=float).reshape(-1, 3).T
    return SourceMask(ra, dec, radius, shapes=shapes)


def _in_tangent_plane(region: Any, x: Floats, y: Floats) -> Floats:
    """Compute positions (ICRS, deg) of points in the tangent plane about the centre of a region, along its width and height."""
    angle = region.angle.to_value("rad")  # from decreasing longitude towards increasing latitude
    west, north = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    center = region.center
    sky = center.directional_offset_by(np.arctan2(-west, north) * u.rad, np.arctan(np.hypot(west, north)) * u.rad)
    return _vertices(sky)


def _vertices(sky: SkyCoord) -> Floats:
    icrs = sky.icrs
    return np.stack([icrs.ra.deg, icrs.dec.deg], axis=1)


def _ellipse(region: Any, prefix: str = "") -> Floats:
    x, y = _half_widths(region, prefix)
    phase = np.arange(_VERTICES) * (2 * np.pi / _VERTICES)
    return _in_tangent_plane(region, x * np.cos(phase), y * np.sin(phase))


def _rectangle(region: Any, prefix: str = "") -> Floats:
    x, y = _half_widths(region, prefix)
    return _in_tangent_plane(region, x * np.array([1, -1, -1, 1]), y * np.array([1, 1, -1, -1]))


def _half_widths(region: Any, prefix: str) -> tuple[float, float]:
    """Return half of width and height in the tangent plane, so that the angles along the axes are exact."""
    halves = [getattr(region, prefix + name).to_value("rad") / 2 for name in ("width", "height")]
    if not (min(halves) > 0 and max(halves) < np.pi / 4):
        raise BgnbError("bad-region", "width and height must be above 0 and below 90 deg")
    return float(np.tan(halves[0])), float(np.tan(halves[1]))


def _circles(region: Any) -> list[Floats]:
    angles = np.arange(_VERTICES) * (360 / _VERTICES) * u.deg
    return [_vertices(region.center.directional_offset_by(angles, r)) for r in (region.inner_radius, region.outer_radius)]


_LINES: dict[str, Callable[[Any], list[Floats]]] = {
    "CircleAnnulusSkyRegion": _circles,
    "EllipseSkyRegion": lambda region: [_ellipse(region)],
    "EllipseAnnulusSkyRegion": lambda region: [_ellipse(region, "inner_"), _ellipse(region, "outer_")],
    "RectangleSkyRegion": lambda region: [_rectangle(region)],
    "RectangleAnnulusSkyRegion": lambda region: [_rectangle(region, "inner_"), _rectangle(region, "outer_")],
    "PolygonSkyRegion": lambda region: [_vertices(region.vertices)],
}


def _from_image(data: Any, header: fits.Header, where: str) -> SourceMask:
    """Make a mask of an image in which pixels that are 0 or False are excluded."""
    from astropy.wcs import WCS, FITSFixedWarning

    values = np.asarray(data)
    while values.ndim > 2 and len(values) == 1:
        values = values[0]
    if values.ndim != 2:
        sizes = " × ".join(map(str, values.shape[::-1]))
        raise BgnbError("bad-region", f"{where}: has {values.ndim} axes ({sizes}); give an image of the sky, without energies")
    if not np.isfinite(values).all():
        raise BgnbError("bad-region", f"{where}: has pixels that are not finite; use 0 for excluded pixels and 1 for others")
    if any(_DISTORTED.fullmatch(name) for name in header):
        raise _distorted(where)
    if wrong := [name for name in header if _WCS_NUMBERS.fullmatch(name) and isinstance(header[name], str | bool)]:
        raise BgnbError("bad-region", f"{where}: {wrong[0]} must be a number")  # others are taken for the default
    with ignored_warnings(FITSFixedWarning):
        # Other keywords are not for two axes of the sky, and may take WCSLIB hours, or end the process.
        wcs = WCS(fits.Header([card for card in header.cards if _WCS_KEYWORDS.fullmatch(card.keyword)]), naxis=2)
    if not wcs.has_celestial:
        raise BgnbError("bad-region", f"{where}: has no celestial coordinates (CTYPE1, CTYPE2)")
    if not (excluded := values == 0).any():
        raise BgnbError("bad-region", f"{where}: excludes nothing; excluded pixels must be 0 (False)")
    try:
        with np.errstate(all="ignore"):  # positions off the sky are not finite
            image = SkyImage.from_array(excluded, wcs.celestial)
            return SourceMask(*image.at_edge(excluded), shapes=[image])
    except BgnbError as error:
        raise BgnbError("bad-region", f"{where}: {error.message}") from None


def _check_distortions(wcs: WCS, where: str) -> None:
    if any(each is not None for each in (wcs.sip, wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)):
        raise _distorted(where)


def _distorted(where: str) -> BgnbError:
    return BgnbError("bad-region", f"{where}: its coordinates have a distortion, such as SIP; resample the image without it")


def _from_table(table: Table, where: str) -> SourceMask:
    """Make circles from the columns RA, DEC, RADIUS, E_MIN and E_MAX."""
    try:
        columns = columns_by_name(table, ("RA", "DEC", "RADIUS", "E_MIN", "E_MAX"))
        check_frame(table)
    except ValueError as error:
        raise BgnbError("bad-region", f"{where}: {error}") from None
    if missing := [name for name in ("RA", "DEC", "RADIUS") if name not in columns]:
        has = f"it has {', '.join(table.colnames)}"
        raise BgnbError("bad-region", f"{where}: the table of circles has no column {missing[0]}; {has}")
    if not len(table):
        raise BgnbError("bad-region", f"{where}: the table of circles has no rows")
    found = []
    for name, unit, minimum, maximum in (
        ("RA", "deg", -360, 360),
        ("DEC", "deg", -90, 90),
        ("RADIUS", "deg", 0, 180),
        ("E_MIN", "TeV", 0, np.inf),
        ("E_MAX", "TeV", 0, np.inf),
    ):
        empty = {"E_MIN": 0.0, "E_MAX": np.inf}.get(name, np.nan)
        values = columns.get(name, np.full(len(table), empty))
        try:
            converted = numbers_in(values, unit, empty)
        except (TypeError, ValueError) as error:
            raise BgnbError("bad-region", f"{where}: column {name} cannot be converted to {unit}: {error}") from None
        if len(wrong := np.flatnonzero(~((converted >= minimum) & (converted <= maximum)))):
            value = f"{name} of row {wrong[0] + 1} is {converted[wrong[0]]:g} {unit}"
            raise BgnbError("bad-region", f"{where}: {value}, but must lie within {minimum} and {maximum} {unit}")
        found.append(converted)
    ra, dec, radius, e_min, e_max = found
    if len(wrong := np.flatnonzero(radius == 0)):
        raise BgnbError(
            "bad-region", f"{where}: RADIUS of row {wrong[0] + 1} is 0, so that nothing is excluded; remove the row"
        )
    if suspicion := not_in_degrees(columns, ra, dec):
        raise BgnbError("bad-region", f"{where}: {suspicion}")
    if len(wrong := np.flatnonzero(~(e_min < e_max))):
        raise BgnbError("bad-region", f"{where}: E_MIN of row {wrong[0] + 1} is not below E_MAX")
    return SourceMask(ra, dec, radius, e_min, e_max)
