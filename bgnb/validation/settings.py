"""Settings of validations."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgnb._util.errors import BgnbError
from bgnb._util.setting_kinds import Choice, Number, Numbers, Value, Whole
from bgnb._util.settings_groups import SettingsGroup, setting
from bgnb.observations.reading_settings import ReadingSettings
from bgnb.production.settings import (
    CubeBinning,
    GroupEdges,
    Grouping,
    ProductionSettings,
    RunSelection,
    Sources,
    catalog_setting,
    exclude_setting,
    fovalign_setting,
    mask_radius_setting,
    method_setting,
    model_lookup_setting,
    on_error_setting,
    select_setting,
    test_setting,
)

if TYPE_CHECKING:
    from bgnb.validation.run_prediction import Grid


@dataclass(frozen=True, kw_only=True)
class GridSettings(SettingsGroup):
    """Bins in which predicted and observed counts are compared."""

    energy_min: Any = setting(Value("TeV"), "0.5 TeV", help="Lower end of the energy bins in which counts are compared.")
    energy_max: Any = setting(Value("TeV"), "50 TeV", help="Upper end of these energy bins.")
    n_energy: int = setting(Whole(), 8, help="Number of these energy bins.")
    pixel: Any = setting(Value("deg"), "0.5 deg", help="Width of the pixels.")
    offset_max: Any = setting(Value("deg"), "2.5 deg", help="Maximum offset of the centre of a pixel from the pointing.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.grid  # the constructor of Grid checks the values

    @property
    def grid(self) -> Grid:
        """Grid of these bins."""
        from astropy import units as u

        from bgnb.validation.run_prediction import Grid

        energies = {"energy_min": self.energy_min * u.TeV, "energy_max": self.energy_max * u.TeV}
        return Grid.regular(**energies, n_energy=self.n_energy, pixel=self.pixel * u.deg, offset_max=self.offset_max * u.deg)


@dataclass(frozen=True, kw_only=True)
class PredictionSettings(SettingsGroup):
    """Prediction of the counts of runs."""

    rate_interpolation: Any = setting(
        Choice(lambda: ("gammapy", "none")),
        "gammapy",
        help="Rate between bin centres: log rate interpolated linearly as Gammapy does, or none: constant in each bin.",
        see="predicted_rate",
    )
    model_lookup: Any = model_lookup_setting()
    grid: GridSettings = field(default_factory=GridSettings)
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    on_error: Any = on_error_setting()


@dataclass(frozen=True, kw_only=True)
class ValidationSettings(SettingsGroup):
    """Settings of `bgnb.validate`."""

    selection: RunSelection = field(default_factory=RunSelection)
    source_handling: Sources = field(default_factory=Sources)
    prediction: PredictionSettings = field(default_factory=PredictionSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.source_handling.check_effect(self.selection)


def _axis_setting(name: str) -> Any:
    """Declare a setting of the axes of models again, under a name that differs from those of `GridSettings`."""
    axis = CubeBinning.declared()[name]
    declared = axis.metadata["declaration"]
    text = f"{declared.help.rstrip('.')} (of the models)."
    return field(default=axis.default, metadata={"declaration": replace(declared, help=text)})


@dataclass(frozen=True, kw_only=True)
class ModelAxes(SettingsGroup):
    """Axes of the models, named as in `CubeBinning` with the prefix ``model_``."""

    model_energy_min: Any = _axis_setting("energy_min")
    model_energy_max: Any = _axis_setting("energy_max")
    model_n_energy: int | None = _axis_setting("n_energy")
    model_fov_max: Any = _axis_setting("fov_max")
    model_n_fov: int | None = _axis_setting("n_fov")

    @property
    def binning(self) -> CubeBinning:
        """The axes as settings of a production."""
        try:
            return CubeBinning.from_dict({name.removeprefix("model_"): value for name, value in self.as_dict().items()})
        except BgnbError as error:
            names = "|".join(CubeBinning.declared())
            raise BgnbError(error.code, re.sub(rf"\b({names})\b", r"model_\1", error.message)) from None


@dataclass(frozen=True, kw_only=True)
class CrossValidationSettings(SettingsGroup):
    """Settings of `bgnb.cross_validate`."""

    method: str = method_setting()
    test: bool = test_setting()
    folds: int = setting(Whole(2), 3, help="Number of folds; each is predicted from models of the others.")
    n_train: Any = setting(
        Numbers(type=int),
        None,
        help="Learning curve: also make models from these numbers of runs, such as 4,8,15.",
        annotation="sequence of int",
    )
    seed: int = setting(Whole(0), 0, help="Seed of the random split into folds.")
    selection: RunSelection = field(default_factory=RunSelection)
    source_handling: Sources = field(default_factory=Sources)
    grouping: Grouping = field(default_factory=Grouping)
    model_axes: ModelAxes = field(default_factory=ModelAxes)
    fovalign: Any = fovalign_setting(None)
    prediction: PredictionSettings = field(default_factory=PredictionSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.production("", "GADF")  # checks combinations of settings

    def production(self, indir: str | Path, scheme: str) -> ProductionSettings:
        """Return the settings of a production of models from all selected runs."""
        return ProductionSettings(
            indir=str(indir),
            scheme=scheme,
            test=self.test,
            method=self.method,
            selection=self.selection,
            source_handling=self.source_handling,
            grouping=self.grouping,
            binning=self.model_axes.binning,
            fovalign=self.fovalign,
            reading=self.prediction.reading,
            on_error=self.prediction.on_error,
        )


@dataclass(frozen=True, kw_only=True)
class RunCheckSettings(SettingsGroup):
    """Settings of `bgnb.check_runs`."""

    select: Any = select_setting("far")
    false_alarm_rate: float = setting(
        Number(above=0, maximum=0.5), 0.01, help="Fraction of good runs that fail one of the tests by chance."
    )
    catalog: Any = catalog_setting()
    mask_radius: Any = mask_radius_setting(
        "Events in circles around known sources are not tested; radius of these circles, in addition to twice the "
        "extension of the source."
    )
    exclude: Any = exclude_setting()
    offset_max: Any = setting(
        Value("deg", above=0),
        "2.5 deg",
        help="Maximum offset from the pointing at which field of view, energy and sky are tested.",
    )
    model_lookup: Any = model_lookup_setting()
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    on_error: Any = on_error_setting()


@dataclass(frozen=True, kw_only=True)
class InspectionSettings(SettingsGroup):
    """Settings of `bgnb.inspect`."""

    select: Any = select_setting("all")
    catalog: Any = catalog_setting()
    edges: GroupEdges = field(default_factory=GroupEdges)
    reading: ReadingSettings = field(default_factory=ReadingSettings)
