"""Settings of the functions and commands that make, use and test models.

NumPy and Astropy are imported only when a value is checked, because the command line imports
this module at each start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from bgnb._util.errors import BgnbError, quoted
from bgnb._util.setting_kinds import Choice, Flag, Kind, Numbers, Value, Whole, is_boolean
from bgnb._util.settings_groups import SettingsGroup, setting
from bgnb.observations.reading_settings import ReadingSettings, Scheme

if TYPE_CHECKING:
    from astropy.table import Table

    from bgnb.cubes.cube import CubeAxes
    from bgnb.observations.groups import ObservationGroups

_TEST_ALT_EDGES = (0.0, 45.0, 90.0)


def _methods() -> Iterable[str]:
    from bgnb.cubes.method import method_names

    return method_names()


def _earlier_methods() -> Mapping[str, str]:
    from bgnb.cubes.method import methods

    return {name: method.name for name, method in methods().items()}


@dataclass(frozen=True)
class _Directory(Kind):
    """A directory or file."""

    annotation: ClassVar[str] = "path"


@dataclass(frozen=True)
class _Catalog(Kind):
    """A catalogue of sources: a file, or a table in memory."""

    annotation: ClassVar[str] = "path or `~astropy.table.Table`"

    def check(self, name: str, value: Any) -> str | Table:
        """Return the path as text, or the table."""
        return value if hasattr(value, "colnames") else str(value)

    def to_json(self, value: Any) -> Any:
        """Return the path, or the word ``table``."""
        return value if isinstance(value, str) else "table"

    def from_json(self, value: Any) -> Any:
        """Return the path; a table in memory is not stored."""
        if value == "table":
            raise BgnbError("bad-config", "catalog was a table in memory; give a file")
        return value


@dataclass(frozen=True)
class _Exclusions(Kind):
    """Exclusion regions: files, or objects in memory, one or several."""

    annotation: ClassVar[str] = "path, region, table or map, or list of these"
    json: ClassVar[str] = "list"
    metavar: ClassVar[str] = "FILE"
    multiple: ClassVar[bool] = True

    def check(self, name: str, value: Any) -> tuple[Any, ...] | None:
        """Return paths as text and other objects as they are, or None without any."""
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        for each in values:
            of_objects = ("colnames", "geom", "meta", "regions")
            if not isinstance(each, str | Path) and not any(hasattr(each, attribute) for attribute in of_objects):
                kinds = "files, tables, sky regions or maps (WcsNDMap)"
                raise BgnbError("invalid-argument", f"{name} must be one or several {kinds}, got {quoted(each)}")
        return tuple(str(each) if isinstance(each, Path) else each for each in values) or None

    def to_json(self, value: Any) -> Any:
        """Return the paths, and the kinds of objects in memory."""
        return [each if isinstance(each, str) else f"{_IN_MEMORY}{type(each).__name__}" for each in value]

    def from_json(self, value: Any) -> Any:
        """Return the paths; objects in memory are not stored."""
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, str) and each.startswith(_IN_MEMORY):
                raise BgnbError("bad-config", f"exclude was in memory ({each.removeprefix(_IN_MEMORY)}); give a file")
        return value


_IN_MEMORY = "in memory: "


@dataclass(frozen=True)
class _Select(Kind):
    """Selection of runs: ``far``, ``all``, or OBS_IDs in a text file or a sequence."""

    annotation: ClassVar[str] = '{"far", "all"}, path or sequence of int'

    def check(self, name: str, value: Any) -> str | tuple[int, ...]:
        """Return ``far``, ``all``, or the OBS_IDs."""
        from bgnb.observations.run_selection import read_run_list

        if isinstance(value, str | Path) and str(value).lower() in ("far", "all"):
            return str(value).lower()
        if isinstance(value, str | Path):
            return read_run_list(value)
        try:
            obs_ids = tuple(value)
            if any(map(is_boolean, obs_ids)):
                raise TypeError("booleans are a mask of runs, not their numbers")
            return tuple(map(index, obs_ids))
        except TypeError:
            kinds = "'far', 'all', a file of OBS_IDs or a list of whole numbers"
            raise BgnbError("invalid-argument", f"{name} must be {kinds}, got {quoted(value)}") from None

    def to_json(self, value: Any) -> Any:
        """Return OBS_IDs as a list."""
        return value if isinstance(value, str) else list(value)


def on_error_setting() -> Any:
    """Declare the treatment of runs that cannot be used, or only with a note."""
    return setting(
        Choice(lambda: ("skip", "fail")),
        "skip",
        help="Skip runs that cannot be used and note what is questionable, or fail at the first. With fail nothing is made, "
        "and what is otherwise a note on the index or on a selected run is an error as well, such as a wrong checksum, or a "
        "row that appears twice.",
    )


def scheme_setting() -> Any:
    """Declare the layout of a directory of runs."""
    return setting(Choice(lambda: get_args(Scheme)), help="Layout of the directory of runs.", see="open_runs")


def select_setting(default: str) -> Any:
    """Declare the selection of runs."""
    text = "Runs to use: those far from known sources, all, or those listed in a text file. The file has one OBS_ID per line."
    return setting(_Select(), default, metavar="far|all|FILE", help=text)


def catalog_setting() -> Any:
    """Declare the catalogue of known sources."""
    return setting(
        _Catalog(),
        None,
        help="Table of known sources. Its columns are RA, DEC and optionally EXTENSION (deg).",
        see="read_catalog",
        metavar="FILE",
        default_text="the known TeV sources",
    )


def mask_radius_setting(text: str) -> Any:
    """Declare the radius of the exclusion regions around known sources."""
    return setting(Value("deg", above=0, maximum=180), "0.5 deg", help=text)


def exclude_setting() -> Any:
    """Declare exclusion regions in addition to those around known sources."""
    text = (
        "Regions whose events and livetime do not count. A DS9 (.reg) or CRTF (.crtf) file, a FITS image of the sky (0: "
        "excluded), or a table of circles with the columns RA, DEC, RADIUS (deg) and optionally E_MIN, E_MAX (TeV)."
    )
    return setting(_Exclusions(), None, help=text, see="read_exclusions")


@dataclass(frozen=True, kw_only=True)
class RunSelection(SettingsGroup):
    """Selection of runs."""

    select: Any = select_setting("far")
    catalog: Any = catalog_setting()
    exclusion_radius: Any = setting(
        Value("deg", minimum=0), "3 deg", help="Minimum distance of far runs from a source, in addition to twice its extension."
    )

    def check_effect(self) -> None:
        """Check that a catalogue or radius has an effect.

        Raises
        ------
        BgnbError
            If runs are not selected by their distance from sources.
        """
        for name in ("catalog", "exclusion_radius"):
            if not self.is_default(name) and self.select != "far":
                more = ", or with sources = mask" * (name == "catalog")
                raise BgnbError("no-effect", f"{name} has an effect only with select = far{more}")


@dataclass(frozen=True, kw_only=True)
class Sources(SettingsGroup):
    """Treatment of known sources."""

    sources: str = setting(
        Choice(lambda: ("drop", "mask")),
        "drop",
        help="Drop the runs near known sources, or mask the sources. With mask, all selected runs are kept, and events and "
        "livetime in circles around the sources are excluded.",
    )
    mask_radius: Any = mask_radius_setting("Radius of these circles around sources, in addition to twice the extension.")
    exclude: Any = exclude_setting()

    def check_effect(self, selection: RunSelection) -> None:
        """Check that the radii and the catalogue have an effect.

        Raises
        ------
        BgnbError
            If runs are neither selected by their distance from sources nor masked.
        """
        if self.sources != "mask":
            selection.check_effect()
            if not self.is_default("mask_radius"):
                raise BgnbError("no-effect", "mask_radius has an effect only with sources = mask")
        elif not selection.is_default("exclusion_radius"):
            raise BgnbError("no-effect", "exclusion_radius has an effect only with sources = drop; set mask_radius instead")


@dataclass(frozen=True, kw_only=True)
class GroupEdges(SettingsGroup):
    """Groups of runs by altitude and azimuth."""

    alt_edges: Any = setting(
        Numbers("deg"), None, help="Edges of the groups in altitude, deg, such as 0,45,90.", default_text="14 ranges"
    )
    az_edges: Any = setting(
        Numbers("deg"), None, help="Edges of the groups in azimuth, deg, such as -90,90,270.", default_text="two ranges"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.groups  # checks the edges

    @property
    def groups(self) -> ObservationGroups:
        """The groups."""
        from bgnb.observations.groups import observation_groups

        return observation_groups(self.alt_edges, self.az_edges)


@dataclass(frozen=True, kw_only=True)
class Grouping(SettingsGroup):
    """Grouping of runs."""

    min_livetime: Any = setting(
        Value("s", minimum=0),
        None,
        help="Merge neighbouring groups until each has at least this livetime, such as '5 h'.",
        default_text="no merging",
    )
    edges: GroupEdges = field(default_factory=GroupEdges)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "min_livetime", self.min_livetime or 0.0)


def n_energy_setting() -> Any:
    """Declare the number of energy bins of models."""
    text = "30 for splines, otherwise 20"
    return setting(Whole(), None, help="Number of energy bins.", default_text=text)


def n_fov_setting() -> Any:
    """Declare the number of bins of models in the field of view."""
    text = "40 for splines, otherwise 60"
    return setting(Whole(), None, help="Number of bins in each of DETX and DETY.", default_text=text)


def fovalign_setting(default: str | None = "ALTAZ") -> Any:
    """Declare the frame of DETX and DETY; a default of None depends on the source of the pointing."""
    text = "" if default else "ALTAZ, or RADEC if the pointing is that of the header"
    return setting(Choice(lambda: ("ALTAZ", "RADEC")), default, help="Frame of DETX and DETY.", default_text=text)


@dataclass(frozen=True, kw_only=True)
class CubeBinning(SettingsGroup):
    """Axes of the models."""

    energy_min: Any = setting(Value("TeV"), "0.1 TeV", help="Lower end of the energy axis.")
    energy_max: Any = setting(Value("TeV"), "80 TeV", help="Upper end of the energy axis.")
    n_energy: int | None = n_energy_setting()
    fov_max: Any = setting(Value("deg"), "0.07 rad", help="DETX and DETY extend from minus this value to this value.")
    n_fov: int | None = n_fov_setting()

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.axes  # checks the ends

    @property
    def axes(self) -> CubeAxes:
        """Axes of the cubes."""
        from astropy import units as u

        from bgnb.cubes.cube import CubeAxes

        return CubeAxes.regular(
            n_energy=self.n_energy or 20,
            n_fov=self.n_fov or 60,
            energy_min=self.energy_min * u.TeV,
            energy_max=self.energy_max * u.TeV,
            fov_max=self.fov_max * u.deg,
        )


def model_lookup_setting() -> Any:
    """Declare the lookup of the model for a run."""
    return setting(
        Choice(lambda: ("interpolate", "nearest")),
        "interpolate",
        help="Rate for a run: interpolate between the models of groups (of a spline: evaluate it at the pointing), or take "
        "the nearest model.",
        see="ModelSet.rate_for",
    )


def method_setting() -> Any:
    """Declare the method."""
    text = (
        "Method to derive the rate. A spline is fitted to all runs at once, and evaluated at the mean pointing of each group. "
        "The name default of Gammapy's former command is accepted for classic."
    )
    return setting(Choice(_methods, _earlier_methods), "spline", help=text, see="make_model")


def test_setting() -> Any:
    """Declare the quick test."""
    return setting(Flag(), False, help="Quick test: at most 20 runs, evenly spread, and altitude edges 0,45,90.")


@dataclass(frozen=True, kw_only=True)
class ModelSettings(SettingsGroup):
    """Settings of models, whatever the source of the runs."""

    test: bool = test_setting()
    method: str = method_setting()
    selection: RunSelection = field(default_factory=RunSelection)
    source_handling: Sources = field(default_factory=Sources)
    grouping: Grouping = field(default_factory=Grouping)
    binning: CubeBinning = field(default_factory=CubeBinning)
    fovalign: Any = fovalign_setting(None)
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    on_error: Any = on_error_setting()

    def __post_init__(self) -> None:
        from bgnb.cubes.method import find_method

        super().__post_init__()
        has_times = self.reading.pointing != "header"
        if self.fovalign == "ALTAZ" and not has_times:
            raise BgnbError("conflicting-arguments", "fovalign = ALTAZ needs times, which pointing = header does not use")
        object.__setattr__(self, "fovalign", self.fovalign or ("ALTAZ" if has_times else "RADEC"))
        binning, edges = self.binning.as_dict(), self.grouping.edges
        for name, default in zip(("n_energy", "n_fov"), find_method(self.method).default_bins, strict=True):
            binning[name] = binning[name] or default
        object.__setattr__(self, "binning", CubeBinning.from_dict(binning))
        alt_edges = _TEST_ALT_EDGES if self.test and edges.alt_edges is None else edges.alt_edges
        groups = GroupEdges(alt_edges=alt_edges, az_edges=edges.az_edges).groups
        resolved = {f"{name}_deg": getattr(groups, name).value.tolist() for name in ("alt_edges", "az_edges")}
        object.__setattr__(self, "grouping", Grouping.from_dict(self.grouping.as_dict() | resolved))
        self.source_handling.check_effect(self.selection)

    @property
    def groups(self) -> ObservationGroups:
        """The groups."""
        return self.grouping.edges.groups


@dataclass(frozen=True, kw_only=True)
class ProductionSettings(ModelSettings):
    """Settings of models made from a directory of runs, see `bgnb.make_bg_cube_models`."""

    indir: str = setting(_Directory(), help="Directory of event lists.")
    scheme: Any = scheme_setting()
