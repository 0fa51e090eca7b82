"""The choices of a production of models, checked before any work begins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import index
from pathlib import Path
from typing import Any

from astropy import units as u
from astropy.table import Table

from bgnb._util.checks import checked_choice, to_value, whole_number
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.exclusion_mask import MASK_RADIUS
from bgnb.cubes.model import checked_method
from bgnb.observations.coordinates import FovAlign, checked_fovalign
from bgnb.observations.datastore import checked_scheme
from bgnb.observations.groups import ObservationGroups, observation_groups
from bgnb.observations.selection import EXCLUSION_RADIUS, OnError, check_effect, checked_on_error, read_run_list

#: Bins of a spline in energy, and in each of DETX and DETY: it is smooth, so that they need hold no minimum of counts.
SPLINE_BINS = 40

_TEST_ALT_EDGES = (0, 45, 90)


@dataclass(frozen=True)
class Settings:
    """What `bgnb.make_bg_cube_models` was asked for, in plain values: what the report states.

    Parameters
    ----------
    indir, scheme, test, method, sources, fovalign, on_error
        The arguments of the same names.
    select : str or tuple of int
        ``far``, ``all``, or OBS_IDs.
    catalog : str or None
        The file; None for the default catalogue.
    exclusion_radius_deg, mask_radius_deg, min_livetime_s, energy_min_tev, energy_max_tev, fov_max_deg : float
        Quantities.
    alt_edges_deg, az_edges_deg : tuple of float
        Edges of the groups.
    n_energy, n_fov : int or None
        Numbers of bins; None where they depend on the number of runs.
    """

    indir: str
    scheme: str
    test: bool
    method: str
    select: str | tuple[int, ...]
    catalog: str | None
    exclusion_radius_deg: float
    sources: str
    mask_radius_deg: float
    min_livetime_s: float
    alt_edges_deg: tuple[float, ...]
    az_edges_deg: tuple[float, ...]
    energy_min_tev: float
    energy_max_tev: float
    n_energy: int | None
    fov_max_deg: float
    n_fov: int | None
    fovalign: FovAlign
    on_error: OnError

    @classmethod
    def checked(
        cls,
        *,
        indir: str | Path,
        scheme: str,
        test: bool,
        method: str,
        select: str | Path | Sequence[int],
        catalog: str | Path | Table | None,
        exclusion_radius: u.Quantity | str,
        sources: str,
        mask_radius: u.Quantity | str,
        alt_edges: Sequence[float] | u.Quantity | None,
        az_edges: Sequence[float] | u.Quantity | None,
        min_livetime: u.Quantity | str | None,
        energy_min: u.Quantity | str,
        energy_max: u.Quantity | str,
        n_energy: int | None,
        fov_max: u.Quantity | str,
        n_fov: int | None,
        fovalign: str,
        on_error: str,
    ) -> Settings:
        """The arguments of `bgnb.make_bg_cube_models`, or a `BgnbError` that names the wrong one."""
        method = checked_method(method)
        if method == "spline":
            n_energy, n_fov = (SPLINE_BINS if number is None else number for number in (n_energy, n_fov))
        groups = observation_groups(_TEST_ALT_EDGES if test and alt_edges is None else alt_edges, az_edges)
        settings = cls(
            indir=str(indir),
            scheme=checked_scheme(scheme),
            test=test,
            method=method,
            select=_selected(select),
            catalog=None if catalog is None else "table" if isinstance(catalog, Table) else str(catalog),
            exclusion_radius_deg=to_value("exclusion_radius", exclusion_radius, "deg"),
            sources=checked_choice("sources", sources, ("drop", "mask")),
            mask_radius_deg=to_value("mask_radius", mask_radius, "deg"),
            min_livetime_s=0.0 if min_livetime is None else to_value("min_livetime", min_livetime, "s"),
            alt_edges_deg=tuple(groups.alt_edges.value.tolist()),
            az_edges_deg=tuple(groups.az_edges.value.tolist()),
            energy_min_tev=to_value("energy_min", energy_min, "TeV"),
            energy_max_tev=to_value("energy_max", energy_max, "TeV"),
            n_energy=None if n_energy is None else whole_number("n_energy", n_energy),
            fov_max_deg=to_value("fov_max", fov_max, "deg"),
            n_fov=None if n_fov is None else whole_number("n_fov", n_fov),
            fovalign=checked_fovalign(fovalign),
            on_error=checked_on_error(on_error),
        )
        if settings.mask_radius_deg <= 0:
            raise BgnbError(f"mask_radius must be above 0 deg, got {mask_radius}")
        if settings.min_livetime_s < 0:
            raise BgnbError(f"min_livetime must not be negative, got {min_livetime}")
        if settings.sources != "mask":
            check_effect(settings.select, catalog, settings.exclusion_radius_deg)
            if not math.isclose(settings.mask_radius_deg, MASK_RADIUS.to_value("deg")):
                raise BgnbError("mask_radius has an effect only with sources = mask")
        elif not math.isclose(settings.exclusion_radius_deg, EXCLUSION_RADIUS.to_value("deg")):
            raise BgnbError("exclusion_radius has an effect only with sources = drop; the radius of masks is mask_radius")
        settings.axes(1)  # complain of wrong axes too
        return settings

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from `as_dict`."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{field.name: {**values, **lists}[field.name] for field in fields(cls)})

    def as_dict(self) -> dict[str, Any]:
        """The settings as ``report.json`` has them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def groups(self) -> ObservationGroups:
        """The groups."""
        return observation_groups(self.alt_edges_deg, self.az_edges_deg)

    def axes(self, n_runs: int) -> CubeAxes:
        """Axes of the cube of a group of ``n_runs``.

        Numbers of bins that are not given are 20 in energy and 60 in the field of view;
        with fewer than 100 runs n, 20 + m and 60 + 4m, with m = n // 10 − 10.
        """
        coarser = min(n_runs // 10 - 10, 0)
        return CubeAxes.regular(
            n_energy=20 + coarser if self.n_energy is None else self.n_energy,
            n_fov=60 + 4 * coarser if self.n_fov is None else self.n_fov,
            energy_min=self.energy_min_tev * u.TeV,
            energy_max=self.energy_max_tev * u.TeV,
            fov_max=self.fov_max_deg * u.deg,
        )


def _selected(select: str | Path | Sequence[int]) -> str | tuple[int, ...]:
    """``far``, ``all``, or the OBS_IDs that a sequence or a file lists."""
    if str(select).lower() in ("far", "all"):
        return str(select).lower()
    if isinstance(select, str | Path):
        return tuple(read_run_list(select))
    try:
        return tuple(index(obs_id) for obs_id in select)
    except TypeError:
        raise BgnbError(f"select must be 'far', 'all', a file of OBS_IDs or a list of whole numbers, got {select!r}") from None
