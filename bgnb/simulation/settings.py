"""Settings of simulations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bgnb._util.errors import BgnbError, quoted
from bgnb._util.setting_kinds import Choice, Flag, Kind, Number, Whole, converted
from bgnb._util.settings_groups import SettingsGroup, setting
from bgnb.production.settings import fovalign_setting, method_setting, n_energy_setting, n_fov_setting

#: Maximum number of simulated runs; more are probably a mistake, and would take days.
MAX_RUNS = 999_999


@dataclass(frozen=True)
class Pair(Kind):
    """Two values in increasing order: numbers within limits, or dates."""

    type: type = float
    low: float = 0
    high: float = 0
    annotation: ClassVar[str] = "pair"
    metavar: ClassVar[str] = "MIN MAX"
    json: ClassVar[str] = "list"

    def check(self, name: str, value: Any) -> tuple[Any, Any]:
        """Check the two values, and return them."""
        try:
            low, high = (converted(each, self.type) for each in value)
        except (TypeError, ValueError):
            raise BgnbError("invalid-argument", f"{name} must be two values, got {quoted(value)}") from None
        if self.type is not str and not self.low <= low <= high <= self.high:
            limits = f"two increasing values within {self.low:g} and {self.high:g}"
            raise BgnbError("invalid-argument", f"{name} must be {limits}, got {tuple(value)}")
        return low, high

    def to_json(self, value: Any) -> Any:
        """Return the two values as a list."""
        return list(value)


def _observatories() -> Iterable[str]:
    from bgnb.observations.sites import OBSERVATORIES

    return OBSERVATORIES


def _observatory_setting() -> Any:
    return setting(Choice(_observatories), "HESS", help="Observatory.")


def _energy_threshold_setting() -> Any:
    return setting(
        Number(above=0),
        None,
        help="Energy threshold (LO_THRES) at the zenith, TeV; it grows as sin(altitude)^-3.",
        default_text="the lowest energy of the true model, in all runs",
    )


def _seed_setting() -> Any:
    return setting(Whole(0), 0, help="Seed of the random numbers; the same seed gives the same files.")


@dataclass(frozen=True, kw_only=True)
class TrueModelSettings(SettingsGroup):
    """Parameters of the true model."""

    sigma: float = setting(
        Number(minimum=0.1, maximum=20),
        5.0,
        help="Width of the field of view at the highest energy, deg, from 0.1 to 20; half of it at the lowest.",
    )
    spectral_index: float = setting(
        Number(above=0, maximum=20),
        2.7,
        help="Spectral index Γ: counts per logarithmic energy interval fall as E^−Γ, the rate as E^−(Γ+1).",
    )
    trigger_rate: float = setting(
        Number(above=0), 300.0, help="Background events per second of livetime at the zenith, before a quadrant is masked."
    )
    gradient_x: float = setting(Number(minimum=-100, maximum=100), 0.0, help="Relative change of the rate per deg of DETX.")
    gradient_y: float = setting(Number(minimum=-100, maximum=100), 0.0, help="Relative change of the rate per deg of DETY.")
    mask_quadrant: bool = setting(Flag(), False, help="No events where DETX > 0 and DETY > 0.")
    elongation: float = setting(
        Number(minimum=0.2, maximum=5),
        1.0,
        help="Width of the field of view along the baseline of two telescopes, divided by the width across it, at the zenith.",
    )
    baseline_az: float = setting(Number(), 0.0, help="Azimuth of this baseline, deg; it has no effect for an elongation of 1.")
    fovalign: Any = fovalign_setting()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elongation != 1 and self.fovalign != "ALTAZ":
            message = (
                f"elongation = {self.elongation:g} needs fovalign = ALTAZ, in which the baseline follows from the pointing"
            )
            raise BgnbError("invalid-argument", f"{message}; got {self.fovalign}")


@dataclass(frozen=True, kw_only=True)
class ObservationSettings(SettingsGroup):
    """Simulated runs."""

    n_runs: int = setting(Whole(maximum=MAX_RUNS), 10, help="Number of runs; OBS_IDs count from 1.")
    observatory: str = _observatory_setting()
    alt_range: Any = setting(Pair(high=90), (45.0, 90.0), help="Range of altitude, deg.")
    az_range: Any = setting(Pair(low=-360, high=720), (0.0, 360.0), help="Range of azimuth, deg.")
    date_range: Any = setting(
        Pair(type=str), ("2010-01-01", "2015-01-01"), help="Dates between which runs start, UTC, from 1970 to 2099."
    )
    n_tels_range: Any = setting(Pair(type=int, low=1, high=1000), (3, 4), help="Minimum and maximum number of telescopes.")
    muoneff_range: Any = setting(Pair(high=10), (0.6, 1.0), help="Range of muon efficiency.")
    seed: int = _seed_setting()


@dataclass(frozen=True, kw_only=True)
class DatasetSettings(SettingsGroup):
    """Settings of `bgnb.make_test_dataset`."""

    observations: ObservationSettings = field(default_factory=ObservationSettings)
    true_model: TrueModelSettings = field(default_factory=TrueModelSettings)
    energy_threshold: float | None = _energy_threshold_setting()


@dataclass(frozen=True, kw_only=True)
class TrueRecoSettings(SettingsGroup):
    """Settings of `bgnb.make_true_reco`."""

    test: bool = setting(Flag(), False, help="Quick test with two runs.")
    n_runs: int = setting(Whole(maximum=MAX_RUNS), 100, help="Number of runs.")
    group_id: int = setting(
        Whole(0), 27, help="One of the default groups; 27 is altitude 72-90, azimuth 90-270.", see="ObservationGroups"
    )
    observatory: str = _observatory_setting()
    true_model: TrueModelSettings = field(default_factory=TrueModelSettings)
    energy_threshold: float | None = _energy_threshold_setting()
    method: str = method_setting()
    n_energy: int | None = n_energy_setting()
    n_fov: int | None = n_fov_setting()
    seed: int = _seed_setting()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.true_model.mask_quadrant and self.method == "spline":
            reason = "a spline cannot describe a field of view without a quadrant (mask_quadrant)"
            raise BgnbError("conflicting-arguments", f"{reason}; use method = classic, michi or unsmoothed")
