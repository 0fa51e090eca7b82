"""Settings of backgrounds of runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bgnb._util.errors import BgnbError
from bgnb._util.setting_kinds import Choice
from bgnb._util.settings_groups import SettingsGroup, setting
from bgnb.observations.reading_settings import ReadingSettings
from bgnb.production.settings import (
    catalog_setting,
    exclude_setting,
    mask_radius_setting,
    model_lookup_setting,
    on_error_setting,
    scheme_setting,
    select_setting,
)


@dataclass(frozen=True, kw_only=True)
class BackgroundSettings(SettingsGroup):
    """Settings of the background of a run."""

    model_lookup: Any = model_lookup_setting()
    kind: str = setting(
        Choice(lambda: ("bkg_3d", "bkg_2d")),
        "bkg_3d",
        help="Kind of the backgrounds: cubes, or their means over the position angle about the pointing (radial).",
    )
    norm: str = setting(
        Choice(lambda: ("run", "model")),
        "run",
        help="Norm of the backgrounds: run, from its events outside known sources and the scatter from run to "
        "run; or model, the mean of all runs.",
        see="norm_of_run",
    )
    catalog: Any = catalog_setting()
    mask_radius: Any = mask_radius_setting(
        "Events in circles around known sources do not enter the norm; radius of these circles, in addition to twice "
        "the extension of the source."
    )
    exclude: Any = exclude_setting()
    reading: ReadingSettings = field(default_factory=ReadingSettings)

    def check_effect(self, select: Any = None) -> None:
        """Check that the catalogue, the radius and the regions have an effect, where runs are selected or not (None).

        Raises
        ------
        BgnbError
            If the norm is not that of the run, and the catalogue does not select runs either.
        """
        for name in ("catalog", "mask_radius", "exclude") if self.norm == "model" else ():
            if not self.is_default(name) and not (name == "catalog" and select == "far"):
                more = ", or with select = far" * (name == "catalog" and select is not None)
                raise BgnbError("no-effect", f"{name} has an effect only with norm = run{more}")


@dataclass(frozen=True, kw_only=True)
class AttachSettings(SettingsGroup):
    """Settings of `bgnb.attach`."""

    scheme: Any = scheme_setting()
    select: Any = select_setting("all")
    background: BackgroundSettings = field(default_factory=BackgroundSettings)
    on_error: Any = on_error_setting()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.background.check_effect(self.select)
